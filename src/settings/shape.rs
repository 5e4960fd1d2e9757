//! What may stand in `callseal.toml`, as data: the schema for editors is made of it.

use crate::rule::shape::{DURATION, Form, Kind, Shape, TEXT, list, named, words};
use crate::settings::LOG_FORMATS;

/// The JSON Schema of `callseal.toml`.
pub fn schema() -> String {
    settings().schema("The settings of Callseal: callseal.toml")
}

/// The keys of `callseal.toml`.
pub fn settings() -> Shape {
    let telemetry = Shape::new("telemetry", "What the gateway says of itself.")
        .may(
            "log",
            words(&LOG_FORMATS),
            "`human` (without it), or `json`: one object a line, on standard error.",
        )
        .table("otlp", otlp());
    Shape::new(
        "settings",
        "The gateway's own settings. Every key has a default; paths are relative to this file.",
    )
    .may(
        "rules",
        TEXT,
        "Directory of the rule files; `rules` without it.",
    )
    .table("listen", listen())
    .table("admin", admin())
    .table("inbox", inbox())
    .table("limits", limits())
    .table("outbound", outbound())
    .table("telemetry", telemetry)
    .table("alerts", alerts())
}

fn otlp() -> Shape {
    Shape::new(
        "otlp",
        "Where traces go, over OTLP/HTTP; nowhere without it.",
    )
    .need(
        "endpoint",
        Kind::Text(Form::Web),
        "Address of the collector; `/v1/traces` is added where it has no path.",
    )
    .may(
        "headers",
        named(Kind::Text(Form::Secret)),
        "Fields of each request, by name: `env:NAME` or `file:PATH`.",
    )
    .may(
        "sample",
        Kind::Number(0.0, 1.0),
        "The share of all traces that is kept; 1 without it.",
    )
}

fn alerts() -> Shape {
    let share = Kind::Number(0.0, 1.0);
    let count = || Kind::Integer(1, 1_000_000_000);
    Shape::new("alerts", "Alerts that the gateway itself sends, to a URL.")
        .need("url", Kind::Text(Form::Forward), "Where they are posted to.")
        .may("sign_with", Kind::Text(Form::Secret), "Secret of the Standard Webhooks signature: `env:NAME` or `file:PATH`; at least 16 bytes. Unsigned without it.")
        .may("repeat", DURATION, "How often what still holds is said again; `4h` without it.")
        .may("failure_share", share, "Share of failed attempts of a destination within 15 minutes; 0.2 without it.")
        .may("failures", count(), "Attempts within 15 minutes below which their share says nothing; 20 without it.")
        .may("rejections", count(), "Rejected callbacks of a source within 5 minutes; 50 without it.")
        .may("signature_failures", count(), "Signatures that do not fit within 15 minutes, in the 6 hours after rules were loaded; 5 without it.")
        .may("quiet", count(), "Callbacks that the same time yesterday and a week ago brought while now there is none; 12 without it.")
        .may("owed", count(), "Deliveries owed to a destination, and growing for 15 minutes; 100 without it.")
        .may("oldest_owed", DURATION, "Age of the oldest delivery owed; `30m` without it.")
        .may("at_risk", count(), "Callbacks within an hour that did not hear success, with none that did; 10 without it.")
        .may("certificate", DURATION, "Before the end of a certificate or key; `14d` without it.")
        .may("disk_free", Kind::Text(Form::Size), "Free space on the disk of the store; `1 GiB` without it.")
}

