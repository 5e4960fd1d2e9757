//! `[telemetry] otlp` and `[alerts]`: where traces and alerts go.

use std::collections::BTreeMap;
use std::time::Duration;

use http::HeaderName;

use super::{Reader, set, size};
use crate::rule::Address;
use crate::rule::reader::{Field, Table};
use crate::rule::value::{self, Complaint};
use crate::secret::SecretRef;

/// Traces go to a collector over OTLP/HTTP.
#[derive(Clone, Debug, PartialEq)]
pub struct OtlpSettings {
    /// With the path that requests have.
    pub endpoint: Address,
    /// Fields of each request, with names in lower case.
    pub headers: BTreeMap<String, SecretRef>,
    /// The share of all traces that is kept, from 0 to 1.
    pub sample: f64,
}

// A sample is a number that was read from a file, never one that differs from itself.
impl Eq for OtlpSettings {}

/// Alerts that the gateway sends itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertSettings {
    pub url: Address,
    pub sign_with: Option<SecretRef>,
    /// How often what still holds is said again.
    pub repeat: Duration,
    pub thresholds: Thresholds,
}

/// When a condition begins.
#[derive(Clone, Debug, PartialEq)]
pub struct Thresholds {
    pub failure_share: f64,
    pub failures: u64,
    pub rejections: u64,
    pub signature_failures: u64,
    pub quiet: u64,
    pub owed: u64,
    pub oldest_owed: Duration,
    pub at_risk: u64,
    /// Before the end of a certificate or key.
    pub certificate: Duration,
    /// In bytes.
    pub disk_free: u64,
}

// As above.
impl Eq for Thresholds {}

impl Default for Thresholds {
    fn default() -> Self {
        Thresholds {
            failure_share: 0.2,
            failures: 20,
            rejections: 50,
            signature_failures: 5,
            quiet: 12,
            owed: 100,
            oldest_owed: Duration::from_secs(30 * 60),
            at_risk: 10,
            certificate: Duration::from_secs(14 * 24 * 3600),
            disk_free: 1 << 30,
        }
    }
}

/// Where OTLP/HTTP takes traces (OTLP specification, "OTLP/HTTP Request").
const TRACES: &str = "/v1/traces";

/// The address of a collector; one without a path gets that of the protocol.
pub fn collector(text: &str) -> Result<Address, Complaint> {
    if text.starts_with("unix:") {
        return Err(Complaint::new(
            "a collector has an http:// or https:// address",
        ));
    }
    let mut address = value::address(text)?;
    if address.path == "/" {
        TRACES.clone_into(&mut address.path);
    }
    Ok(address)
}

impl Reader<'_> {
    pub(super) fn otlp(&self, table: Table<'_>) -> Option<OtlpSettings> {
        let endpoint = table
            .need("endpoint", "`endpoint = \"http://127.0.0.1:4318\"`")
            .and_then(|f| f.parsed(collector));
        let mut headers = BTreeMap::new();
        if let Some(fields) = table.get("headers").and_then(|f| f.table()) {
            for (name, field) in fields.entries() {
                if HeaderName::from_bytes(name.as_bytes()).is_err() {
                    let (span, message) = (field.key.clone(), "not the name of a header field");
                    field.problems.error(span, "bad_value", message);
                }
                field.problems.hide(field.span.clone());
                let place = field.parsed(|text| value::secret_ref(text, self.folder));
                headers.extend(place.map(|place| (name.to_ascii_lowercase(), place)));
            }
        }
        let sample = table.get("sample").and_then(share).unwrap_or(1.0);
        table.finish();
        Some(OtlpSettings {
            endpoint: endpoint?,
            headers,
            sample,
        })
    }

    pub(super) fn alerts(&self, table: Table<'_>) -> Option<AlertSettings> {
        let url = table
            .need("url", "`url = \"https://ops.example.com/callseal\"`")
            .and_then(|f| f.parsed(value::address));
        let sign_with = table.get("sign_with").and_then(|f| {
            f.problems.hide(f.span.clone());
            f.parsed(|text| value::secret_ref(text, self.folder))
        });
        let time = |key| table.get(key).and_then(|f| f.parsed(value::duration));
        let count = |key| table.get(key).and_then(|f| f.integer(1..=1_000_000_000));
        let mut repeat = Duration::from_secs(4 * 3600);
        set(&mut repeat, time("repeat"));
        let mut t = Thresholds::default();
        set(
            &mut t.failure_share,
            table.get("failure_share").and_then(share),
        );
        set(&mut t.failures, count("failures"));
        set(&mut t.rejections, count("rejections"));
        set(&mut t.signature_failures, count("signature_failures"));
        set(&mut t.quiet, count("quiet"));
        set(&mut t.owed, count("owed"));
        set(&mut t.oldest_owed, time("oldest_owed"));
        set(&mut t.at_risk, count("at_risk"));
        set(&mut t.certificate, time("certificate"));
        set(&mut t.disk_free, size(table.get("disk_free"), 0, 1 << 44));
        table.finish();
        Some(AlertSettings {
            url: url?,
            sign_with,
            repeat,
            thresholds: t,
        })
    }
}

fn share(field: Field<'_>) -> Option<f64> {
    let share = field.number()?;
    if (0.0..=1.0).contains(&share) {
        return Some(share);
    }
    let message = "a share is from 0 to 1";
    field
        .problems
        .error(field.span.clone(), "bad_value", message);
    None
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::settings::Settings;

    fn parse(text: &str) -> Result<Settings, Vec<String>> {
        Settings::parse(Path::new("etc/callseal.toml"), text).map_err(|d| {
            let each = d.iter().map(|d| format!("{}:{}", d.position().0, d.code));
            each.collect()
        })
    }

    #[test]
    fn a_collector_without_a_path_gets_that_of_the_protocol() {
        let path = |text: &str| collector(text).map(|address| address.path);
        assert_eq!(path("http://127.0.0.1:4318").unwrap(), "/v1/traces");
        assert_eq!(path("https://o.example.com/").unwrap(), "/v1/traces");
        assert_eq!(path("https://o.example.com/otlp/t").unwrap(), "/otlp/t");
        assert!(path("unix:/run/x.sock:/").is_err());
    }

    #[test]
    fn thresholds_have_defaults_and_faults_are_told() {
        let s = parse("[alerts]\nurl = \"https://x.example/\"\nowed = 7").unwrap();
        let alerts = s.alerts.unwrap();
        assert_eq!(alerts.repeat, Duration::from_secs(4 * 3600));
        let expected = Thresholds {
            owed: 7,
            ..Thresholds::default()
        };
        assert_eq!(alerts.thresholds, expected);
        let text = "[alerts]\nsign_with = \"canary\"\nfailure_share = 2\n[telemetry]\notlp = { endpoint = \"x\", sample = -1.0, headers = { \"a b\" = \"env:X\", authorization = \"canary\" } }";
        assert_eq!(
            parse(text).unwrap_err(),
            [
                "1:missing_key",
                "2:inline_secret",
                "3:bad_value",
                "5:bad_value",
                "5:bad_value",
                "5:bad_value",
                "5:inline_secret"
            ]
        );
    }
}
