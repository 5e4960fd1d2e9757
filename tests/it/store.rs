//! `callseal store`: the real binary on the store of a gateway that does not run.

use std::path::Path;

use serde_json::Value;

use crate::harness::gateway::{Gateway, output};
use crate::harness::sign::{self, stripe_event};
use crate::harness::{App, Site, eventually};

fn post(gateway: &Gateway, id: &str) -> u16 {
    let body = stripe_event(id);
    gateway
        .client()
        .post("/stripe", &sign::stripe(&body), &body)
        .status
}

fn store(site: &Site, arguments: &[&str]) -> (i32, String, String) {
    let mut all = vec!["store"];
    all.extend_from_slice(arguments);
    output(site.command(&all))
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// A gateway that has delivered three events and owes a fourth, and has stopped.
fn stopped() -> (Site, App, Vec<Value>) {
    let app = App::replying(|d| {
        let owed = d.body.windows(8).any(|w| w == b"evt_owed");
        crate::harness::app::status(if owed { 503 } else { 200 })
    });
    let site = Site::new();
    site.stripe(&app.url("/"), "");
    let gateway = site.start();
    for id in ["evt_a", "evt_b", "evt_c", "evt_owed"] {
        assert_eq!(post(&gateway, id), 200);
    }
    let events = eventually("three delivered, and an attempt on the fourth", || {
        let events = gateway.events();
        let done = |e: &Value| e["state"] == "delivered" || e["attempts"] == 1;
        events.iter().all(done).then_some(events)
    });
    let (code, _, said) = store(&site, &["verify"]);
    assert_eq!(code, 75, "{said}");
    assert!(said.contains("in use by process"), "{said}");
    assert_eq!(gateway.terminate().code(), Some(0));
    (site, app, events)
}

#[test]
fn a_store_is_verified_counted_and_mended() {
    let (site, _app, events) = stopped();
    let (code, said, errors) = store(&site, &["verify", "--json"]);
    assert_eq!(code, 0, "{said} {errors}");
    let said = json(&said);
    assert_eq!(
        (&said["events"], &said["damage"]),
        (&Value::from(4), &Value::from(vec![0; 0]))
    );
    let (code, said, errors) = store(&site, &["stats", "--json"]);
    assert_eq!(code, 0, "{errors}");
    let counts = &json(&said)["sources"]["stripe"]["destinations"]["main"];
    assert_eq!(
        (counts["owed"].as_u64(), counts["delivered"].as_u64()),
        (Some(1), Some(3))
    );
    let (code, said, _) = store(&site, &["stats"]);
    assert!(
        code == 0 && said.contains("stripe") && said.contains("4 idempotency keys"),
        "{said}"
    );

    // A bit in the body of one of them.
    let segment = site.data().join("journal/0000000001.seg");
    let mut bytes = std::fs::read(&segment).unwrap();
    let at = bytes.windows(5).position(|w| w == b"evt_b").unwrap();
    let at = at
        + bytes[at..]
            .windows(9)
            .position(|w| w == b"\"id\":\"evt")
            .unwrap();
    bytes[at] ^= 4;
    std::fs::write(&segment, bytes).unwrap();
    let (code, said, _) = store(&site, &["verify"]);
    assert_eq!(code, 65, "{said}");
    let id = events.iter().find(|e| e["key"] == "evt_b").unwrap()["id"]
        .as_str()
        .unwrap();
    assert!(
        said.contains(&format!("event {id} of stripe (evt_b)")),
        "{said}"
    );
    let (code, said, errors) = store(&site, &["repair", "--json"]);
    assert_eq!(code, 0, "{said} {errors}");
    let aside = json(&said)["set_aside"][0].as_str().unwrap().to_owned();
    assert!(Path::new(&site.path(&aside)).exists(), "{aside}");
    assert_eq!(store(&site, &["verify"]).0, 0);
    // The others are there; what was lost can come again.
    let gateway = site.start();
    assert_eq!(gateway.events().len(), 3);
    assert_eq!(post(&gateway, "evt_b"), 200);
    assert_eq!(gateway.events().len(), 4);
}

#[test]
fn an_export_is_taken_in_elsewhere() {
    let (site, app, events) = stopped();
    let delivered = app.count();
    let (code, _, said) = store(&site, &["export", "all.jsonl"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("4 events exported"), "{said}");
    // It is not written over.
    assert_eq!(store(&site, &["export", "all.jsonl"]).0, 74);
    let (code, lines, _) = store(&site, &["export", "-"]);
    assert_eq!((code, lines.lines().count()), (0, 6));
    let file = site.path("all.jsonl");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), lines);
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let other = Site::new();
    other.stripe(&app.url("/"), "");
    let from = file.to_str().unwrap();
    // A damaged line refuses all of it, and is named.
    let damaged = other.path("damaged.jsonl");
    std::fs::write(&damaged, lines.replace("evt_b", "evt_x")).unwrap();
    let (code, _, said) = store(&other, &["import", "damaged.jsonl"]);
    assert_eq!(code, 65, "{said}");
    assert!(said.contains("line 3: its checksum does not fit"), "{said}");
    assert!(!other.data().join("journal").exists());
    let (code, said, _) = store(
        &other,
        &["import", "damaged.jsonl", "--skip-damaged", "--json"],
    );
    assert_eq!((code, json(&said)["new"].as_u64()), (65, Some(3)));
    // The rest of it, from the whole file.
    let (code, said, errors) = store(&other, &["import", from, "--json", "--ids", "ids"]);
    assert_eq!(code, 0, "{errors}");
    assert_eq!(
        (json(&said)["new"].as_u64(), json(&said)["there"].as_u64()),
        (Some(1), Some(3))
    );
    let ids = std::fs::read_to_string(other.path("ids")).unwrap();
    assert_eq!(ids.lines().count(), 4);
    for event in &events {
        assert!(ids.contains(event["id"].as_str().unwrap()));
    }
    // What comes again is known there, and what is owed is delivered from there.
    let gateway = other.start();
    for id in ["evt_a", "evt_b", "evt_c", "evt_owed"] {
        assert_eq!(post(&gateway, id), 200);
    }
    let there = gateway.events();
    assert_eq!(there.len(), 4);
    let state = |key: &str| there.iter().find(|e| e["key"] == key).unwrap()["state"].clone();
    assert_eq!(
        (state("evt_a"), state("evt_owed")),
        ("delivered".into(), "owed".into())
    );
    assert!(app.count() >= delivered);
}

#[test]
fn where_there_is_no_store_nothing_is_made() {
    let site = Site::new();
    site.stripe("http://127.0.0.1:9/", "");
    for command in [&["verify"][..], &["repair"], &["stats"], &["export", "x"]] {
        let (code, _, said) = store(&site, command);
        assert!(
            code != 0 && said.contains("there is no store in"),
            "{command:?}: {code} {said}"
        );
    }
    assert!(!site.data().join("journal").exists() && !site.path("x").exists());
}
