//! Destinations, hosts of providers, a time server, and the gateway that runs.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::files::Read;
use super::{Finding, told};
use crate::cli::operate::Gateway;
use crate::cli::operate::client::{AskError, Client};
use crate::cli::operate::view::{list, text};
use crate::cli::{Place, reach};
use crate::clock::{Clock, SystemClock};
use crate::connect::{self, ConnectError, Tls};
use crate::rule::Address;

const PATIENCE: Duration = Duration::from_secs(3);
/// Half of the shortest tolerance that providers advise (five minutes) would be lost at this.
const CLOCK_BLOCKER: u64 = 120_000;
const CLOCK_WARNING: u64 = 2_000;
/// Seconds between 1900, where NTP begins to count, and 1970 (RFC 5905, section 6).
const NTP_EPOCH: u64 = 2_208_988_800;

pub fn look(read: &Read, ntp: Option<&str>) -> Vec<Finding> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else {
        return vec![Finding::warning(
            "unchecked",
            "network",
            "nothing could be connected to",
        )];
    };
    let mut findings = Vec::new();
    if let Some(prepared) = &read.prepared {
        // Several sources may go to one place, with trust and certificate of their own or without.
        let mut places: BTreeMap<(String, Option<String>), Destination> = BTreeMap::new();
        for route in &prepared.routes {
            let forward = &route.to.forward;
            let at = match &forward.socket {
                Some(socket) => socket.display().to_string(),
                None => format!("{}:{}", forward.host, forward.port),
            };
            let own = route.tls.as_ref().map(|_| route.rule.name.to_string());
            let place = places.entry((at, own)).or_insert_with(|| Destination {
                address: forward.clone(),
                tls: route.tls.clone(),
                sources: Vec::new(),
            });
            place.sources.push(route.rule.name.to_string());
        }
        findings.extend(runtime.block_on(async {
            let native = Arc::new(Tls::native());
            let tries: Vec<_> = places
                .into_iter()
                .map(|((at, _), place)| {
                    let native = native.clone();
                    tokio::spawn(async move { destination(&at, place, native).await })
                })
                .collect();
            let mut found = Vec::new();
            for task in tries {
                found.extend(task.await);
            }
            found
        }));
        findings.extend(reach::unreachable(&read.settings, prepared).into_iter().map(|fault| {
            Finding::warning("provider_unreachable", &fault.source, &fault.detail)
                .mend("verifying its callbacks needs this host: they are answered with 503 until it can be reached")
        }));
    }
    if let Some(host) = ntp {
        findings.push(runtime.block_on(measured(host)));
    }
    findings
}

/// A place that events are delivered to.
struct Destination {
    address: Address,
    /// Trust and certificate of its own; without it those of the machine.
    tls: Option<Arc<Tls>>,
    sources: Vec<String>,
}

async fn destination(at: &str, place: Destination, native: Arc<Tls>) -> Finding {
    let mut sources = place.sources;
    sources.dedup();
    let sources = sources.join(", ");
    let address = &place.address;
    let tried = match (&address.socket, address.https) {
        (Some(socket), _) => connect::socket(socket, PATIENCE).await.map(drop),
        (None, false) => connect::tcp(&address.host, address.port, PATIENCE)
            .await
            .map(drop),
        (None, true) => {
            let tls = place.tls.unwrap_or(native);
            match tokio::time::timeout(2 * PATIENCE, handshake(address, &tls)).await {
                Ok(tried) => tried,
                Err(_) => Err(ConnectError::Timeout),
            }
        }
    };
    match tried {
        Ok(()) => Finding::fine(
            "destination",
            at,
            format!("takes connections (for {sources})"),
        ),
        Err(error) => {
            let start = "start the application, or mend `forward`";
            let (why, mend) = match error {
                ConnectError::Dns => ("its name gives no address".to_owned(), start),
                ConnectError::Refused => ("nobody listens there".to_owned(), start),
                ConnectError::Failed(kind) => (kind.to_string(), start),
                ConnectError::Timeout => ("no connection in time".to_owned(), start),
                ConnectError::Tls => (
                    "its certificate is not trusted or not its own, or it speaks no TLS".to_owned(),
                    "renew the certificate, or name its authority: `ca` under [relay.tls]",
                ),
            };
            let detail = format!("{why} (for {sources})");
            Finding::blocker("destination_unreachable", at, detail).mend(format!(
                "{mend}; what is accepted meanwhile is kept and retried"
            ))
        }
    }
}

/// As for a delivery, of which nothing is sent.
async fn handshake(address: &Address, tls: &Tls) -> Result<(), ConnectError> {
    let stream = connect::tcp(&address.host, address.port, PATIENCE).await?;
    let host = address.host.trim_matches(['[', ']']);
    connect::tls(tls, host, stream).await.map(drop)
}

