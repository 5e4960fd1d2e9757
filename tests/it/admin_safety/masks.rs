//! What is masked, and for whom.

use std::io::{Read, Write};

use serde_json::{Value, json};

use super::{Fields, OPERATOR, VIEWER, ask, bearer, bytes, plain, sign_in};
use crate::harness::{Gateway, eventually, sign};

const MAIL: &str = "jane.doe@example.org";

fn get(gateway: &Gateway, token: &str, target: &str) -> Value {
    let token = bearer(token);
    let fields = [("Authorization", token.as_str())];
    let answer = ask(gateway, "GET", target, &fields, "");
    assert_eq!(answer.status, 200, "{target}");
    serde_json::from_slice(&answer.body).unwrap()
}

fn post(gateway: &Gateway, target: &str, body: &Value) -> (u16, Value) {
    let token = bearer(OPERATOR);
    let fields = [
        ("Authorization", token.as_str()),
        ("Content-Type", "application/json"),
    ];
    let answer = ask(gateway, "POST", target, &fields, &body.to_string());
    let said = serde_json::from_slice(&answer.body).unwrap_or_default();
    (answer.status, said)
}

/// A shop that makes its order numbers of what it knows of its customers.
fn event() -> Vec<u8> {
    let event = json!({
        "id": "evt_1", "object": "event", "type": "payment\u{202e}.paid",
        "data": { "object": {
            "id": "pi_1", "amount": 1250, "currency": "usd", "metadata": { "order_id": MAIL },
        }},
    });
    event.to_string().into_bytes()
}

#[test]
fn rows_and_deeds_are_masked_and_masks_are_no_oracle() {
    let site = plain();
    let gateway = site.start();
    let body = event();
    let answer = gateway
        .client()
        .post("/stripe", &sign::stripe(&body), &body);
    assert_eq!(answer.status, 200);
    let events = |token: &str, query: &str| {
        let page = get(&gateway, token, &format!("/v1/events?{query}"));
        page["events"].as_array().unwrap().clone()
    };
    let row = &events(VIEWER, "")[0];
    assert_eq!(row["payment"]["order"], "j•••@example.org");
    assert_eq!(row["type"], "payment\u{fffd}.paid");
    // What an operator knows he may look for; a viewer learns nothing by guessing.
    let encoded = MAIL.replace('@', "%40");
    for query in [format!("order={encoded}"), "text=jane.d".to_owned()] {
        assert_eq!(events(OPERATOR, &query).len(), 1, "{query}");
        assert_eq!(events(VIEWER, &query).len(), 0, "{query}");
        let groups = |token| {
            let target = format!("/v1/groups?by=source&state=owed&{query}");
            get(&gateway, token, &target)["groups"]
                .as_array()
                .unwrap()
                .len()
        };
        assert_eq!((groups(OPERATOR), groups(VIEWER)), (1, 0), "{query}");
    }
    for query in ["text=example.org", "text=evt_1", "key=evt_1"] {
        assert_eq!(events(VIEWER, query).len(), 1, "{query}");
    }

    let id = row["id"].as_str().unwrap().to_owned();
    let reason = format!("{MAIL} has paid\u{202e} otherwise");
    let target = format!("/v1/events/{id}/discard");
    assert_eq!(post(&gateway, &target, &json!({ "reason": reason })).0, 200);
    for (by, masked) in [("reason", true), ("source", false)] {
        let target = format!("/v1/groups?by={by}&state=discarded");
        let group = &get(&gateway, OPERATOR, &target)["groups"][0];
        assert_eq!(group["masked"], masked, "{group}");
    }
    let pause = format!("/v1/sources/stripe/pause?reason={encoded}");
    assert_eq!(post(&gateway, &pause, &json!({})).0, 200);
    let long = format!("/v1/sources/stripe/pause?reason={}", "x".repeat(501));
    assert_eq!(post(&gateway, &long, &json!({})).0, 400);
    let many = json!({ "state": "discarded", "text": MAIL, "count": 1 });
    let (status, begun) = post(&gateway, "/v1/redrive", &many);
    assert_eq!((status, &begun["job"]), (202, &json!(1)));
    eventually("the end of the job", || {
        let job = get(&gateway, VIEWER, "/v1/jobs/1");
        (job["outcome"] == "done").then_some(())
    });
    for target in [
        "/v1/events".to_owned(),
        format!("/v1/events/{id}"),
        "/v1/groups?state=owed".to_owned(),
        "/v1/audit".to_owned(),
        "/v1/jobs".to_owned(),
        // It is paused, and says why.
        "/v1/sources".to_owned(),
        "/v1/overview".to_owned(),
        "/v1/doctor".to_owned(),
    ] {
        for token in [VIEWER, OPERATOR] {
            let shown = get(&gateway, token, &target).to_string();
            assert!(!shown.contains("ane.doe"), "{target}: {shown}");
            assert!(!shown.contains('\u{202e}'), "{target}: {shown}");
        }
    }
    let whole = get(&gateway, OPERATOR, &format!("/v1/events/{id}?unmask=true"));
    assert_eq!(whole["payment"]["order"], MAIL);
    let deeds = whole["deeds"].to_string();
    assert!(deeds.contains(MAIL), "{deeds}");
    let audit = get(&gateway, VIEWER, "/v1/audit?limit=1");
    assert_eq!(audit["audit"][0]["what"], "unmask");
}

