//! The gateway's own settings: `callseal.toml`. Every key has a default; with no file at all the
//! gateway runs. Read like a rule file: every fault at once, with its place.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;

use crate::rule::diagnostic::{Diagnostic, Severity};
use crate::rule::reader::{Problems, Table};
use crate::rule::words::Words;
use crate::telemetry::LogFormat;

mod admin;
mod read;
mod shape;
mod taken;
mod watching;

pub use admin::{Admin, AdminAddress, AdminTls, TokenRef};
use read::{Reader, set, size, socket};
pub use shape::schema;
pub use taken::TAKEN;
pub use watching::{AlertSettings, OtlpSettings, Thresholds, collector};

/// What the gateway does besides its rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where the settings file lies, and so the defaults of other paths.
    pub folder: PathBuf,
    /// Directory of the rule files.
    pub rules: PathBuf,
    /// Somebody named it: it must be there.
    pub rules_named: bool,
    /// The command line named it: what the file says of it does not count.
    pub rules_given: bool,
    pub listen: Listen,
    pub admin: Admin,
    pub inbox: InboxSettings,
    pub limits: Limits,
    pub outbound: OutboundSettings,
    pub log: LogFormat,
    /// Where traces go. None: nowhere.
    pub otlp: Option<OtlpSettings>,
    /// Where alerts are pushed to. None: nowhere.
    pub alerts: Option<AlertSettings>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    pub address: SocketAddr,
    /// None: a development certificate is made under the data directory.
    pub tls: Option<TlsFiles>,
    pub http2: bool,
    /// Only from these is PROXY protocol or X-Forwarded-For believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Connections begin with a PROXY header, and come only from trusted proxies.
    pub proxy_protocol: bool,
    /// Accept loops, each a thread with a runtime of its own. None: one per core.
    pub threads: Option<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    pub cert: PathBuf,
    pub key: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboxSettings {
    /// Directory of journal, index, admin token and development certificate.
    pub store: PathBuf,
    /// Somebody named it.
    pub store_named: bool,
    /// Size of a journal segment in bytes.
    pub segment: u64,
    /// Held back for the day when the disk is full, in bytes.
    pub ballast: u64,
    /// Free space below which nothing more is accepted, in bytes.
    pub low_water: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    pub connections: usize,
    /// From one /24 or /64. Trusted proxies are not counted.
    pub connections_per_address: usize,
    /// Fields in a head.
    pub headers: usize,
    /// Bytes of all header names and values.
    pub header_bytes: usize,
    /// Bytes of path and query.
    pub target_bytes: usize,
    /// Bytes of bodies in memory at once, over all requests.
    pub bytes_in_flight: usize,
    pub handshake_timeout: Duration,
    pub head_timeout: Duration,
    pub body_timeout: Duration,
    pub idle_timeout: Duration,
    pub write_timeout: Duration,
    /// For what is under way when the gateway is told to stop.
    pub drain_timeout: Duration,
}

/// The gateway's own requests to providers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboundSettings {
    /// PEM file of root certificates that are trusted besides the machine's own.
    pub roots: Option<PathBuf>,
    /// Where to dial for a host and port; the name in TLS stays. Hosts in lower case.
    pub connect: BTreeMap<(String, u16), SocketAddr>,
    /// Hosts that a provider's file names may have private addresses.
    pub private: bool,
    /// Most requests to one host in a minute.
    pub per_minute: u32,
}

