//! The figures in the older text format of Prometheus (0.0.4), for whatever does not read OpenMetrics:
//! the same samples, without exemplars and without what ends the page.
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>

use std::borrow::Cow;

/// Of a page of OpenMetrics 1.0 as `Metrics::encode` writes it.
pub fn plain(page: &str) -> String {
    let mut out = String::with_capacity(page.len());
    let mut help = None;
    for line in page.lines() {
        let Some(remark) = line.strip_prefix("# ") else {
            out.push_str(without_exemplar(line));
            out.push('\n');
            continue;
        };
        let mut words = remark.splitn(3, ' ');
        match (words.next(), words.next(), words.next()) {
            // What it is called is known with its kind.
            (Some("HELP"), Some(name), Some(text)) => help = Some((name, text)),
            (Some("TYPE"), Some(name), Some(kind)) => {
                // There a family has the name of its samples.
                let (name, kind) = match kind {
                    "counter" => (Cow::from(format!("{name}_total")), kind),
                    "info" => (Cow::from(format!("{name}_info")), "gauge"),
                    "unknown" => (Cow::from(name), "untyped"),
                    kind => (Cow::from(name), kind),
                };
                if let Some((_, text)) = help.take() {
                    out.push_str(&format!("# HELP {name} {text}\n"));
                }
                out.push_str(&format!("# TYPE {name} {kind}\n"));
            }
            // UNIT and EOF.
            _ => {}
        }
    }
    out
}

/// What stands behind a value and ` # `. A value of a label may hold the same.
fn without_exemplar(line: &str) -> &str {
    let mut quoted = false;
    let mut escaped = false;
    for (at, c) in line.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '#' if !quoted => return line.get(..at).unwrap_or(line).trim_end(),
            _ => {}
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_samples_stand_there_under_names_that_the_older_format_knows() {
        let page = "\
# HELP callseal_a_seconds How long.
# TYPE callseal_a_seconds histogram
# UNIT callseal_a_seconds seconds
callseal_a_seconds_bucket{source=\"a \\\" # {b\",le=\"0.1\"} 3 # {trace_id=\"0af7\"} 0.05 1.0
callseal_a_seconds_count{source=\"x\"} 3
# HELP callseal_b Of these.
# TYPE callseal_b counter
callseal_b_total{reason=\"x\"} 7 # {trace_id=\"0af7\"} 1.0
# HELP callseal_build What runs.
# TYPE callseal_build info
callseal_build_info{version=\"0.1.0\"} 1
# HELP callseal_owed Owed.
# TYPE callseal_owed gauge
callseal_owed 0
# EOF
";
        let wanted = "\
# HELP callseal_a_seconds How long.
# TYPE callseal_a_seconds histogram
callseal_a_seconds_bucket{source=\"a \\\" # {b\",le=\"0.1\"} 3
callseal_a_seconds_count{source=\"x\"} 3
# HELP callseal_b_total Of these.
# TYPE callseal_b_total counter
callseal_b_total{reason=\"x\"} 7
# HELP callseal_build_info What runs.
# TYPE callseal_build_info gauge
callseal_build_info{version=\"0.1.0\"} 1
# HELP callseal_owed Owed.
# TYPE callseal_owed gauge
callseal_owed 0
";
        assert_eq!(plain(page), wanted);
    }
}
