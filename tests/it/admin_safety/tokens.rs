//! Tokens, roles, sessions and names.

use std::net::TcpStream;

use callseal::admin::auth::Access;

use super::{Fields, OPERATOR, VIEWER, ask, bearer, bytes, code, plain, sign_in, site};
use crate::harness::{PATIENCE, eventually};

/// Every route with everyone: what the table says is what happens.
#[test]
fn threat_25_each_role_gets_what_the_table_of_routes_says() {
    let site = plain();
    let gateway = site.start();
    let (viewer, operator) = (bearer(VIEWER), bearer(OPERATOR));
    let (cookie, csrf) = sign_in(&gateway, VIEWER);
    for route in callseal::admin::routes::routes() {
        // Its own session is what it is about.
        if route.path == "/session" {
            continue;
        }
        let target = route.path.replace("{id}", "1").replace("{name}", "none");
        let status = |fields: Fields<'_>| {
            let mut all = vec![("Content-Type", "application/json")];
            all.extend(fields);
            let body = if route.body.is_some() { "{}" } else { "" };
            ask(&gateway, route.method, &target, &all, body).status
        };
        let place = format!("{} {}", route.method, route.path);
        let open = matches!(route.access, Access::Health | Access::Open);
        let let_in = |status: u16| ![401, 403, 405, 421, 429].contains(&status);
        assert_eq!(status(&[]) != 401, open, "{place} by nobody");
        let wrong = status(&[("Authorization", "Bearer wrong-token-0000001")]);
        assert_eq!(![401, 429].contains(&wrong), open, "{place}: {wrong}");
        let may_look = route.access != Access::Operator;
        let looked = status(&[("Authorization", &viewer)]);
        assert_eq!(
            (let_in(looked), looked == 403),
            (may_look, !may_look),
            "{place}"
        );
        let session = [
            ("Cookie", cookie.as_str()),
            ("X-Callseal-CSRF", &csrf),
            ("Origin", "http://localhost"),
        ];
        let looked = status(&session);
        assert_eq!(
            (let_in(looked), looked == 403),
            (may_look, !may_look),
            "{place}"
        );
        let acted = status(&[("Authorization", &operator)]);
        assert!(let_in(acted), "{place} by an operator: {acted}");
    }
    gateway.keeps_secret(&[OPERATOR, VIEWER, "wrong-token", &cookie[17..]]);
    gateway.says("a token that is none of ours");
}

#[test]
fn a_session_changes_things_only_from_our_own_page() {
    let site = plain();
    let gateway = site.start();
    let json = ("Content-Type", "application/json");
    for (fields, body, status) in [
        (vec![json], "{\"token\":\"wrong-token-0000001\"}", 401),
        (vec![json], "{\"token\":7}", 400),
        (
            vec![json],
            "{\"token\":\"operator-token-0001\",\"more\":1}",
            400,
        ),
        (vec![], "{\"token\":\"operator-token-0001\"}", 400),
        (
            vec![json, ("Origin", "http://evil.example")],
            "{\"token\":\"operator-token-0001\"}",
            403,
        ),
        (
            vec![json, ("Sec-Fetch-Site", "cross-site")],
            "{\"token\":\"operator-token-0001\"}",
            403,
        ),
    ] {
        let answer = ask(&gateway, "POST", "/session", &fields, body);
        assert_eq!(answer.status, status, "{fields:?} {body}");
        assert!(answer.header("set-cookie").is_none());
        assert!(!String::from_utf8_lossy(&answer.body).contains("token-0"));
    }
    let (cookie, csrf) = sign_in(&gateway, OPERATOR);
    let cookie = ("Cookie", cookie.as_str());
    let shown = ask(&gateway, "GET", "/session", &[cookie], "");
    let shown: serde_json::Value = serde_json::from_slice(&shown.body).unwrap();
    assert_eq!(
        (&shown["role"], &shown["label"], &shown["csrf"]),
        (&"operator".into(), &"alice".into(), &csrf.as_str().into())
    );
    assert_eq!(
        ask(&gateway, "GET", "/v1/events", &[cookie], "").status,
        200
    );

    let pause = |fields: Fields<'_>| {
        let mut all = vec![cookie];
        all.extend(fields);
        let answer = ask(&gateway, "POST", "/v1/sources/stripe/pause", &all, "");
        (answer.status, code(&answer))
    };
    let (word, ours) = (
        ("X-Callseal-CSRF", csrf.as_str()),
        ("Origin", "http://localhost"),
    );
    let csrf_no = (403, "csrf".to_owned());
    for fields in [
        vec![],
        vec![word],
        vec![ours],
        vec![("X-Callseal-CSRF", "0000"), ours],
        vec![("X-Callseal-CSRF", ""), ours],
        vec![word, ("Origin", "http://evil.example")],
        vec![word, ("Origin", "null")],
        vec![word, ("Origin", "http://localhost:3000")],
        vec![word, ("Sec-Fetch-Site", "same-site")],
        vec![word, ours, ours],
    ] {
        assert_eq!(pause(&fields), csrf_no, "{fields:?}");
    }
    assert_eq!(pause(&[word, ours]).0, 200);
    assert_eq!(pause(&[word, ("Sec-Fetch-Site", "same-origin")]).0, 200);
    // The name of whoever holds the token stands in the audit.
    let token = bearer(OPERATOR);
    let audit = ask(
        &gateway,
        "GET",
        "/v1/audit",
        &[("Authorization", &token)],
        "",
    );
    let audit: serde_json::Value = serde_json::from_slice(&audit.body).unwrap();
    assert_eq!(audit["audit"][0]["by"], "alice");

    assert_eq!(
        ask(&gateway, "DELETE", "/session", &[cookie], "").status,
        403
    );
    let ended = ask(&gateway, "DELETE", "/session", &[cookie, word, ours], "");
    assert_eq!(ended.status, 204);
    assert!(ended.header("set-cookie").unwrap().contains("Max-Age=0"));
    assert_eq!(
        ask(&gateway, "GET", "/v1/events", &[cookie], "").status,
        401
    );
    assert_eq!(ask(&gateway, "GET", "/session", &[cookie], "").status, 401);
    gateway.keeps_secret(&[OPERATOR, &cookie.1[17..], &csrf]);
}

