//! HTTP that two programs could read in two ways is refused (threats 16, 20 to 22).

use std::io::{Read, Write};

use crate::harness::client::{closed, read_response};
use crate::harness::sign::{self, stripe_event};
use crate::harness::{App, Site, eventually};

/// A request with the signature that fits, so that only its form can be the reason.
fn raw(line: &str, lines: &str, body: &[u8]) -> Vec<u8> {
    let signature = &sign::stripe(body)[0].1;
    let mut bytes = format!("{line}\r\n{lines}Stripe-Signature: {signature}\r\n\r\n").into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

#[test]
fn what_bare_hyper_lets_through_is_refused() {
    let app = App::start();
    let site = Site::new();
    site.stripe(&app.url("/"), "");
    let gateway = site.start();
    let client = gateway.client();
    let body = stripe_event("evt_strict");
    let length = format!("Content-Length: {}\r\n", body.len());
    let l = length.as_str();
    let post = "POST /stripe HTTP/1.1";
    let h = "Host: localhost\r\n";
    let chunked = format!(
        "{:x}\r\n{}\r\n0\r\n\r\n",
        body.len(),
        String::from_utf8_lossy(&body)
    );
    let cases: Vec<(&str, u16, Vec<u8>)> = vec![
        ("no Host", 400, raw(post, l, &body)),
        ("two Hosts", 400, raw(post, &format!("{h}{h}{l}"), &body)),
        (
            "TE after CL",
            400,
            raw(
                post,
                &format!("{h}{l}Transfer-Encoding: chunked\r\n"),
                chunked.as_bytes(),
            ),
        ),
        (
            "TE before CL",
            400,
            raw(
                post,
                &format!("{h}Transfer-Encoding: chunked\r\n{l}"),
                chunked.as_bytes(),
            ),
        ),
        ("CL twice", 400, raw(post, &format!("{h}{l}{l}"), &body)),
        (
            "identity, chunked",
            400,
            raw(
                post,
                &format!("{h}Transfer-Encoding: identity, chunked\r\n"),
                chunked.as_bytes(),
            ),
        ),
        ("bare LF", 400, raw(post, &format!("{h}X-A: b\n{l}"), &body)),
        (
            "absolute form",
            400,
            raw(
                "POST https://localhost/stripe HTTP/1.1",
                &format!("{h}{l}"),
                &body,
            ),
        ),
        (
            "fragment",
            400,
            raw("POST /stripe#a HTTP/1.1", &format!("{h}{l}"), &body),
        ),
        (
            "fragment in the query",
            400,
            raw("POST /stripe?a#b HTTP/1.1", &format!("{h}{l}"), &body),
        ),
        (
            "not HTTP",
            400,
            raw("POST /stripe HTTQ/1.1", &format!("{h}{l}"), &body),
        ),
        (
            "another authority",
            400,
            raw(
                "POST https://evil/stripe HTTP/1.1",
                &format!("{h}{l}"),
                &body,
            ),
        ),
        (
            "underscore twin",
            400,
            raw(post, &format!("{h}{l}Callseal_Verified: yes\r\n"), &body),
        ),
        (
            "encoded slash",
            400,
            raw("POST /a/..%2fstripe HTTP/1.1", &format!("{h}{l}"), &body),
        ),
        (
            "dot segments",
            404,
            raw("POST /a/../stripe HTTP/1.1", &format!("{h}{l}"), &body),
        ),
        (
            "double slash",
            404,
            raw("POST //stripe HTTP/1.1", &format!("{h}{l}"), &body),
        ),
        (
            "path parameter",
            400,
            raw("POST /stripe;x=1 HTTP/1.1", &format!("{h}{l}"), &body),
        ),
        (
            "raw UTF-8",
            400,
            raw("POST /strip\u{e9} HTTP/1.1", &format!("{h}{l}"), &body),
        ),
        (
            "gzip",
            415,
            raw(post, &format!("{h}{l}Content-Encoding: gzip\r\n"), &body),
        ),
        (
            "upgrade",
            400,
            raw(
                post,
                &format!("{h}{l}Connection: upgrade\r\nUpgrade: h2c\r\n"),
                &body,
            ),
        ),
        (
            "folded line",
            400,
            raw(post, &format!("{h}{l}X-A: b\r\n c\r\n"), &body),
        ),
        (
            "sign before length",
            400,
            raw(
                post,
                &format!("{h}Content-Length: +{}\r\n", body.len()),
                &body,
            ),
        ),
        (
            "65 fields",
            431,
            raw(post, &format!("{h}{l}{}", "X: y\r\n".repeat(65)), &body),
        ),
        (
            "large field",
            431,
            raw(post, &format!("{h}{l}X: {}\r\n", "y".repeat(17_000)), &body),
        ),
        (
            "long target",
            414,
            raw(
                &format!("POST /{} HTTP/1.1", "a".repeat(8_200)),
                &format!("{h}{l}"),
                &body,
            ),
        ),
    ];
    for (name, status, bytes) in cases {
        let answer = client.raw(&bytes);
        assert_eq!(answer.map(|a| a.status), Some(status), "{name}");
    }
    assert!(gateway.events().is_empty());
    assert_eq!(app.count(), 0);
    // What hyper refuses by itself is told of like all else.
    let reasons = gateway.reasons();
    for reason in ["fragment", "unreadable", "headers_too_large"] {
        assert!(reasons.iter().any(|r| r == reason), "{reason}: {reasons:?}");
    }
    assert_eq!(
        client
            .raw(&raw(post, &format!("{h}{l}"), &body))
            .unwrap()
            .status,
        200
    );
}

#[test]
fn an_honest_chunked_body_passes_trailers_do_not_and_its_connection_ends() {
    let app = App::start();
    let site = Site::new();
    site.stripe(&app.url("/"), "");
    let gateway = site.start();
    let body = stripe_event("evt_chunked");
    let (a, b) = body.split_at(10);
    let signature = &sign::stripe(&body)[0].1;
    let mut bytes = format!(
        "POST /stripe HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nTrailer: Callseal-Verified\r\nStripe-Signature: {signature}\r\n\r\n{:x}\r\n",
        a.len()
    )
    .into_bytes();
    bytes.extend_from_slice(a);
    bytes.extend_from_slice(format!("\r\n{:x}\r\n", b.len()).as_bytes());
    bytes.extend_from_slice(b);
    bytes.extend_from_slice(b"\r\n0\r\nCallseal-Verified: forged\r\nContent-Length: 7\r\n\r\n");
    // A second request behind it on the same connection must not be looked at.
    bytes.extend_from_slice(
        b"POST /stripe HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n",
    );
    let mut stream = gateway.client().connect();
    stream.write_all(&bytes).unwrap();
    let answer = read_response(&mut stream).unwrap();
    assert_eq!(
        (answer.status, answer.header("connection")),
        (200, Some("close"))
    );
    assert_eq!(closed(&mut stream), b"");
    let delivery = app.wait_for(1).remove(0);
    assert_eq!(delivery.body, body);
    assert_eq!(delivery.header("callseal-verified"), "hmac-sha256 keys[0]");
    assert_eq!(delivery.header("content-length"), body.len().to_string());
    assert!(delivery.all("transfer-encoding").is_empty() && delivery.all("trailer").is_empty());
}

#[test]
fn keep_alive_and_pipelined_requests_are_each_looked_at() {
    let app = App::start();
    let site = Site::new();
    site.stripe(&app.url("/"), "");
    let gateway = site.start();
    let mut stream = gateway.client().connect();
    let mut both = Vec::new();
    for n in 0..2 {
        let body = stripe_event(&format!("evt_pipe_{n}"));
        let length = format!("Host: localhost\r\nContent-Length: {}\r\n", body.len());
        both.extend(raw("POST /stripe HTTP/1.1", &length, &body));
    }
    both.extend(raw(
        "POST /stripe HTTP/1.1",
        "Host: localhost\r\nContent-Length: 1\r\nContent-Length: 1\r\n",
        b"x",
    ));
    stream.write_all(&both).unwrap();
    // The last one ends the connection. Answers may arrive together, so they are read together.
    let answers = String::from_utf8(closed(&mut stream)).unwrap();
    let statuses: Vec<&str> = answers
        .split("HTTP/1.1 ")
        .skip(1)
        .map(|answer| &answer[..3])
        .collect();
    assert_eq!(statuses, ["200", "200", "400"]);
    app.wait_for(2);
}

/// Threat 18: who is slow with a head loses the connection; others do not notice.
#[test]
fn a_slow_head_is_cut() {
    let site = Site::with_settings(
        "[limits]\nhead_timeout = \"300ms\"\nidle_timeout = \"600ms\"\nbody_timeout = \"300ms\"\n",
    );
    site.stripe("http://127.0.0.1:9/", "");
    let gateway = site.start();
    let client = gateway.client();
    let mut slow = client.connect();
    slow.write_all(b"POST /stripe HTTP/1.1\r\nHost: loc")
        .unwrap();
    assert_eq!(closed(&mut slow), b"");
    let mut idle = client.connect();
    assert_eq!(closed(&mut idle), b"");
    // Where the machine is busy it may be cut as one that idles, before its head has come.
    let request = b"POST /stripe HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc";
    let answer = eventually("an answer to a head", || client.raw(request));
    assert_eq!(answer.status, 408);
}

/// An HTTP/2 connection that idles is told to go, and has time to say what was already on its way.
#[test]
fn an_idle_http2_connection_is_told_before_it_is_cut() {
    const GOAWAY: u8 = 7;
    let begin = |write_timeout: &str| {
        let site = Site::with_settings(&format!(
            "[limits]\nidle_timeout = \"300ms\"\nwrite_timeout = \"{write_timeout}\"\n"
        ));
        site.stripe("http://127.0.0.1:9/", "");
        let gateway = site.start();
        let mut stream = gateway.client().connect_h2();
        // The preface and empty SETTINGS.
        stream
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
            .unwrap();
        (site, gateway, stream)
    };
    // Kind and flags of the next frame.
    let frame = |stream: &mut dyn Read| {
        let mut head = [0; 9];
        stream.read_exact(&mut head).ok()?;
        let length = usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut rest = vec![0; length];
        stream.read_exact(&mut rest).ok()?;
        Some((head[3], head[4], rest))
    };
    // Never a word again, not even to a PING: told, then cut.
    let (_site, _gateway, mut stream) = begin("600ms");
    let told = closed(&mut stream);
    let (mut told, mut kinds) = (told.as_slice(), Vec::new());
    while let Some((kind, ..)) = frame(&mut told) {
        kinds.push(kind);
    }
    // Not by the PINGs that look every half minute whether it is alive: they would tell it again.
    kinds.retain(|kind| *kind == GOAWAY);
    assert_eq!(kinds, [GOAWAY]);
    // Who speaks after that is heard.
    let (_site, _gateway, mut stream) = begin("10m");
    while frame(&mut stream).expect("a GOAWAY").0 != GOAWAY {}
    stream.write_all(b"\0\0\x08\x06\0\0\0\0\0callseal").unwrap();
    let own = (6, 1, b"callseal".to_vec());
    while frame(&mut stream).expect("an answer to the PING") != own {}
}

/// Who only promises bytes takes no memory away from others.
#[test]
fn promised_bodies_do_not_use_up_the_memory_for_bodies() {
    let app = App::start();
    let site = Site::with_settings("[limits]\nbytes_in_flight = \"4 MiB\"\n");
    site.stripe(&app.url("/"), "");
    let gateway = site.start();
    let client = gateway.client();
    let promises: Vec<_> = (0..20)
        .map(|_| {
            let mut stream = client.connect();
            let head =
                b"POST /stripe HTTP/1.1\r\nHost: localhost\r\nContent-Length: 262144\r\n\r\nx";
            stream.write_all(head).unwrap();
            stream
        })
        .collect();
    std::thread::sleep(std::time::Duration::from_millis(200));
    let body = stripe_event("evt_beside_promises");
    let answer = client.post("/stripe", &sign::stripe(&body), &body);
    assert_eq!(answer.status, 200);
    drop(promises);
}

/// Strangers' connections leave files for the journal, the admin port and the applications.
#[test]
fn connections_do_not_use_up_the_files() {
    let app = App::start();
    // None makes place for another while the others come.
    let site = Site::with_settings("[limits]\nidle_timeout = \"1h\"\n");
    site.stripe(&app.url("/"), "");
    let mut command = std::process::Command::new("sh");
    command.current_dir(site.path(""));
    command.args(["-c", "ulimit -n 160; exec \"$0\" serve"]);
    command.arg(env!("CARGO_BIN_EXE_callseal"));
    let gateway = site.start_with(command);
    gateway.says("LimitNOFILE");
    let client = gateway.client();
    let mut taken = Vec::new();
    while let Ok(stream) = client.try_connect(None, &[]) {
        taken.push(stream);
        assert!(taken.len() < 160);
    }
    let body = stripe_event("evt_few_files");
    let bytes = crate::harness::client::request("POST", "/stripe", &sign::stripe(&body), &body);
    let stream = &mut taken[0];
    stream.write_all(&bytes).unwrap();
    assert_eq!(read_response(stream).unwrap().status, 200);
    app.wait_for(1);
    assert_eq!(gateway.ask("GET", "/readyz").status, 200);
}
