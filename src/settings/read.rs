//! From the tables of `callseal.toml` to settings: every fault at once, with its place.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::{InboxSettings, LOG_FORMATS, Limits, Listen, OutboundSettings, Settings, TlsFiles};
use crate::rule::reader::{Field, Table};
use crate::rule::value::{self, Complaint};

/// Reads tables into settings; what is not there keeps its default.
pub(super) struct Reader<'f> {
    pub folder: &'f Path,
}

pub(super) fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

impl Reader<'_> {
    pub(super) fn root(&self, root: Table<'_>, settings: &mut Settings) {
        settings.rules_named = root.get("rules").is_some();
        set(&mut settings.rules, self.path(root.get("rules")));
        if let Some(table) = root.get("listen").and_then(|f| f.table()) {
            self.listen(table, &mut settings.listen);
        }
        if let Some(table) = root.get("admin").and_then(|f| f.table()) {
            self.admin(table, &mut settings.admin);
        }
        if let Some(table) = root.get("inbox").and_then(|f| f.table()) {
            self.inbox(table, &mut settings.inbox);
        }
        if let Some(table) = root.get("limits").and_then(|f| f.table()) {
            limits(table, &mut settings.limits);
        }
        if let Some(table) = root.get("outbound").and_then(|f| f.table()) {
            self.outbound(table, &mut settings.outbound);
        }
        if let Some(table) = root.get("telemetry").and_then(|f| f.table()) {
            let log = table.get("log").and_then(|f| f.word(&LOG_FORMATS));
            set(&mut settings.log, log);
            settings.otlp = table
                .get("otlp")
                .and_then(|f| f.table())
                .and_then(|table| self.otlp(table));
            table.finish();
        }
        if let Some(table) = root.get("alerts").and_then(|f| f.table()) {
            settings.alerts = self.alerts(table);
        }
        root.finish();
    }

    pub(super) fn path(&self, field: Option<Field<'_>>) -> Option<PathBuf> {
        let text = field?.parsed(|text| match text {
            "" => Err(Complaint::new("a path is empty")),
            text => Ok(text.to_owned()),
        })?;
        Some(self.folder.join(text))
    }

    fn listen(&self, table: Table<'_>, listen: &mut Listen) {
        set(
            &mut listen.address,
            table.get("address").and_then(|f| f.parsed(socket)),
        );
        if let Some(files) = table.get("tls").and_then(|f| f.table()) {
            let cert = self.path(files.need(
                "cert",
                "`tls = { cert = \"certs/server.pem\", key = \"certs/server.key\" }`",
            ));
            let key = self.path(files.need(
                "key",
                "`tls = { cert = \"certs/server.pem\", key = \"certs/server.key\" }`",
            ));
            if let (Some(cert), Some(key)) = (cert, key) {
                listen.tls = Some(TlsFiles { cert, key });
            }
            files.finish();
        }
        set(
            &mut listen.http2,
            table.get("http2").and_then(|f| f.boolean()),
        );
        if let Some(field) = table.get("trusted_proxies") {
            listen.trusted_proxies = field
                .list()
                .iter()
                .filter_map(|f| f.parsed(value::network))
                .collect();
        }
        if let Some(field) = table.get("proxy_protocol") {
            set(&mut listen.proxy_protocol, field.boolean());
            if listen.proxy_protocol && listen.trusted_proxies.is_empty() {
                field.problems.error_with(
                    field.span.clone(),
                    "proxy_protocol",
                    "PROXY protocol from nobody: `trusted_proxies` is empty",
                    "name the load balancer's addresses in `trusted_proxies`",
                );
            }
        }
        listen.threads = table
            .get("threads")
            .and_then(|f| f.integer(1..=1024))
            .and_then(|n| usize::try_from(n).ok());
        table.finish();
    }

    fn inbox(&self, table: Table<'_>, inbox: &mut InboxSettings) {
        if let Some(field) = table.get("store") {
            inbox.store_named = true;
            let directory = field.parsed(|text| match text.contains("://") {
                true => Err(
                    Complaint::new("only a directory can be a store in this version")
                        .hint("e.g. `store = \"data\"`"),
                ),
                false if text.is_empty() => Err(Complaint::new("a path is empty")),
                false => Ok(text.to_owned()),
            });
            set(
                &mut inbox.store,
                directory.map(|text| self.folder.join(text)),
            );
        }
        set(
            &mut inbox.segment,
            size(table.get("segment"), 8 << 20, 1 << 30),
        );
        set(&mut inbox.ballast, size(table.get("ballast"), 0, 1 << 34));
        set(
            &mut inbox.low_water,
            size(table.get("low_water"), 0, 1 << 44),
        );
        table.finish();
    }

    fn outbound(&self, table: Table<'_>, outbound: &mut OutboundSettings) {
        outbound.roots = self.path(table.get("roots"));
        if let Some(hosts) = table.get("connect").and_then(|f| f.table()) {
            for (name, field) in hosts.entries() {
                let place = host_and_port(name);
                if let Err(complaint) = &place {
                    let (span, message) = (field.key.clone(), complaint.message.clone());
                    let hint = "e.g. `\"api.example.com:443\" = \"10.0.0.7:443\"`";
                    field.problems.error_with(span, "bad_value", message, hint);
                }
                if let (Ok(place), Some(address)) = (place, field.parsed(socket)) {
                    outbound.connect.insert(place, address);
                }
            }
        }
        set(
            &mut outbound.private,
            table.get("private").and_then(|f| f.boolean()),
        );
        set(
            &mut outbound.per_minute,
            table
                .get("per_minute")
                .and_then(|f| f.integer(1..=60_000))
                .and_then(|n| u32::try_from(n).ok()),
        );
        table.finish();
    }
}

