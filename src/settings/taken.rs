//! What of a settings file that was read again counts at once, and what only from the next start on.

use super::{Admin, InboxSettings, Limits, Listen, OutboundSettings, Settings};

/// Keys of `callseal.toml` that a reload takes over; every other one is read at the start.
pub const TAKEN: [&str; 4] = ["admin.operator", "admin.viewer", "telemetry.otlp", "alerts"];

impl Settings {
    /// These settings, with what a reload takes over from `read`.
    pub fn taking(&self, read: &Settings) -> Settings {
        let mut settings = self.clone();
        settings.admin.operator.clone_from(&read.admin.operator);
        settings.admin.viewer.clone_from(&read.admin.viewer);
        settings.otlp.clone_from(&read.otlp);
        settings.alerts.clone_from(&read.alerts);
        settings
    }

    /// The keys that say something else in `read` and are not taken over: what they say counts from
    /// the next start on. In the order of the documentation. `self` is what the process began with.
    pub fn waiting(&self, read: &Settings) -> Vec<&'static str> {
        // Whole, so that a new setting does not compile before it has its place here or above.
        let Settings {
            folder: _,
            rules,
            rules_named,
            rules_given,
            listen,
            admin,
            inbox,
            limits,
            outbound,
            log,
            otlp: _,
            alerts: _,
        } = self;
        // What the command line said comes before the file, at the next start too.
        let same_rules = *rules_given || (rules, rules_named) == (&read.rules, &read.rules_named);
        let mut all = vec![("rules", same_rules)];
        all.extend(compare_listen(listen, &read.listen));
        all.extend(compare_admin(admin, &read.admin));
        all.extend(compare_inbox(inbox, &read.inbox));
        all.extend(compare_limits(limits, &read.limits));
        all.extend(compare_outbound(outbound, &read.outbound));
        all.push(("telemetry.log", *log == read.log));
        let others = all.into_iter().filter(|(_, same)| !same);
        others.map(|(key, _)| key).collect()
    }
}