impl Default for OutboundSettings {
    fn default() -> Self {
        OutboundSettings {
            roots: None,
            connect: BTreeMap::new(),
            private: false,
            per_minute: 600,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        let secs = Duration::from_secs;
        Settings {
            folder: PathBuf::new(),
            rules: PathBuf::from(RULES),
            rules_named: false,
            rules_given: false,
            listen: Listen {
                address: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8443),
                tls: None,
                http2: true,
                trusted_proxies: Vec::new(),
                proxy_protocol: false,
                threads: None,
            },
            admin: Admin {
                address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8444).into(),
                tls: None,
                hosts: Vec::new(),
                operator: Vec::new(),
                viewer: Vec::new(),
            },
            inbox: InboxSettings {
                store: PathBuf::from(STORE),
                store_named: false,
                segment: 64 << 20,
                ballast: 16 << 20,
                low_water: 256 << 20,
            },
            limits: Limits {
                connections: 10_000,
                connections_per_address: 1_000,
                headers: 64,
                header_bytes: 16 << 10,
                target_bytes: 8 << 10,
                bytes_in_flight: 256 << 20,
                handshake_timeout: secs(10),
                head_timeout: secs(10),
                body_timeout: secs(10),
                idle_timeout: secs(30),
                write_timeout: secs(10),
                drain_timeout: secs(20),
            },
            outbound: OutboundSettings::default(),
            log: LogFormat::Human,
            otlp: None,
            alerts: None,
        }
    }
}

/// Beside the settings file, where it does not name others.
const RULES: &str = "rules";
const STORE: &str = "data";

const LOG_FORMATS: Words<LogFormat, 2> = [("human", LogFormat::Human), ("json", LogFormat::Json)];

/// The file that is read when none is named.
pub const DEFAULT_FILE: &str = "callseal.toml";

impl Settings {
    /// Reads `path`, or `callseal.toml` in the working directory if that is there, or takes the
    /// defaults. Paths in the file are relative to the file's own folder, and the defaults lie there.
    pub fn load(path: Option<&Path>) -> Result<(Settings, Option<PathBuf>), Vec<Diagnostic>> {
        let named = path.is_some();
        let path = path.unwrap_or(Path::new(DEFAULT_FILE));
        match std::fs::read_to_string(path) {
            Ok(text) => Ok((Settings::parse(path, &text)?, Some(path.to_owned()))),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && !named => {
                Ok((Settings::default(), None))
            }
            Err(e) => Err(vec![Diagnostic {
                file: path.display().to_string(),
                text: "".into(),
                span: 0..0,
                code: "unreadable",
                severity: Severity::Error,
                message: format!("this file cannot be read: {e}"),
                hint: None,
            }]),
        }
    }

    /// A store or rules in the working directory, where they were looked for before they lay beside
    /// the settings: to begin anew elsewhere would forget what is owed.
    pub fn left_behind(&self, file: &Path) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        let mut look = |named: bool, now: &Path, name: &str, key: &str, is: fn(&Path) -> bool| {
            if !named && is(Path::new(name)) && !is(now) {
                let here = std::path::absolute(name).unwrap_or_else(|_| name.into());
                found.push(Diagnostic {
                    file: file.display().to_string(),
                    text: "".into(),
                    span: 0..0,
                    code: "left_behind",
                    severity: Severity::Error,
                    message: format!(
                        "with no word on it here {} would be used, where there is nothing; but {} is there",
                        now.display(),
                        here.display()
                    ),
                    hint: Some(format!(
                        "`{key} = \"{}\"` to go on with that, `{key} = \"{name}\"` to begin anew beside this file",
                        here.display()
                    )),
                });
            }
        };
        let is_store = |path: &Path| path.join("journal").is_dir();
        let inbox = &self.inbox;
        look(
            inbox.store_named,
            &inbox.store,
            STORE,
            "[inbox] store",
            is_store,
        );
        look(self.rules_named, &self.rules, RULES, "rules", has_sources);
        found
    }

    /// Reads the text of a settings file.
    pub fn parse(path: &Path, text: &str) -> Result<Settings, Vec<Diagnostic>> {
        let folder = path.parent().unwrap_or(Path::new(""));
        let problems = Problems::new(path.display().to_string(), text, shape::settings);
        let document = problems.parse(text);
        let mut settings = Settings {
            folder: folder.to_owned(),
            rules: folder.join(RULES),
            ..Settings::default()
        };
        settings.inbox.store = folder.join(STORE);
        let root = Table::root(&problems, &document);
        let reader = Reader { folder };
        reader.root(root, &mut settings);
        match problems.has_errors() {
            true => Err(problems.into_diagnostics()),
            false => Ok(settings),
        }
    }
}