/// `api.example.com:443`, as requests name it: in lower case.
fn host_and_port(text: &str) -> Result<(String, u16), Complaint> {
    let bad = || Complaint::new(format!("`{text}` is not a host in lower case with a port"));
    let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-_:".contains(c);
    let digits = port.bytes().all(|b| b.is_ascii_digit());
    match port.parse::<u16>() {
        Ok(port) if port > 0 && digits && !host.is_empty() && host.chars().all(plain) => {
            Ok((host.to_owned(), port))
        }
        Ok(_) | Err(_) => Err(bad()),
    }
}

fn limits(table: Table<'_>, limits: &mut Limits) {
    let count = |key| {
        table
            .get(key)
            .and_then(|f| f.integer(1..=10_000_000))
            .and_then(|n| usize::try_from(n).ok())
    };
    let bytes =
        |key, low, high| size(table.get(key), low, high).and_then(|n| usize::try_from(n).ok());
    let time = |key| table.get(key).and_then(|f| f.parsed(value::duration));
    set(&mut limits.connections, count("connections"));
    set(
        &mut limits.connections_per_address,
        count("connections_per_address"),
    );
    set(&mut limits.headers, count("headers"));
    set(
        &mut limits.header_bytes,
        bytes("header_bytes", 1 << 10, 1 << 20),
    );
    set(
        &mut limits.target_bytes,
        bytes("target_bytes", 256, 64 << 10),
    );
    set(
        &mut limits.bytes_in_flight,
        bytes("bytes_in_flight", 4 << 20, 1 << 40),
    );
    set(&mut limits.handshake_timeout, time("handshake_timeout"));
    set(&mut limits.head_timeout, time("head_timeout"));
    set(&mut limits.body_timeout, time("body_timeout"));
    set(&mut limits.idle_timeout, time("idle_timeout"));
    set(&mut limits.write_timeout, time("write_timeout"));
    set(&mut limits.drain_timeout, time("drain_timeout"));
    table.finish();
}

pub(super) fn socket(text: &str) -> Result<SocketAddr, Complaint> {
    text.parse().map_err(|_| {
        Complaint::new(format!("`{text}` is not an address with a port"))
            .hint("e.g. `0.0.0.0:8443`, `[::]:8443`")
    })
}

pub(super) fn size(field: Option<Field<'_>>, low: u64, high: u64) -> Option<u64> {
    field?.parsed(|text| {
        let bytes = value::size(text)? as u64;
        match (low..=high).contains(&bytes) {
            true => Ok(bytes),
            false => Err(Complaint::new(format!(
                "must be from {low} to {high} bytes, this is {bytes}"
            ))),
        }
    })
}
