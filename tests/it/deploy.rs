//! What is beside the binary (`deploy/`) and in the documents says the same as the code.
//! `CALLSEAL_UPDATE=1` writes what is generated anew.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use callseal::settings::{Settings, Thresholds};
use callseal::telemetry::Metrics;
use callseal::watch::alerts::runbook;
use callseal::watch::conditions::CONDITIONS;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// A file that is generated is what it must be; or is written so.
fn kept(name: &str, wanted: &str) {
    if std::env::var_os("CALLSEAL_UPDATE").is_some() {
        std::fs::write(path(name), wanted).unwrap();
        return;
    }
    let found = std::fs::read_to_string(path(name)).unwrap_or_default();
    let first = wanted.lines().zip(found.lines()).find(|(a, b)| a != b);
    assert!(
        found == wanted,
        "{name} is not what the code says ({first:?}): CALLSEAL_UPDATE=1 cargo test --test it deploy"
    );
}

#[test]
fn the_table_of_metrics_is_that_of_the_code() {
    let mut table = String::from("| metric | kind | labels | what |\n|---|---|---|---|\n");
    for metric in Metrics::described() {
        let labels: Vec<String> = metric.labels.iter().map(|l| format!("`{l}`")).collect();
        writeln!(
            table,
            "| `{}` | {} | {} | {} |",
            metric.name,
            metric.kind,
            labels.join(" "),
            metric.help
        )
        .unwrap();
    }
    let text = read("docs/metrics.md");
    let begin = text.find("<!-- metrics:").unwrap();
    let begin = begin + text[begin..].find('\n').unwrap() + 1;
    let end = text.find("<!-- /metrics -->").unwrap();
    let wanted = format!("{}\n{table}\n{}", &text[..begin], &text[end..]);
    kept("docs/metrics.md", &wanted);
}

/// `deploy/prometheus/alerts.yml`, from the table in `src/watch/conditions.rs`.
fn rules() -> String {
    let mut out = String::from(
        "# Written from src/watch/conditions.rs: CALLSEAL_UPDATE=1 cargo test --test it deploy\n\
         # The scrape job must be called `callseal` (scrape.yml). Other thresholds: copy and edit.\n\
         groups:\n  - name: callseal\n    rules:\n",
    );
    let mut rule = |alert: &str, expr: &str, hold: u64, severity: &str, summary: &str| {
        writeln!(out, "      - alert: {alert}").unwrap();
        let expr = expr.replace('\n', "\n          ");
        writeln!(out, "        expr: |-\n          {expr}").unwrap();
        if hold > 0 {
            writeln!(out, "        for: {hold}s").unwrap();
        }
        writeln!(out, "        labels:\n          severity: {severity}").unwrap();
        writeln!(
            out,
            "        annotations:\n          summary: \"{summary}\""
        )
        .unwrap();
        writeln!(out, "          runbook_url: \"{}\"", runbook(alert)).unwrap();
    };
    let down = "The gateway does not answer: providers get no connection";
    rule(
        "CallsealDown",
        "up{job=\"callseal\"} == 0",
        120,
        "critical",
        down,
    );
    for condition in &CONDITIONS {
        rule(
            condition.alert,
            &(condition.expr)(&Thresholds::default()),
            condition.hold.as_secs(),
            condition.severity.as_str(),
            condition.summary,
        );
    }
    out
}

#[test]
fn the_alert_rules_are_those_of_the_code() {
    kept("deploy/prometheus/alerts.yml", &rules());
}

fn alerts() -> Vec<&'static str> {
    let own = CONDITIONS.iter().map(|condition| condition.alert);
    std::iter::once("CallsealDown").chain(own).collect()
}

/// Each alert has one section that says what to do, and one unit test; there are no others.
#[test]
fn every_alert_has_a_section_and_a_test() {
    let page = read("docs/operations.md");
    let sections: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .filter(|title| title.starts_with("Callseal"))
        .collect();
    assert_eq!(sections, alerts());
    for condition in &CONDITIONS {
        assert!(
            page.contains(&format!("`{}`", condition.code)),
            "{}",
            condition.code
        );
    }
    let tests = read("deploy/prometheus/alerts.test.yml");
    for alert in alerts() {
        // Before it fires, while it does, and after it has ended.
        let evals: Vec<&str> = tests.split("- eval_time: ").skip(1).collect();
        let of = format!("alertname: {alert}\n");
        let evals: Vec<&&str> = evals.iter().filter(|e| e.contains(&of)).collect();
        let silent = evals
            .iter()
            .filter(|e| e.contains("exp_alerts: []"))
            .count();
        assert!(silent >= 2 && evals.len() > silent, "{alert}: {evals:?}");
    }
}