fn listen() -> Shape {
    let tls = Shape::new(
        "tls",
        "Certificate and key of the public port; one for localhost is made without it.",
    )
    .need(
        "cert",
        TEXT,
        "PEM file with the certificate and its intermediates.",
    )
    .need("key", TEXT, "PEM file with its private key.");
    Shape::new("listen", "The public port.")
        .may("address", Kind::Text(Form::Socket), "Address and port; `0.0.0.0:8443` without it.")
        .table("tls", tls)
        .may("http2", Kind::Boolean, "False: HTTP/2 is not offered; true without it.")
        .may("trusted_proxies", list(Kind::Text(Form::Network)), "Addresses of your own load balancers: only from these is X-Forwarded-For or PROXY protocol believed.")
        .may("proxy_protocol", Kind::Boolean, "True: every connection begins with a PROXY header and comes from a trusted proxy; false without it.")
        .may("threads", Kind::Integer(1, 1024), "Accept loops; one per core without it.")
}

fn admin() -> Shape {
    let token = Shape::new("admin_token", "A token with the name of its holder.")
        .need(
            "from",
            Kind::Text(Form::Secret),
            "Where it lies: `env:NAME` or `file:PATH`; at least 16 bytes.",
        )
        .may(
            "name",
            TEXT,
            "What the audit calls whoever uses it; after its place (`operator[0]`) without it.",
        );
    let tokens = || {
        list(Kind::Either(vec![
            Kind::Text(Form::Secret),
            Kind::Table(token.clone()),
        ]))
    };
    let tls = Shape::new("admin_tls", "TLS on the admin port; none without it.")
        .need(
            "cert",
            TEXT,
            "PEM file with the certificate and its intermediates.",
        )
        .need("key", TEXT, "PEM file with its private key.")
        .may("client_ca", TEXT, "PEM file with authorities: only their certificates open more than the health paths, and a token is needed all the same.")
        .may("client_crl", TEXT, "PEM file with lists of the certificates that these authorities have revoked; a certificate whose authority has no list there is refused, too.");
    Shape::new("admin", "The admin port.")
        .may("address", Kind::Text(Form::Door), "Address and port, or `unix:PATH`; `127.0.0.1:8444` without it. Anything but loopback and a socket needs `tls` and named tokens.")
        .table("tls", tls)
        .may("hosts", list(TEXT), "Names by which browsers may ask for it, besides those of loopback and its own address.")
        .may("operator", tokens(), "Tokens that may act: `env:NAME` or `file:PATH`; at least 16 bytes.")
        .may("viewer", tokens(), "Tokens that may look: `env:NAME` or `file:PATH`; at least 16 bytes.")
}

fn inbox() -> Shape {
    let size = || Kind::Text(Form::Size);
    Shape::new("store", "The store of accepted events.")
        .may("store", TEXT, "Directory of journal, index, token and development certificate; `data` without it.")
        .may("segment", size(), "Size of a journal segment, from 8 MiB to 1 GiB; `64 MiB` without it.")
        .may("ballast", size(), "Held back, and given up when settling a delivery finds the disk full; `16 MiB` without it.")
        .may("low_water", size(), "Free space below which callbacks are answered with 503; `256 MiB` without it.")
}

fn limits() -> Shape {
    let count = || Kind::Integer(1, 10_000_000);
    let size = || Kind::Text(Form::Size);
    Shape::new("limits", "What one sender, and all together, may take.")
        .may(
            "connections",
            count(),
            "Connections at once; 10000 without it.",
        )
        .may(
            "connections_per_address",
            count(),
            "Connections from one /24 or /64; 1000 without it.",
        )
        .may("headers", count(), "Header fields; 64 without it.")
        .may(
            "header_bytes",
            size(),
            "All names and values of a head; `16 KiB` without it.",
        )
        .may(
            "target_bytes",
            size(),
            "Path and query; `8 KiB` without it.",
        )
        .may(
            "bytes_in_flight",
            size(),
            "Bodies in memory at once; `256 MiB` without it.",
        )
        .may(
            "handshake_timeout",
            DURATION,
            "The TLS handshake; `10s` without it.",
        )
        .may(
            "head_timeout",
            DURATION,
            "From the first byte of a head to its end; `10s` without it.",
        )
        .may(
            "body_timeout",
            DURATION,
            "The whole body; `10s` without it.",
        )
        .may(
            "idle_timeout",
            DURATION,
            "Between requests; `30s` without it.",
        )
        .may(
            "write_timeout",
            DURATION,
            "A write that makes no progress; `10s` without it.",
        )
        .may(
            "drain_timeout",
            DURATION,
            "For what is under way when the gateway is told to stop; `20s` without it.",
        )
}