/// Every sign-in stands in the audit by the time it is answered, and only those that succeeded.
#[test]
fn who_signs_in_stands_in_the_audit() {
    let site = plain();
    let gateway = site.start();
    let json = ("Content-Type", "application/json");
    let wrong = "{\"token\":\"wrong-token-0000001\"}";
    assert_eq!(
        ask(&gateway, "POST", "/session", &[json], wrong).status,
        401
    );
    let (cookie, _) = sign_in(&gateway, OPERATOR);
    let audit = || -> Vec<(String, String, String)> {
        let cookie = [("Cookie", cookie.as_str())];
        let answer = ask(&gateway, "GET", "/v1/audit", &cookie, "");
        let audit: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        let entries = audit["audit"].as_array().unwrap().iter();
        let said = |entry: &serde_json::Value, key: &str| entry[key].as_str().unwrap().to_owned();
        entries
            .map(|e| (said(e, "what"), said(e, "by"), said(e, "outcome")))
            .collect()
    };
    let entry = |by: &str| ("sign_in".to_owned(), by.to_owned(), "done".to_owned());
    assert_eq!(audit(), [entry("alice")]);
    sign_in(&gateway, VIEWER);
    assert_eq!(audit(), [entry("viewer[0]"), entry("alice")]);
}

/// One token leaves places for others.
#[test]
fn the_streams_of_one_token_leave_places_for_another() {
    use std::io::{Read, Write};
    let site = plain();
    let gateway = site.start();
    let open = |token: &str| {
        let token = bearer(token);
        let fields = [("Authorization", token.as_str())];
        let mut stream = TcpStream::connect(gateway.admin).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = bytes("GET", "/v1/stream", &fields, "");
        stream.write_all(&request).unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        (String::from_utf8_lossy(&status[9..]).into_owned(), stream)
    };
    let held: Vec<_> = (0..16).map(|_| open(VIEWER)).collect();
    assert!(held.iter().all(|(status, _)| status == "200"));
    assert_eq!(open(VIEWER).0, "503");
    assert_eq!(open(OPERATOR).0, "200");
}

/// The page's stream says nothing more to whoever signed out.
#[test]
fn a_stream_ends_with_its_session() {
    use std::io::{Read, Write};
    let site = plain();
    let gateway = site.start();
    let (cookie, csrf) = sign_in(&gateway, VIEWER);
    let cookie = ("Cookie", cookie.as_str());
    let mut stream = TcpStream::connect(gateway.admin).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(&bytes("GET", "/v1/stream", &[cookie], ""))
        .unwrap();
    let mut said = Vec::new();
    let mut read = || {
        let mut some = [0; 4096];
        let count = stream.read(&mut some).unwrap();
        said.extend_from_slice(&some[..count]);
        (count, String::from_utf8_lossy(&said).into_owned())
    };
    while !read().1.contains("event: stats") {}
    let ours = [
        cookie,
        ("X-Callseal-CSRF", csrf.as_str()),
        ("Origin", "http://localhost"),
    ];
    assert_eq!(ask(&gateway, "DELETE", "/session", &ours, "").status, 204);
    while read().0 > 0 {}
}

