//! What the charts show outlives a restart, and nothing that stands in the file's place does harm.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::harness::gateway::{STRIPE_SECRET, output};
use crate::harness::sign::{self, stripe_event};
use crate::harness::{App, Gateway, Site, eventually};

/// What a window has of the source in all: accepted, rejected, delivered.
fn charted(gateway: &Gateway, window: &str) -> [u64; 3] {
    let stats = gateway.get(&format!("/v1/stats?window={window}&source=stripe"));
    ["accepted", "rejected", "delivered"].map(|name| {
        let steps = stats["series"][name].as_array().unwrap();
        steps.iter().filter_map(Value::as_u64).sum()
    })
}

#[test]
fn charts_and_the_health_of_a_source_outlive_a_restart() {
    let app = App::start();
    let site = Site::new();
    site.stripe(&app.url("/hook"), "");
    let gateway = site.start();
    let body = stripe_event("evt_canary");
    let signed = sign::stripe(&body);
    assert_eq!(gateway.client().post("/stripe", &signed, &body).status, 200);
    let forged = sign::stripe_with("whsec_wrong", crate::harness::now(), &body);
    assert_eq!(gateway.client().post("/stripe", &forged, &body).status, 401);
    eventually("everything counted", || {
        (charted(&gateway, "1h") == [1, 1, 1]).then_some(())
    });
    let before = gateway.get("/v1/sources/stripe");
    assert_eq!(gateway.terminate().code(), Some(0));

    let file = site.data().join("figures");
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    let kept = std::fs::read(&file).unwrap();
    for secret in ["evt_canary", STRIPE_SECRET, app.url("/hook").as_str()] {
        let found = kept.windows(secret.len()).any(|w| w == secret.as_bytes());
        assert!(!found, "{secret}");
    }
    // Those who look at the store leave it alone.
    let (code, said, errors) = output(site.command(&["store", "verify"]));
    assert_eq!(code, 0, "{said} {errors}");
    assert_eq!(std::fs::read(&file).unwrap(), kept);

    let gateway = site.start();
    for window in ["1h", "24h", "7d"] {
        assert_eq!(charted(&gateway, window), [1, 1, 1], "{window}");
    }
    let after = gateway.get("/v1/sources/stripe");
    for name in [
        "health",
        "accepted_1h",
        "rejected_1h",
        "last_accepted_at",
        "last_rejected_at",
    ] {
        assert!(!after[name].is_null(), "{name}: {after}");
        assert_eq!(after[name], before[name], "{name}");
    }
    // Counters of Prometheus begin at zero.
    assert_eq!(gateway.verdicts("stripe", "accepted"), 0);
    assert!(!gateway.log().contains("figures"), "{}", gateway.log());
    assert_eq!(gateway.terminate().code(), Some(0));

    std::fs::write(&file, "no figures at all").unwrap();
    let gateway = site.start();
    let log = gateway.log();
    assert!(
        log.contains("the figures of an earlier process are left aside"),
        "{log}"
    );
    assert_eq!(charted(&gateway, "7d"), [0, 0, 0]);
    // The store still knows when something last came.
    eventually("what the store remembers", || {
        let source = gateway.get("/v1/sources/stripe");
        (source["last_accepted_at"].is_string() && source["last_rejected_at"] == json!(null))
            .then_some(())
    });
    let signed = sign::stripe(&stripe_event("evt_2"));
    let second = gateway
        .client()
        .post("/stripe", &signed, &stripe_event("evt_2"));
    assert_eq!(second.status, 200);
    eventually("the second delivered", || {
        (charted(&gateway, "1h")[2] == 1).then_some(())
    });
    assert_eq!(gateway.terminate().code(), Some(0));
    // It was replaced by one of ours.
    let gateway = site.start();
    assert_eq!(charted(&gateway, "24h"), [1, 0, 1]);
}
