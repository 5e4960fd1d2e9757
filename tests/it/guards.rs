//! What is refused before anyone looks at a signature.

use crate::harness::client::{exchange, request};
use crate::harness::sign::{self, stripe_event};
use crate::harness::{App, Site};

#[test]
fn misrouted_oversized_and_disallowed_requests_get_their_4xx_and_nothing_is_stored() {
    let app = App::start();
    let site = Site::new();
    site.stripe(
        &app.url("/"),
        "[guard]\nallow = [\"127.0.0.1\"]\nbody_max = \"1 KiB\"\n",
    );
    let gateway = site.start();
    let client = gateway.client();
    let body = stripe_event("evt_guard");
    let signed = sign::stripe(&body);
    assert_eq!(client.post("/strip", &signed, &body).status, 404);
    assert_eq!(client.post("/stripe/", &signed, &body).status, 404);
    assert_eq!(client.post("/Stripe", &signed, &body).status, 404);
    let large = vec![b'x'; 1025];
    assert_eq!(
        client.post("/stripe", &sign::stripe(&large), &large).status,
        413
    );
    assert_eq!(
        client
            .post_from("127.0.0.2", "/stripe", &signed, &body)
            .status,
        403
    );
    let mut stream = client.connect();
    let put = exchange(&mut stream, &request("PUT", "/stripe", &signed, &body)).unwrap();
    assert_eq!((put.status, put.header("allow")), (405, Some("POST")));
    assert!(gateway.events().is_empty());
    let expected = [
        "method_not_allowed",
        "address_not_allowed",
        "body_too_large",
        "not_found",
        "not_found",
        "not_found",
    ];
    assert_eq!(gateway.reasons(), expected);
    assert_eq!(client.post("/stripe", &signed, &body).status, 200);
    let exact = vec![b'x'; 1024];
    assert_ne!(
        client.post("/stripe", &sign::stripe(&exact), &exact).status,
        413
    );
}

#[test]
fn a_guard_in_mode_log_counts_and_lets_pass() {
    let app = App::start();
    let site = Site::new();
    site.stripe(
        &app.url("/"),
        "[guard]\nallow = [\"203.0.113.0/24\"]\nmode = \"log\"\n",
    );
    let gateway = site.start();
    let body = stripe_event("evt_log");
    assert_eq!(
        gateway
            .client()
            .post("/stripe", &sign::stripe(&body), &body)
            .status,
        200
    );
    let would = "callseal_would_refuse_total{source=\"stripe\",reason=\"address_not_allowed\"}";
    assert_eq!(gateway.metric(would), 1.0);
}

#[test]
fn rates_are_kept_with_retry_after_and_survive_a_reload() {
    let app = App::start();
    let site = Site::new();
    site.stripe(
        &app.url("/"),
        "[guard]\nrate = { per_ip = \"1/h burst 3\" }\n",
    );
    let gateway = site.start();
    let client = gateway.client();
    let statuses: Vec<u16> = (0..4)
        .map(|n| {
            let body = stripe_event(&format!("evt_{n}"));
            client.post("/stripe", &sign::stripe(&body), &body).status
        })
        .collect();
    assert_eq!(statuses, [200, 200, 200, 429]);
    let before = gateway.metric("callseal_reloads_total{result=\"done\"}");
    gateway.signal(rustix::process::Signal::HUP);
    crate::harness::eventually("a reload", || {
        (gateway.metric("callseal_reloads_total{result=\"done\"}") > before).then_some(())
    });
    let body = stripe_event("evt_after");
    let refused = client.post("/stripe", &sign::stripe(&body), &body);
    assert_eq!(refused.status, 429);
    assert!(
        refused
            .header("retry-after")
            .unwrap()
            .parse::<u64>()
            .unwrap()
            > 60
    );
    assert_eq!(gateway.reasons()[0], "rate_per_address");
}

/// Threats 21 and 24: who says where a request comes from.
#[test]
fn forwarded_for_counts_only_from_trusted_proxies() {
    let app = App::start();
    let listen =
        "[listen]\naddress = \"127.0.0.1:0\"\nthreads = 1\ntrusted_proxies = [\"127.0.0.1\"]\n";
    let site = Site::with_settings(listen);
    site.stripe(&app.url("/"), "[guard]\nallow = [\"203.0.113.5\"]\n");
    let gateway = site.start();
    let client = gateway.client();
    let body = stripe_event("evt_xff");
    let with = |value: &str| {
        let mut headers = sign::stripe(&body);
        headers.push(("X-Forwarded-For".to_owned(), value.to_owned()));
        headers
    };
    assert_eq!(
        client
            .post("/stripe", &with("203.0.113.5, 198.51.100.1"), &body)
            .status,
        403
    );
    assert_eq!(
        client
            .post_from("127.0.0.2", "/stripe", &with("203.0.113.5"), &body)
            .status,
        403
    );
    assert_eq!(
        client
            .post("/stripe", &with("not an address"), &body)
            .status,
        400
    );
    assert_eq!(
        client
            .post("/stripe", &with("198.51.100.1, 203.0.113.5"), &body)
            .status,
        200
    );
}

#[test]
fn proxy_protocol_is_required_and_believed_only_from_trusted_proxies() {
    let app = App::start();
    let listen = "[listen]\naddress = \"127.0.0.1:0\"\nthreads = 1\nproxy_protocol = true\ntrusted_proxies = [\"127.0.0.1\"]\n";
    let site = Site::with_settings(listen);
    site.stripe(&app.url("/"), "[guard]\nallow = [\"203.0.113.5\"]\n");
    let gateway = site.start();
    let client = gateway.client();
    let body = stripe_event("evt_proxy");
    let post = |from: Option<&str>, before: &[u8]| {
        let mut stream = client.try_connect(from.map(|f| f.parse().unwrap()), before)?;
        exchange(
            &mut stream,
            &request("POST", "/stripe", &sign::stripe(&body), &body),
        )
    };
    assert!(post(None, b"").is_err());
    assert!(
        post(
            Some("127.0.0.2"),
            b"PROXY TCP4 203.0.113.5 127.0.0.1 1 2\r\n"
        )
        .is_err()
    );
    assert_eq!(
        post(None, b"PROXY TCP4 203.0.113.6 127.0.0.1 1 2\r\n")
            .unwrap()
            .status,
        403
    );
    assert_eq!(
        post(None, b"PROXY TCP4 203.0.113.5 127.0.0.1 1 2\r\n")
            .unwrap()
            .status,
        200
    );
}
