//! Too much, too often, too many.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::{OPERATOR, ask, bearer, bytes, code, plain};
use crate::harness::client::read_response;
use crate::harness::{Gateway, PATIENCE, eventually};

#[test]
fn threat_17_and_18_too_much_and_too_often() {
    let site = plain();
    let gateway = site.start();
    let token = bearer(OPERATOR);
    let fields = [
        ("Authorization", token.as_str()),
        ("Content-Type", "application/json"),
    ];
    let large = format!("{{\"state\":\"{}\"}}", "x".repeat(65 * 1024));
    let answer = ask(&gateway, "POST", "/v1/redrive", &fields, &large);
    assert_eq!((answer.status, code(&answer).as_str()), (413, "too_large"));
    let many: Vec<(String, String)> = (0..80)
        .map(|n| (format!("X-{n}"), "x".to_owned()))
        .collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    assert_eq!(ask(&gateway, "GET", "/healthz", &many, "").status, 431);
    let long = "x".repeat(40 * 1024);
    assert_eq!(
        ask(&gateway, "GET", "/healthz", &[("X-Long", &long)], "").status,
        431
    );

    // Who holds many places leaves some to others, and hears why there is none. Places in which
    // nobody asks are taken away after a while, on a busy machine perhaps before that is heard.
    let idle = eventually("no place", || {
        let idle: Vec<TcpStream> = (0..48)
            .map(|_| TcpStream::connect(gateway.admin).unwrap())
            .collect();
        let full = from(&gateway, "127.0.0.1", &bytes("GET", "/healthz", &[], ""));
        let full = read_response(&mut full.as_slice()).ok()?;
        (full.status == 503 && code(&full) == "too_many_connections").then_some(idle)
    });
    let other = from(&gateway, "127.0.9.1", &bytes("GET", "/healthz", &[], ""));
    assert!(other.starts_with(b"HTTP/1.1 200"));
    drop(idle);
    eventually("a place", || {
        let answer = from(&gateway, "127.0.0.1", &bytes("GET", "/healthz", &[], ""));
        answer.starts_with(b"HTTP/1.1 200").then_some(())
    });

    // Wrong tokens, more slowly; a right one goes on.
    let wrong = [("Authorization", "Bearer wrong-token-0000001")];
    let mut refused = 0;
    let slowed = eventually("a 429", || {
        let answer = ask(&gateway, "GET", "/v1/events", &wrong, "");
        refused += usize::from(answer.status == 401);
        (answer.status == 429).then_some(answer)
    });
    assert_eq!(
        (code(&slowed).as_str(), slowed.header("retry-after")),
        ("too_many_requests", Some("1"))
    );
    assert_eq!(ask(&gateway, "GET", "/v1/events", &fields, "").status, 200);
    // As many at once as may be, and a line for each.
    assert!(refused >= 20, "{refused}");
    eventually("a line for each", || {
        let log = gateway.log();
        let said = log.matches("a token that is none of ours").count();
        (said == refused).then_some(())
    });

    // All of one address's requests. Each try is from an address that has not asked before: a
    // machine that stands still for a while loses the connection, and with it what was answered.
    let all = [
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(3000),
        bytes("GET", "/healthz", &[], ""),
    ]
    .concat();
    let mut tries = 0;
    let said = eventually("answers to all requests", || {
        tries += 1;
        let said = from(&gateway, &format!("127.0.10.{tries}"), &all);
        let said = String::from_utf8(said).unwrap();
        (said.matches("HTTP/1.1 ").count() == 3001).then_some(said)
    });
    let taken = said.matches("HTTP/1.1 200").count();
    assert!((400..3001).contains(&taken), "{taken}");
    assert!(said.contains("HTTP/1.1 429") && said.contains("retry-after: 1"));
}

/// All that comes back to these requests, sent from this address of the machine.
fn from(gateway: &Gateway, address: &str, requests: &[u8]) -> Vec<u8> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let address: std::net::SocketAddr = format!("{address}:0").parse().unwrap();
    socket.bind(&address.into()).unwrap();
    socket.connect(&gateway.admin.into()).unwrap();
    let mut stream: TcpStream = socket.into();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut writer = stream.try_clone().unwrap();
    let mut all = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let _ = writer.write_all(requests);
        });
        let _ = stream.read_to_end(&mut all);
    });
    all
}
