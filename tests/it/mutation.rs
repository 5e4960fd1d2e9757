//! One byte of a signed request changed, in every class of bytes: always rejected, always with the
//! same bytes on the wire, and nothing stored.

use crate::harness::client::{exchange, request};
use crate::harness::sign::{self, Fields, stripe_event};
use crate::harness::{App, Response, Site, now};

type Change = (&'static str, Fields, Vec<u8>);

/// Changes that must make a signed request unacceptable: (what, headers, body).
fn changes(signed: &Fields, body: &[u8], header: usize) -> Vec<Change> {
    let mut all = Vec::new();
    for at in 0..body.len() {
        let mut body = body.to_vec();
        body[at] ^= 1 << (at % 8);
        all.push(("body", signed.clone(), body));
    }
    let value = signed[header].1.clone().into_bytes();
    for at in 0..value.len() {
        let mut changed = value.clone();
        // Stays printable, so that HTTP lets it through to the verifier.
        changed[at] = if changed[at] == b'x' { b'y' } else { b'x' };
        let mut headers = signed.clone();
        headers[header].1 = String::from_utf8(changed).unwrap();
        all.push(("signature header", headers, body.to_vec()));
    }
    for (name, change) in [("missing", 0), ("blank", 1), ("doubled", 2)] {
        let mut headers = signed.clone();
        match change {
            0 => drop(headers.remove(header)),
            1 => headers[header].1.clear(),
            _ => headers.push(headers[header].clone()),
        }
        all.push((name, headers, body.to_vec()));
    }
    let shorter = body[..body.len() - 1].to_vec();
    let longer = [body, b"\n"].concat();
    all.push(("one byte less", signed.clone(), shorter));
    all.push(("one byte more", signed.clone(), longer));
    all.push(("no body", signed.clone(), Vec::new()));
    all
}

#[test]
fn every_changed_byte_of_a_signed_request_is_rejected_alike() {
    let app = App::start();
    let site = Site::new();
    site.stripe(&app.url("/"), "");
    site.source("wallet", "generic-hmac", "wallet", &app.url("/"), "");
    let gateway = site.start();
    let body = stripe_event("evt_mut");
    let at = now();
    let sources: [(&str, Fields, Vec<usize>); 2] = [
        ("/stripe", sign::stripe(&body), vec![0]),
        (
            "/wallet",
            sign::wallet("w-1", at, "/wallet", &body),
            vec![0, 1, 2],
        ),
    ];
    let mut stream = gateway.client().connect();
    for (path, signed, headers) in sources {
        let mut heard: Option<Response> = None;
        for header in headers {
            for (what, fields, body) in changes(&signed, &body, header) {
                let answer = exchange(&mut stream, &request("POST", path, &fields, &body)).unwrap();
                assert_eq!(answer.status, 401, "{path}: {what}: {fields:?}");
                let first = heard.get_or_insert_with(|| answer.clone());
                assert_eq!(&answer, first, "{path}: {what}: the answer tells something");
            }
        }
    }
    // Another method or target is another request, where these are signed.
    let signed = sign::wallet("w-1", at, "/wallet", &body);
    let answer = exchange(&mut stream, &request("POST", "/wallet?x=1", &signed, &body)).unwrap();
    assert_eq!(answer.status, 401);
    // Somebody else's key, and the clock.
    let other = sign::stripe_with("whsec_another_merchants_secret", at, &body);
    assert_eq!(
        exchange(&mut stream, &request("POST", "/stripe", &other, &body))
            .unwrap()
            .status,
        401
    );
    for (at, reason) in [(at - 310, "stale"), (at + 310, "from_the_future")] {
        let signed = sign::stripe_with(crate::harness::gateway::STRIPE_SECRET, at, &body);
        assert_eq!(
            exchange(&mut stream, &request("POST", "/stripe", &signed, &body))
                .unwrap()
                .status,
            401
        );
        assert_eq!(gateway.reasons()[0], reason);
    }
    assert!(gateway.events().is_empty());
    assert_eq!(app.count(), 0);
    let fine = exchange(
        &mut stream,
        &request("POST", "/stripe", &sign::stripe(&body), &body),
    )
    .unwrap();
    assert_eq!(fine.status, 200);
}