/// A group whose reason has masks holds several that look alike: as it is shown, it is picked whole.
#[test]
fn a_masked_group_is_listed_and_redriven_as_it_is_shown() {
    let site = plain();
    let gateway = site.start();
    let pause = json!({});
    assert_eq!(post(&gateway, "/v1/sources/stripe/pause", &pause).0, 200);
    let reasons = [
        "jane@example.org has paid",
        "john@example.org has paid",
        "mary@example.org has paid",
    ];
    for (n, reason) in reasons.iter().enumerate() {
        let body = String::from_utf8(event()).unwrap();
        let body = body.replace("evt_1", &format!("evt_{n}"));
        let signature = sign::stripe(body.as_bytes());
        let client = gateway.client();
        let answer = client.post("/stripe", &signature, body.as_bytes());
        assert_eq!(answer.status, 200);
        let owed = get(&gateway, OPERATOR, "/v1/events?state=owed");
        let id = owed["events"][0]["id"].as_str().unwrap().to_owned();
        let target = format!("/v1/events/{id}/discard");
        assert_eq!(post(&gateway, &target, &json!({ "reason": reason })).0, 200);
    }
    let groups = get(&gateway, OPERATOR, "/v1/groups?by=reason&state=discarded");
    let group = &groups["groups"][0];
    assert_eq!(
        (&group["masked"], &group["count"]),
        (&json!(true), &json!(2))
    );
    let shown = group["reason"].as_str().unwrap();
    let encoded: String = shown.bytes().map(|b| format!("%{b:02X}")).collect();
    let list = |token, masked| {
        let target = format!("/v1/events?state=discarded&reason={encoded}&masked={masked}");
        let page = get(&gateway, token, &target);
        page["events"].as_array().unwrap().len()
    };
    assert_eq!((list(OPERATOR, false), list(OPERATOR, true)), (0, 2));
    // A viewer sees nothing else anyway.
    assert_eq!((list(VIEWER, false), list(VIEWER, true)), (2, 2));
    let plan = |more: Value| {
        let mut body = json!({ "state": "discarded", "error": shown, "plan": true });
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        post(&gateway, "/v1/redrive", &body)
    };
    assert_eq!(plan(json!({})).1["count"], 0);
    assert_eq!(plan(json!({ "masked": true })).1["count"], 2);
    let (status, wrong) = plan(json!({ "masked": true, "plan": false, "count": 3 }));
    assert_eq!((status, &wrong["code"]), (409, &json!("count_differs")));
    let facts = json!({ "expected": "3", "fit": "2" });
    assert_eq!((&wrong["text"], &wrong["facts"]), (&wrong["code"], &facts));
    let (status, begun) = plan(json!({ "masked": true, "plan": false, "count": 2 }));
    assert_eq!((status, &begun["job"]), (202, &json!(1)));
    eventually("the end of the job", || {
        let job = get(&gateway, OPERATOR, "/v1/jobs/1");
        (job["outcome"] == "done").then_some(())
    });
    let left = get(&gateway, OPERATOR, "/v1/events?state=discarded");
    assert_eq!(left["events"][0]["reason"], "m•••@example.org has paid");
    assert_eq!(left["events"].as_array().unwrap().len(), 1);
    let job = get(&gateway, VIEWER, "/v1/jobs/1");
    let filter = job["filter"].as_str().unwrap();
    assert!(filter.ends_with(" masked=true"), "{filter}");
}