fn outbound() -> Shape {
    Shape::new("outbound", "The gateway's own requests to providers.")
        .may("roots", TEXT, "PEM file of root certificates that are trusted besides the machine's own.")
        .may("connect", named(Kind::Text(Form::Socket)), "Addresses to dial instead of what the name gives: `{ \"api.example.com:443\" = \"10.0.0.7:443\" }`.")
        .may("private", Kind::Boolean, "True: hosts that a provider's file names may have private addresses; false without it.")
        .may("per_minute", Kind::Integer(1, 60_000), "Most requests to one host in a minute; 60 without it.")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::rule::shape::tests::documents::{faults, kept, validator_of};
    use crate::rule::shape::tests::drift;
    use crate::rule::witness;
    use crate::settings::Settings;

    const FULL: &str = r#"
rules = "r"
[listen]
address = "[::]:8443"
tls = { cert = "c.pem", key = "k.pem" }
http2 = false
trusted_proxies = ["10.0.0.0/8"]
proxy_protocol = true
threads = 2
[admin]
address = "127.0.0.1:8444"
tls = { cert = "c.pem", key = "k.pem", client_ca = "ca.pem", client_crl = "crl.pem" }
hosts = ["admin.example.com"]
operator = ["env:OPERATOR", { from = "file:alice", name = "alice" }]
viewer = ["file:viewer"]
[inbox]
store = "d"
segment = "8 MiB"
ballast = "0"
low_water = "1 MiB"
[limits]
connections = 1
connections_per_address = 1
headers = 10
header_bytes = "4 KiB"
target_bytes = "1 KiB"
bytes_in_flight = "8 MiB"
handshake_timeout = "1s"
head_timeout = "1s"
body_timeout = "1s"
idle_timeout = "1s"
write_timeout = "1s"
drain_timeout = "1s"
[outbound]
roots = "ca.pem"
connect = { "api.example.com:443" = "127.0.0.1:4443" }
private = true
per_minute = 5
[telemetry]
log = "json"
otlp = { endpoint = "http://127.0.0.1:4318", headers = { authorization = "env:OTLP" }, sample = 0.5 }
[alerts]
url = "https://ops.example.com/callseal"
sign_with = "env:ALERTS"
repeat = "1h"
failure_share = 0.5
failures = 1
rejections = 1
signature_failures = 1
quiet = 1
owed = 1
oldest_owed = "1m"
at_risk = 1
certificate = "7d"
disk_free = "100 MiB"
"#;

    #[test]
    fn the_shape_is_what_is_read() {
        let seen = witness::during(|| {
            assert!(Settings::parse(Path::new("callseal.toml"), FULL).is_ok());
        });
        drift::compare(&settings(), &seen);
    }

    #[test]
    fn the_schema_of_the_repository_is_that_of_the_shape() {
        kept("settings", &schema());
    }

    #[test]
    fn a_faulty_file_does_not_fit() {
        let validator = validator_of(&schema());
        assert_eq!(faults(&validator, FULL), [""; 0]);
        for bad in [
            "port = 1",
            "[listen]\naddress = \"8443\"",
            "[listen]\ntls = { cert = \"c\" }",
            "[admin]\noperator = [\"hunter2\"]",
            "[admin]\naddress = \"/run/admin.sock\"",
            "[limits]\nheaders = 0",
            "[limits]\nidle_timeout = \"soon\"",
            "[telemetry]\nlog = \"xml\"",
        ] {
            assert_eq!(faults(&validator, bad).len(), 1, "{bad}");
        }
    }
}