type Compared = (&'static str, bool);

fn compare_listen(was: &Listen, is: &Listen) -> [Compared; 6] {
    let Listen {
        address,
        tls,
        http2,
        trusted_proxies,
        proxy_protocol,
        threads,
    } = was;
    [
        ("listen.address", *address == is.address),
        ("listen.tls", *tls == is.tls),
        ("listen.http2", *http2 == is.http2),
        (
            "listen.trusted_proxies",
            *trusted_proxies == is.trusted_proxies,
        ),
        (
            "listen.proxy_protocol",
            *proxy_protocol == is.proxy_protocol,
        ),
        ("listen.threads", *threads == is.threads),
    ]
}

fn compare_admin(was: &Admin, is: &Admin) -> [Compared; 3] {
    let Admin {
        address,
        tls,
        hosts,
        operator: _,
        viewer: _,
    } = was;
    [
        ("admin.address", *address == is.address),
        ("admin.tls", *tls == is.tls),
        ("admin.hosts", *hosts == is.hosts),
    ]
}

fn compare_inbox(was: &InboxSettings, is: &InboxSettings) -> [Compared; 4] {
    let InboxSettings {
        store,
        // The same place is the same place, named or not.
        store_named: _,
        segment,
        ballast,
        low_water,
    } = was;
    [
        ("inbox.store", *store == is.store),
        ("inbox.segment", *segment == is.segment),
        ("inbox.ballast", *ballast == is.ballast),
        ("inbox.low_water", *low_water == is.low_water),
    ]
}

fn compare_limits(was: &Limits, is: &Limits) -> [Compared; 12] {
    let Limits {
        connections,
        connections_per_address,
        headers,
        header_bytes,
        target_bytes,
        bytes_in_flight,
        handshake_timeout,
        head_timeout,
        body_timeout,
        idle_timeout,
        write_timeout,
        drain_timeout,
    } = was;
    [
        ("limits.connections", *connections == is.connections),
        (
            "limits.connections_per_address",
            *connections_per_address == is.connections_per_address,
        ),
        ("limits.headers", *headers == is.headers),
        ("limits.header_bytes", *header_bytes == is.header_bytes),
        ("limits.target_bytes", *target_bytes == is.target_bytes),
        (
            "limits.bytes_in_flight",
            *bytes_in_flight == is.bytes_in_flight,
        ),
        (
            "limits.handshake_timeout",
            *handshake_timeout == is.handshake_timeout,
        ),
        ("limits.head_timeout", *head_timeout == is.head_timeout),
        ("limits.body_timeout", *body_timeout == is.body_timeout),
        ("limits.idle_timeout", *idle_timeout == is.idle_timeout),
        ("limits.write_timeout", *write_timeout == is.write_timeout),
        ("limits.drain_timeout", *drain_timeout == is.drain_timeout),
    ]
}

fn compare_outbound(was: &OutboundSettings, is: &OutboundSettings) -> [Compared; 4] {
    let OutboundSettings {
        roots,
        connect,
        private,
        per_minute,
    } = was;
    [
        ("outbound.roots", *roots == is.roots),
        ("outbound.connect", *connect == is.connect),
        ("outbound.private", *private == is.private),
        ("outbound.per_minute", *per_minute == is.per_minute),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    fn parse(text: &str) -> Settings {
        Settings::parse(Path::new("callseal.toml"), text)
            .unwrap_or_else(|found| panic!("{found:?}"))
    }

    /// Every key of the schema, with another value than its default.
    const OTHER: &str = r#"
rules = "others"
[listen]
address = "127.0.0.1:1"
tls = { cert = "c", key = "k" }
http2 = false
trusted_proxies = ["10.0.0.0/8"]
proxy_protocol = true
threads = 3
[admin]
address = "127.0.0.1:2"
tls = { cert = "c", key = "k" }
hosts = ["ops.example.com"]
operator = ["file:a"]
viewer = ["file:b"]
[inbox]
store = "elsewhere"
segment = "8 MiB"
ballast = "1 MiB"
low_water = "1 MiB"
[limits]
connections = 7
connections_per_address = 7
headers = 7
header_bytes = "2 KiB"
target_bytes = "1 KiB"
bytes_in_flight = "8 MiB"
handshake_timeout = "7s"
head_timeout = "7s"
body_timeout = "7s"
idle_timeout = "7s"
write_timeout = "7s"
drain_timeout = "7s"
[outbound]
roots = "r.pem"
connect = { "a.example:443" = "127.0.0.1:3" }
private = true
per_minute = 7
[telemetry]
log = "json"
otlp = { endpoint = "http://127.0.0.1:4318" }
[alerts]
url = "https://ops.example.com/"
"#;

    /// The keys of the schema: those of the root, and below a table its own; `[alerts]` is taken as
    /// a whole, and what has tables of its own below that too.
    fn keys() -> BTreeSet<String> {
        let schema: serde_json::Value = serde_json::from_str(&crate::settings::schema()).unwrap();
        let properties = |table: &serde_json::Value| {
            let reference = table["$ref"].as_str().and_then(|at| at.strip_prefix('#'));
            let table = reference.map_or(Some(table), |at| schema.pointer(at));
            let keys = table.and_then(|table| table["properties"].as_object());
            keys.cloned().unwrap_or_default()
        };
        let mut all = BTreeSet::new();
        for (name, table) in properties(&schema) {
            let below = properties(&table);
            if below.is_empty() || name == "alerts" {
                all.insert(name);
            } else {
                all.extend(below.keys().map(|key| format!("{name}.{key}")));
            }
        }
        all
    }

    #[test]
    fn every_key_is_either_taken_over_or_named() {
        let (before, other) = (parse(""), parse(OTHER));
        let waiting = before.waiting(&other);
        let told = waiting.iter().chain(&TAKEN).map(|key| (*key).to_owned());
        assert_eq!(told.collect::<BTreeSet<_>>(), keys());
        // And what is taken over is all that is taken over.
        let taken = before.taking(&other);
        assert_eq!(taken.waiting(&other), waiting);
        assert_eq!((&taken.alerts, &taken.otlp), (&other.alerts, &other.otlp));
        assert_eq!(taken.admin.operator, other.admin.operator);
        assert_eq!(taken.admin.viewer, other.admin.viewer);
        assert_eq!(other.taking(&before).alerts, None);
        assert!(
            before
                .waiting(&parse("[alerts]\nurl = \"http://a/\""))
                .is_empty()
        );
    }

    #[test]
    fn what_the_command_line_named_waits_for_nothing() {
        let mut before = parse("");
        before.rules = "given".into();
        before.rules_given = true;
        assert!(before.waiting(&parse("rules = \"others\"")).is_empty());
        assert_eq!(parse("").waiting(&parse("rules = \"r\"")), ["rules"]);
    }
}