/// The clock's distance from a time server's (RFC 5905, section 8).
async fn measured(host: &str) -> Finding {
    match tokio::time::timeout(PATIENCE, offset(host)).await {
        Ok(Ok(offset)) => {
            let way = if offset < 0 { "behind" } else { "ahead of" };
            let detail = format!("{} ms {way} that of {host}", offset.unsigned_abs());
            match offset.unsigned_abs() {
                CLOCK_BLOCKER.. => Finding::blocker("clock_offset", "clock", detail)
                    .mend("set it: callbacks signed now are rejected as stale or from the future"),
                CLOCK_WARNING.. => Finding::warning("clock_offset", "clock", detail)
                    .mend("let a time service keep it"),
                _ => Finding::fine("clock_offset", "clock", detail),
            }
        }
        Ok(Err(error)) => Finding::warning(
            "clock_offset",
            host,
            format!("could not be asked for the time: {error}"),
        ),
        Err(_) => Finding::warning("clock_offset", host, "did not answer in time"),
    }
}

async fn offset(host: &str) -> std::io::Result<i64> {
    let place = match host.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() && !name.ends_with(':') => {
            host.to_owned()
        }
        Some(_) | None => format!("{host}:123"),
    };
    let found = tokio::net::lookup_host(place).await?.next();
    let address = found.ok_or_else(|| std::io::Error::other("its name gives no address"))?;
    let own = match address {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = tokio::net::UdpSocket::bind(own).await?;
    socket.connect(address).await?;
    // No leap warning, version 4, client; our own time where the server repeats it.
    let mut packet = [0u8; 48];
    let sent = SystemClock.now().as_millis();
    let stamp = to_ntp(sent).to_be_bytes();
    let [first, .., _] = &mut packet;
    *first = 0b00_100_011;
    if let Some(place) = packet.get_mut(40..48) {
        place.copy_from_slice(&stamp);
    }
    socket.send(&packet).await?;
    let mut answer = [0u8; 64];
    let length = socket.recv(&mut answer).await?;
    let back = SystemClock.now().as_millis();
    let answer = answer.get(..length).unwrap_or_default();
    let field = |at: usize| {
        let bytes = answer.get(at..at + 8)?;
        Some(u64::from_be_bytes(bytes.try_into().ok()?))
    };
    let wrong = || std::io::Error::other("what came back is no answer of a time server");
    let mode = answer.first().map(|first| first & 0b111);
    let stratum = answer.get(1).copied().unwrap_or(0);
    if mode != Some(4) || !(1..16).contains(&stratum) || field(24) != Some(to_ntp(sent)) {
        return Err(wrong());
    }
    let (received, answered) = (field(32).ok_or_else(wrong)?, field(40).ok_or_else(wrong)?);
    let difference = |ntp: u64, ours: u64| of_ntp(ntp) as i64 - ours as i64;
    // How far ours is ahead.
    Ok(-(difference(received, sent) + difference(answered, back)) / 2)
}

fn to_ntp(millis: u64) -> u64 {
    let seconds = (millis / 1000 + NTP_EPOCH) & 0xffff_ffff;
    (seconds << 32) | (((millis % 1000) << 32) / 1000)
}

/// Within the era that ends in 2036 and the one after it.
fn of_ntp(ntp: u64) -> u64 {
    let seconds = ntp >> 32;
    let since_1900 = if seconds < NTP_EPOCH {
        seconds + (1 << 32)
    } else {
        seconds
    };
    (since_1900 - NTP_EPOCH) * 1000 + (((ntp & 0xffff_ffff) * 1000) >> 32)
}

/// What the running gateway says of itself, and whether it has the rules that the files have.
pub fn running(place: &Place, gateway: &Gateway, read: &Read) -> Vec<Finding> {
    let client = match Client::new(place, gateway) {
        Ok(client) => client,
        Err(error) => {
            let finding = Finding::warning("gateway", "gateway", format!("not asked: {error}"));
            return vec![match error.hint() {
                Some(hint) => finding.mend(hint),
                None => finding,
            }];
        }
    };
    let answer = match client.get("/v1/doctor") {
        Ok(answer) => answer,
        Err(error) => {
            let hint = error.hint().unwrap_or("callseal serve starts it");
            let code = match error {
                AskError::Wire { .. } => "gateway_not_running",
                AskError::Problem { .. } | AskError::Strange { .. } => "gateway",
            };
            return vec![Finding::warning(code, "gateway", error.to_string()).mend(hint)];
        }
    };
    let mut findings = told(&answer);
    match client.get("/v1/overview") {
        Ok(overview) => {
            findings.extend(version(&overview));
            let has = text(&overview, "/rules_digest");
            let files = read
                .prepared
                .as_ref()
                .map(|prepared| data_encoding::HEXLOWER.encode(&prepared.loaded.rules.digest));
            if let Some(files) = files.filter(|files| *files != has) {
                let short = |digest: &str| digest.get(..12).unwrap_or(digest).to_owned();
                findings.push(
                    Finding::warning(
                        "rules_differ",
                        "rules",
                        format!(
                            "the running gateway has {}, the files are {}",
                            short(&has),
                            short(&files)
                        ),
                    )
                    .mend("callseal reload"),
                );
            }
        }
        Err(error) => findings.push(unasked(&error)),
    }
    match client.get("/v1/sources") {
        Ok(sources) => findings.extend(silent(list(&sources, "/sources"))),
        Err(error) => findings.push(unasked(&error)),
    }
    findings
}

