//! Too much, too often, too many.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::{OPERATOR, ask, bearer, bytes, code, plain};
use crate::harness::client::{Response, read_response};
use crate::harness::eventually;

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

    // Who holds many places leaves some to others.
    let idle: Vec<TcpStream> = (0..48)
        .map(|_| TcpStream::connect(gateway.admin).unwrap())
        .collect();
    let from = |address: &str| {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        let address: std::net::SocketAddr = address.parse().unwrap();
        socket.bind(&address.into()).unwrap();
        socket.connect(&gateway.admin.into()).unwrap();
        let mut stream: TcpStream = socket.into();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let _ = stream.write_all(&bytes("GET", "/healthz", &[], ""));
        read_response(&mut stream)
    };
    let full = from("127.0.0.1:0");
    assert!(full.is_err() || full.unwrap().status == 503);
    assert_eq!(from("127.0.9.1:0").unwrap().status, 200);
    drop(idle);
    eventually("a place", || {
        from("127.0.0.1:0")
            .ok()
            .filter(|answer| answer.status == 200)
    });

    // Wrong tokens, more slowly; a right one goes on.
    let wrong = [("Authorization", "Bearer wrong-token-0000001")];
    let answers: Vec<Response> = (0..50)
        .map(|_| ask(&gateway, "GET", "/v1/events", &wrong, ""))
        .collect();
    let slowed = answers.iter().find(|answer| answer.status == 429).unwrap();
    assert_eq!(
        (code(slowed).as_str(), slowed.header("retry-after")),
        ("too_many_requests", Some("1"))
    );
    assert_eq!(ask(&gateway, "GET", "/v1/events", &fields, "").status, 200);
    let said = gateway
        .log()
        .matches("a token that is none of ours")
        .count();
    assert!((10..50).contains(&said), "{said}");

    // All of one address's requests.
    let mut stream = TcpStream::connect(gateway.admin).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let one = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let (mut writer, end) = (
        stream.try_clone().unwrap(),
        bytes("GET", "/healthz", &[], ""),
    );
    let writing = std::thread::spawn(move || {
        let _ = writer.write_all(&one.repeat(3000));
        let _ = writer.write_all(&end);
    });
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all);
    writing.join().unwrap();
    let all = String::from_utf8_lossy(&all);
    assert!(all.matches("HTTP/1.1 200").count() >= 300, "{}", all.len());
    assert!(all.contains("HTTP/1.1 429") && all.contains("retry-after: 1"));
}