fn has_sources(directory: &Path) -> bool {
    let files = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut paths = files.map(|file| file.path());
    paths.any(|path| path.extension().is_some_and(|end| end == "toml"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Settings, Vec<String>> {
        Settings::parse(Path::new("etc/callseal.toml"), text).map_err(|d| {
            d.iter()
                .map(|d| format!("{}:{}", d.position().0, d.code))
                .collect()
        })
    }

    #[test]
    fn an_empty_file_gives_the_defaults() {
        let here = Settings::parse(Path::new("callseal.toml"), "").unwrap();
        assert_eq!(here, Settings::default());
        // Wherever the process is started.
        let elsewhere = parse("").unwrap();
        assert_eq!(elsewhere.rules, Path::new("etc/rules"));
        assert_eq!(elsewhere.inbox.store, Path::new("etc/data"));
        assert!(!elsewhere.rules_named && !elsewhere.inbox.store_named);
        // Named is named, also where it is the default's own place.
        let named = parse("rules = \"rules\"\n[inbox]\nstore = \"data\"").unwrap();
        assert!(named.rules_named && named.inbox.store_named);
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let s = parse("rules = \"r\"\n[listen]\ntls = { cert = \"c.pem\", key = \"/k\" }\n[inbox]\nstore = \"d\"").unwrap();
        assert_eq!(s.rules, Path::new("etc/r"));
        assert_eq!(s.inbox.store, Path::new("etc/d"));
        assert_eq!(
            s.listen.tls,
            Some(TlsFiles {
                cert: "etc/c.pem".into(),
                key: "/k".into()
            })
        );
    }

    #[test]
    fn hosts_can_be_dialled_elsewhere() {
        let s = parse("[outbound]\nroots = \"ca.pem\"\nprivate = true\nper_minute = 5\nconnect = { \"api.paypal.com:443\" = \"127.0.0.1:4443\" }").unwrap();
        assert_eq!(s.outbound.roots, Some("etc/ca.pem".into()));
        assert_eq!((s.outbound.private, s.outbound.per_minute), (true, 5));
        assert_eq!(
            s.outbound.connect,
            BTreeMap::from([(
                ("api.paypal.com".to_owned(), 443),
                "127.0.0.1:4443".parse().unwrap()
            )])
        );
        for bad in [
            "\"api.paypal.com\" = \"127.0.0.1:4443\"",
            "\"API.paypal.com:443\" = \"127.0.0.1:4443\"",
            "\"api.paypal.com:0\" = \"127.0.0.1:4443\"",
            "\"api.paypal.com:+443\" = \"127.0.0.1:4443\"",
            "\":443\" = \"127.0.0.1:4443\"",
            "\"api.paypal.com:443\" = \"elsewhere:4443\"",
        ] {
            let text = format!("[outbound]\nconnect = {{ {bad} }}");
            assert_eq!(parse(&text).unwrap_err(), ["2:bad_value"], "{bad}");
        }
        assert!(parse("[outbound]\nper_minute = 0").is_err());
    }

    #[test]
    fn every_fault_is_told_at_once() {
        let text = "[listen]\naddress = \"8443\"\nhttp3 = true\nproxy_protocol = true\n[admin]\naddress = \"0.0.0.0:1\"\noperator = [\"canary-token\"]\n[limits]\nheaders = 0\nidle_timeout = \"soon\"\n[inbox]\nstore = \"postgres://x\"\n";
        let faults = parse(text).unwrap_err();
        assert_eq!(
            faults,
            [
                "2:bad_value",
                "3:unknown_key",
                "4:proxy_protocol",
                "6:admin_public",
                "7:inline_secret",
                "9:bad_value",
                "10:bad_value",
                "12:bad_value"
            ]
        );
        let all = Settings::parse(Path::new("c"), text).unwrap_err();
        let shown = crate::rule::diagnostic::render(&all, crate::rule::diagnostic::Look::Plain);
        assert!(!shown.contains("canary"), "{shown}");
    }
}