/// What docs/operations.md says that it is tested by is there.
#[test]
fn every_test_that_the_page_names_is_there() {
    let mut sources = String::new();
    let mut folders = vec![path("tests"), path("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                sources.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
    }
    let page = read("docs/operations.md");
    let mut named = 0;
    let mut untested = Vec::new();
    for section in page.split("\n#").skip(1) {
        let title = section.lines().next().unwrap().trim_matches(['#', ' ']);
        let before = named;
        for note in section.split("*(").skip(1) {
            let words = note.split(")*").next().unwrap();
            for word in words.split('`').skip(1).step_by(2) {
                named += 1;
                let there = match word.contains('/') {
                    true => path(word).exists(),
                    false => sources.contains(&format!("fn {word}()")),
                };
                assert!(there, "{title} names {word}");
            }
        }
        if named == before {
            untested.push(title.to_owned());
        }
    }
    // Headings over others, and what to do when an alert fires: the alerts have tests of their own.
    untested.retain(|title| !alerts().contains(&title.as_str()));
    assert_eq!(untested, ["Install", "Alerts"]);
    assert!(named > 20, "{named}");
}

/// Names of metrics in a text, with the suffixes that a histogram has.
fn unknown(text: &str) -> Vec<String> {
    let all = Metrics::described();
    let known = |word: &str| {
        all.iter().any(|metric| {
            let name = metric.name.as_str();
            let rest = word.strip_prefix(name);
            match metric.kind.as_str() {
                "histogram" => rest.is_some_and(|r| ["_bucket", "_sum", "_count"].contains(&r)),
                _ => rest == Some(""),
            }
        })
    };
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = words.filter(|word| word.starts_with("callseal_"));
    ours.filter(|word| !known(word))
        .map(str::to_owned)
        .collect()
}

#[test]
fn rules_and_dashboard_name_only_metrics_that_exist() {
    assert_eq!(
        unknown("callseal_nonsense_total"),
        ["callseal_nonsense_total"]
    );
    for file in [
        "deploy/prometheus/alerts.yml",
        "deploy/prometheus/alerts.test.yml",
        "deploy/grafana/callseal.json",
    ] {
        assert_eq!(unknown(&read(file)), [""; 0], "{file}");
    }
}

/// Every metric is on the dashboard or in a rule, or is listed here with the reason.
#[test]
fn no_metric_is_forgotten() {
    let shown = read("deploy/grafana/callseal.json") + &read("deploy/prometheus/alerts.yml");
    let left_out = [
        // For the moment when something is looked into.
        "callseal_would_refuse_total",
        "callseal_conditions_undecided_total",
        "callseal_handshake_failures_total",
        "callseal_started_timestamp_seconds",
        "callseal_alerts_total",
    ];
    for metric in Metrics::described() {
        let there = shown.contains(&metric.name);
        let excused = left_out.contains(&metric.name.as_str());
        assert!(there != excused, "{}", metric.name);
    }
}

#[test]
fn the_dashboard_is_whole() {
    let board: serde_json::Value =
        serde_json::from_str(&read("deploy/grafana/callseal.json")).unwrap();
    let panels = board["panels"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    let mut taken = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        assert!(!panel["title"].as_str().unwrap().is_empty());
        let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        for x in at("x")..at("x") + at("w") {
            assert!(x < 24);
            for y in at("y")..at("y") + at("h") {
                assert!(taken.insert((x, y)), "{} overlaps", panel["title"]);
            }
        }
        if panel["type"] == "row" {
            continue;
        }
        assert_eq!(panel["datasource"]["uid"], "${datasource}");
        assert!(!panel["description"].as_str().unwrap().is_empty());
        for target in panel["targets"].as_array().unwrap() {
            assert!(
                target["expr"].as_str().unwrap().contains("callseal_"),
                "{target}"
            );
        }
    }
    assert!(panels.len() > 20);
}

/// Ports, paths, user and variables in the files for systemd, Kubernetes and Compose are those of the
/// code and of the image.
#[test]
fn the_ways_to_run_it_fit_the_binary() {
    let settings = Settings::default();
    let image = read("Dockerfile");
    let container = read("certs/container.toml");
    let public = settings.listen.address.port().to_string();
    assert_eq!(
        (
            public.as_str(),
            settings.admin.address.socket().unwrap().port()
        ),
        ("8443", 8444)
    );
    for said in ["USER 65532:65532", "EXPOSE 8443", "VOLUME [\"/data\"]"] {
        assert!(image.contains(said), "{said}");
    }
    assert!(container.contains("store = \"/data\""));
    let cases: [(&str, &[&str]); 3] = [
        (
            "deploy/systemd/callseal.service",
            &[
                "ExecStart=/usr/bin/callseal serve --config /etc/callseal/callseal.toml",
                "ExecStartPre=/usr/bin/callseal check --offline --config /etc/callseal/callseal.toml",
                "StateDirectory=callseal",
                "WorkingDirectory=/etc/callseal",
                "TimeoutStopSec=",
            ],
        ),
        (
            "deploy/kubernetes/callseal.yaml",
            &[
                "containerPort: 8443",
                "runAsUser: 65532",
                "runAsGroup: 65532",
                "fsGroup: 65532",
                "mountPath: /data",
                "mountPath: /etc/callseal",
                "command: [\"/usr/bin/callseal\", \"health\"",
                "replicas: 1",
                "readOnlyRootFilesystem: true",
                "store = \"/data\"",
            ],
        ),
        (
            "deploy/compose.yaml",
            &[
                "8443:8443",
                "read_only: true",
                ":/data",
                "/etc/callseal/rules:ro",
                "cap_drop",
            ],
        ),
    ];
    for (file, said) in cases {
        let text = read(file);
        for words in said {
            assert!(text.contains(words), "{file} does not say {words}");
        }
    }
    // The process is given more time to stop than it asks for.
    let drain = settings.limits.drain_timeout.as_secs();
    let seconds = |file: &str, key: &str| -> u64 {
        let text = read(file);
        let line = text
            .lines()
            .find_map(|l| l.trim().strip_prefix(key))
            .unwrap();
        line.trim().trim_end_matches('s').parse().unwrap()
    };
    assert!(seconds("deploy/systemd/callseal.service", "TimeoutStopSec=") > drain);
    assert!(
        seconds(
            "deploy/kubernetes/callseal.yaml",
            "terminationGracePeriodSeconds:"
        ) > drain
    );
    assert!(seconds("deploy/compose.yaml", "stop_grace_period:") > drain);
}

/// The settings inside the manifests are settings, and the rules are rules.
#[test]
fn the_settings_in_the_manifest_are_taken() {
    let text = read("deploy/kubernetes/callseal.yaml");
    let block = |key: &str| -> String {
        let start = text
            .find(&format!("  {key}: |\n"))
            .unwrap_or_else(|| panic!("{key}"));
        let lines = text[start..].lines().skip(1);
        let own = lines.take_while(|l| l.is_empty() || l.starts_with("    "));
        own.map(|l| l.strip_prefix("    ").unwrap_or(""))
            .fold(String::new(), |all, l| all + l + "\n")
    };
    let site = crate::harness::Site::new();
    let settings = block("callseal.toml").replace("/data", &site.data().display().to_string());
    let settings = settings.replace("/etc/callseal/rules", &site.rules().display().to_string());
    std::fs::write(site.rules().join("stripe.toml"), block("stripe.toml")).unwrap();
    // What stands there for whoever wants the admin port in the cluster.
    let tls = site.path("tls").display().to_string();
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::create_dir(&tls).unwrap();
    std::fs::write(site.path("tls/tls.crt"), certified.cert.pem()).unwrap();
    let key = certified.signing_key.serialize_pem();
    std::fs::write(site.path("tls/tls.key"), key).unwrap();
    let keys = [
        "[admin]",
        "address =",
        "tls =",
        "hosts =",
        "operator =",
        "viewer =",
    ];
    let taken_in = settings.lines().map(|line| match line.strip_prefix("# ") {
        Some(said) if keys.iter().any(|key| said.starts_with(key)) => said,
        Some(_) | None => line,
    });
    let taken_in = taken_in.fold(String::new(), |all, line| all + line + "\n");
    let with_admin = taken_in.replace("/etc/callseal/tls", &tls);
    assert!(with_admin.contains("\naddress = \"0.0.0.0:8444\"\n"));
    for settings in [settings, with_admin] {
        std::fs::write(site.path("callseal.toml"), settings).unwrap();
        let mut check = site.command(&["check", "--offline"]);
        check.env("STRIPE_SECRET", "whsec_0123456789abcdef");
        check.env("CALLSEAL_OPERATOR", "0123456789abcdef0123456789abcdef");
        check.env("CALLSEAL_VIEWER", "fedcba9876543210fedcba9876543210");
        let (code, out, said) = crate::harness::gateway::output(check);
        assert_eq!(code, 0, "{out}{said}");
    }
}