fn unasked(error: &AskError) -> Finding {
    Finding::warning("gateway", "gateway", format!("not asked: {error}"))
}

/// Sources that nobody has ever called, as far as events are kept. Those that have become quiet,
/// the gateway knows by their usual rhythm.
fn silent(sources: &[Value]) -> Vec<Finding> {
    let heard = |source: &Value| !text(source, "/last_accepted_at").is_empty();
    let mut found: Vec<Finding> = sources
        .iter()
        .filter(|source| !heard(source))
        .map(|source| {
            let detail = format!(
                "no traffic: nothing was ever accepted at {}, as far as events are kept",
                text(source, "/path")
            );
            let mend = "is the address known to the provider? Send a test event from its pages; \
                        `callseal refusals --groups` tells what came and was not accepted";
            Finding::warning("no_traffic", text(source, "/name"), detail).mend(mend)
        })
        .collect();
    if found.is_empty() && !sources.is_empty() {
        let detail = format!("each of {} has had traffic", sources.len());
        found.push(Finding::fine("traffic", "sources", detail));
    }
    found
}

/// This command line was made with the gateway that it asks, or one of them is older.
fn version(overview: &Value) -> Option<Finding> {
    let (theirs, ours) = (text(overview, "/version"), env!("CARGO_PKG_VERSION"));
    let detail = format!("the running gateway is {theirs}, this command line {ours}");
    let finding = Finding::warning("version_differs", "gateway", detail);
    (theirs != ours).then(|| finding.mend("restart the gateway after an upgrade"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_nobody_calls_and_another_version_are_told() {
        let sources = serde_json::json!([
            { "name": "a", "path": "/a", "last_accepted_at": "2026-11-22T09:30:00.000Z" },
            { "name": "b", "path": "/b", "last_accepted_at": null },
        ]);
        let sources = sources.as_array().unwrap();
        let found = silent(sources);
        assert_eq!((found.len(), found[0].code.as_str()), (1, "no_traffic"));
        assert_eq!(found[0].subject, "b");
        assert_eq!(silent(&sources[..1])[0].code, "traffic");
        let of = |is: &str| version(&serde_json::json!({ "version": is })).is_some();
        assert!(of("0.0.1") && !of(env!("CARGO_PKG_VERSION")));
    }

    #[test]
    fn ntp_times_are_those_of_1970_plus_seventy_years() {
        for millis in [
            0,
            1_700_000_000_123,
            2_085_978_495_999,
            2_085_978_496_000,
            4_000_000_000_000,
        ] {
            let back = of_ntp(to_ntp(millis));
            assert!(millis.abs_diff(back) <= 1, "{millis} {back}");
        }
    }

    #[test]
    fn a_time_server_is_believed_only_when_it_answers_our_question() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            for (ahead, echo, expected) in [(5_000i64, true, Some(-5_000i64)), (0, false, None)] {
                let server = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
                let place = server.local_addr().unwrap().to_string();
                let serving = async {
                    let mut packet = [0u8; 48];
                    let (_, from) = server.recv_from(&mut packet).await.unwrap();
                    let theirs =
                        to_ntp((SystemClock.now().as_millis() as i64 + ahead) as u64).to_be_bytes();
                    let asked: [u8; 8] = packet[40..48].try_into().unwrap();
                    packet[0] = 0b00_100_100;
                    packet[1] = 2;
                    packet[24..32].copy_from_slice(if echo { &asked } else { &[7; 8] });
                    packet[32..40].copy_from_slice(&theirs);
                    packet[40..48].copy_from_slice(&theirs);
                    server.send_to(&packet, from).await.unwrap();
                };
                let (answer, ()) = tokio::join!(offset(&place), serving);
                match expected {
                    Some(expected) => assert!((answer.unwrap() - expected).abs() < 1_000),
                    None => assert!(answer.is_err()),
                }
            }
        });
    }
}