/// How a page ends tells nothing of what the masks hide, either.
#[test]
fn pages_of_a_viewer_do_not_tell_what_the_store_would_find() {
    let site = plain();
    let gateway = site.start();
    for id in ["evt_1", "evt_2"] {
        let body = String::from_utf8(event()).unwrap().replace("evt_1", id);
        let signature = sign::stripe(body.as_bytes());
        let answer = gateway
            .client()
            .post("/stripe", &signature, body.as_bytes());
        assert_eq!(answer.status, 200);
    }
    let right = MAIL.replace('@', "%40");
    let wrong = right.replace("jane", "joan");
    for name in ["order", "text", "key", "type", "reason"] {
        for target in ["/v1/events?limit=1", "/v1/groups?by=source&state=owed"] {
            let found = |guess: &str| get(&gateway, VIEWER, &format!("{target}&{name}={guess}"));
            assert_eq!(found(&right), found(&wrong), "{target} {name}");
        }
    }
    // What fits by its mask is found, page by page.
    let page = |rest: &str| {
        let target = format!("/v1/events?limit=1&text=example.org{rest}");
        get(&gateway, VIEWER, &target)
    };
    let first = page("");
    assert_eq!(first["events"][0]["key"], "evt_2");
    let next = first["next"].as_str().unwrap();
    let second = page(&format!("&cursor={next}"));
    assert_eq!(second["events"][0]["key"], "evt_1");
    assert_eq!(second["next"], Value::Null);
}

/// A page on another port of the same host makes the browser send the cookie.
#[test]
fn a_cookie_serves_no_page_of_another_origin() {
    let site = plain();
    let gateway = site.start();
    let (cookie, _) = sign_in(&gateway, OPERATOR);
    let cookie = ("Cookie", cookie.as_str());
    let status = |fields: Fields<'_>| {
        let mut all = vec![cookie];
        all.extend(fields);
        ask(&gateway, "GET", "/v1/overview", &all, "").status
    };
    for site in ["cross-site", "same-site"] {
        assert_eq!(status(&[("Sec-Fetch-Site", site)]), 403, "{site}");
    }
    for site in ["same-origin", "none"] {
        assert_eq!(status(&[("Sec-Fetch-Site", site)]), 200, "{site}");
    }
    assert_eq!(status(&[]), 200);
    // Methods that a path does not know are none of anybody's business, and HEAD is GET.
    let viewer = bearer(VIEWER);
    let (viewer, id) = (("Authorization", viewer.as_str()), "evt_1");
    let body = format!("/v1/events/{id}/body");
    let head = |fields: Fields<'_>| {
        let mut stream = std::net::TcpStream::connect(gateway.admin).unwrap();
        let request = bytes("HEAD", &body, fields, "");
        stream.write_all(&request).unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        assert!(said.ends_with("\r\n\r\n"), "{said}");
        said.get(9..12).unwrap().to_owned()
    };
    assert_eq!((head(&[viewer]), head(&[])), ("403".into(), "401".into()));
    let other = ask(&gateway, "OPTIONS", "/v1/redrive", &[viewer], "");
    assert_eq!((other.status, other.header("allow")), (405, Some("POST")));
    for method in ["PUT", "DELETE", "PATCH", "TRACE"] {
        assert_eq!(
            ask(&gateway, method, "/v1/events", &[viewer], "").status,
            405,
            "{method}"
        );
    }
}