#[test]
fn a_token_is_exchanged_without_a_restart_and_takes_its_sessions_with_it() {
    let site = plain();
    let gateway = site.start();
    let (cookie, _) = sign_in(&gateway, OPERATOR);
    let (viewers, _) = sign_in(&gateway, VIEWER);
    let status =
        |name: &str, value: &str| ask(&gateway, "GET", "/v1/events", &[(name, value)], "").status;
    // A second one beside it, then the first goes.
    std::fs::write(site.path("bob"), "bob-token-00000000001").unwrap();
    let file = site.path("callseal.toml");
    let before = std::fs::read_to_string(&file).unwrap();
    let both = before.replace("name = \"alice\" }", "name = \"alice\" }, \"file:bob\"");
    std::fs::write(&file, both).unwrap();
    gateway.signal(rustix::process::Signal::HUP);
    eventually("the second token", || {
        (status("Authorization", "Bearer bob-token-00000000001") == 200).then_some(())
    });
    assert_eq!(status("Cookie", &cookie), 200);
    std::fs::write(site.path("alice"), "operator-token-0002\n").unwrap();
    gateway.signal(rustix::process::Signal::HUP);
    eventually("the exchanged token", || {
        (status("Authorization", "Bearer operator-token-0002") == 200).then_some(())
    });
    // Who has asked often with a wrong one is told to wait.
    let old = status("Authorization", &bearer(OPERATOR));
    assert!([401, 429].contains(&old), "{old}");
    assert_eq!(status("Cookie", &cookie), 401);
    assert_eq!(status("Cookie", &viewers), 200);
    // A token that is too short is no reason to lock everybody out.
    std::fs::write(site.path("alice"), "short\n").unwrap();
    gateway.signal(rustix::process::Signal::HUP);
    gateway.says("fewer than 16 bytes");
    assert_eq!(status("Authorization", "Bearer operator-token-0002"), 200);
}

#[test]
fn threat_25_names_tokens_in_addresses_and_what_answers_bear() {
    let site = site("127.0.0.1:0", "hosts = [\"admin.example.com\"]\n");
    let gateway = site.start();
    let token = bearer(OPERATOR);
    let by = |target: &str, host: &str| {
        let fields = [("Host", host), ("Authorization", token.as_str())];
        ask(&gateway, "GET", target, &fields, "")
    };
    let own = gateway.admin.to_string();
    for host in [
        "localhost",
        "127.0.0.1:1",
        "[::1]:8444",
        "admin.example.com",
        own.as_str(),
    ] {
        assert_eq!(by("/v1/events", host).status, 200, "{host}");
    }
    for host in [
        "evil.example",
        "localhost.evil.example",
        "192.0.2.1",
        "localhost@evil.example",
    ] {
        let answer = by("/v1/events", host);
        assert_eq!(
            (answer.status, code(&answer).as_str()),
            (421, "host"),
            "{host}"
        );
        assert_eq!(by("/healthz", host).status, 421, "{host}");
    }
    assert_eq!(by("http://localhost/v1/events", "localhost").status, 200);
    assert_eq!(by("http://evil.example/v1/events", "localhost").status, 421);
    for query in ["token=x", "a=1&access_token=x", "TOKEN=x", "t%6fken=x"] {
        for path in ["/v1/events", "/healthz"] {
            let answer = by(&format!("{path}?{query}"), "localhost");
            assert_eq!(answer.status, 400, "{query}");
            assert!(String::from_utf8_lossy(&answer.body).contains("Bearer"));
        }
    }
    for target in [
        "/v1/events",
        "/healthz",
        "/nothing",
        "/v1/events?limit=0",
        "/session",
    ] {
        let answer = by(target, "localhost");
        for (name, value) in [
            (
                "content-security-policy",
                "default-src 'none'; frame-ancestors 'none'",
            ),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-store"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
            ("x-frame-options", "DENY"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{target}");
        }
        assert_eq!(answer.header("strict-transport-security"), None);
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
    let two = [
        ("Authorization", token.as_str()),
        ("Authorization", token.as_str()),
    ];
    assert_eq!(ask(&gateway, "GET", "/v1/events", &two, "").status, 401);
}
