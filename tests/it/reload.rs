//! Rules, keys and certificate are exchanged while callbacks arrive: all or nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::process::Signal;

use crate::harness::gateway::Gateway;
use crate::harness::sign::{self, stripe_event};
use crate::harness::{App, Site, eventually, now};

fn reload(gateway: &Gateway, result: &str) {
    let name = format!("callseal_reloads_total{{result=\"{result}\"}}");
    let before = gateway.metric(&name);
    gateway.signal(Signal::HUP);
    eventually("a reload", || {
        (gateway.metric(&name) > before).then_some(())
    });
}

#[test]
fn reloads_under_load_fail_no_request() {
    let app = App::start();
    let site = Site::new();
    site.stripe(&app.url("/"), "");
    let gateway = site.start();
    let client = gateway.client();
    let stop = Arc::new(AtomicBool::new(false));
    let sent = Arc::new(AtomicU64::new(0));
    let senders: Vec<_> = (0..4)
        .map(|sender| {
            let (client, stop, sent) = (client.clone(), stop.clone(), sent.clone());
            std::thread::spawn(move || {
                let mut n = 0;
                while !stop.load(Ordering::SeqCst) {
                    let body = stripe_event(&format!("evt_{sender}_{n}"));
                    // A connection of its own each time: the handshake meets the exchange too.
                    let answer = client.post("/stripe", &sign::stripe(&body), &body);
                    assert_eq!(answer.status, 200);
                    sent.fetch_add(1, Ordering::SeqCst);
                    n += 1;
                }
            })
        })
        .collect();
    let mut round = 0;
    // Where the senders hardly come to it, more rounds.
    let ended = |sender: &std::thread::JoinHandle<()>| sender.is_finished();
    while round < 10 || sent.load(Ordering::SeqCst) <= 10 && !senders.iter().any(ended) {
        let more = format!("[relay]\nconcurrency = {}\n", round + 1);
        site.stripe(&app.url("/"), &more);
        reload(&gateway, "done");
        round += 1;
    }
    stop.store(true, Ordering::SeqCst);
    for sender in senders {
        sender.join().unwrap();
    }
    let sent = usize::try_from(sent.load(Ordering::SeqCst)).unwrap();
    app.wait_for(sent);
    assert_eq!(gateway.events().len(), sent);
}

#[test]
fn a_broken_rule_keeps_the_old_rules_and_says_everything() {
    let app = App::start();
    let site = Site::new();
    site.stripe(&app.url("/"), "");
    let gateway = site.start();
    std::fs::write(
        site.rules().join("new.toml"),
        "provider = \"strip\"\npath = \"/stripe\"\nfoward = \"x\"\n",
    )
    .unwrap();
    reload(&gateway, "failed");
    let log = gateway.says("stay in force");
    for said in ["strip", "foward", "missing", "stay in force"] {
        assert!(log.contains(said), "{said} is not in:\n{log}");
    }
    let body = stripe_event("evt_old_rules");
    assert_eq!(
        gateway
            .client()
            .post("/stripe", &sign::stripe(&body), &body)
            .status,
        200
    );
    // And a change of the file alone, without a signal, is noticed.
    std::fs::write(
        site.rules().join("keys/second"),
        "whsec_a_second_secret_0002",
    )
    .unwrap();
    std::fs::remove_file(site.rules().join("new.toml")).unwrap();
    site.source("second", "stripe", "second", &app.url("/"), "");
    let second = sign::stripe_with("whsec_a_second_secret_0002", now(), &body);
    eventually("the new source", || {
        (gateway.client().post("/second", &second, &body).status == 200).then_some(())
    });
}

#[test]
fn a_key_is_rotated_without_a_refused_callback() {
    let app = App::start();
    let site = Site::new();
    site.stripe(&app.url("/"), "");
    let gateway = site.start();
    let client = gateway.client();
    let post = |secret: &str, id: &str| {
        let body = stripe_event(id);
        client
            .post("/stripe", &sign::stripe_with(secret, now(), &body), &body)
            .status
    };
    let (old, new) = (
        crate::harness::gateway::STRIPE_SECRET,
        "whsec_the_next_secret_0002",
    );
    assert_eq!((post(old, "a"), post(new, "b")), (200, 401));
    std::fs::write(site.rules().join("keys/next"), new).unwrap();
    let both = format!(
        "provider = \"stripe\"\npath = \"/stripe\"\nkeys = [\"file:keys/stripe\", \"file:keys/next\"]\nforward = \"{}\"\n",
        app.url("/")
    );
    std::fs::write(site.rules().join("stripe.toml"), both).unwrap();
    reload(&gateway, "done");
    assert_eq!((post(old, "c"), post(new, "d")), (200, 200));
    site.source("stripe", "stripe", "next", &app.url("/"), "");
    reload(&gateway, "done");
    assert_eq!((post(old, "e"), post(new, "f")), (401, 200));
    let labels: Vec<String> = app
        .wait_for(4)
        .iter()
        .map(|d| d.header("callseal-verified").to_owned())
        .collect();
    assert!(
        labels.contains(&"hmac-sha256 keys[1]".to_owned()),
        "{labels:?}"
    );
}

/// Threat 37: a new certificate is taken, a broken one is not.
#[test]
fn certificates_are_exchanged_and_broken_ones_are_not_taken() {
    let certificates = tempfile::tempdir().unwrap();
    let write = |cert: &str, key: &str| {
        std::fs::write(certificates.path().join("c.pem"), cert).unwrap();
        std::fs::write(certificates.path().join("k.pem"), key).unwrap();
    };
    let make = || {
        let key = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        (key.cert.pem(), key.signing_key.serialize_pem())
    };
    let (first, second) = (make(), make());
    write(&first.0, &first.1);
    let tls = format!(
        "tls = {{ cert = \"{0}/c.pem\", key = \"{0}/k.pem\" }}",
        certificates.path().display()
    );
    let site = Site::with_settings(&format!(
        "[listen]\naddress = \"127.0.0.1:0\"\nthreads = 2\n{tls}\n"
    ));
    let gateway = site.start();
    let trusts = |pem: &str| {
        let file = certificates.path().join("trusted.pem");
        std::fs::write(&file, pem).unwrap();
        crate::harness::Client::new(&file, gateway.public)
            .try_connect(None, &[])
            .is_ok()
    };
    assert!(trusts(&first.0) && !trusts(&second.0));
    write(&second.0, &first.1);
    reload(&gateway, "failed");
    assert!(trusts(&first.0));
    write(&second.0[..200], &second.1);
    reload(&gateway, "failed");
    assert!(trusts(&first.0));
    write(&second.0, &second.1);
    reload(&gateway, "done");
    assert!(trusts(&second.0) && !trusts(&first.0));
}

/// A volume that is gone looks like a directory without rules: callbacks must not hear 404 for it.
#[test]
fn rules_that_vanish_keep_the_old_ones() {
    let app = App::start();
    let site = Site::new();
    site.stripe(&app.url("/"), "");
    let gateway = site.start();
    let away = site.path("away");
    std::fs::rename(site.rules(), &away).unwrap();
    reload(&gateway, "failed");
    std::fs::create_dir(site.rules()).unwrap();
    reload(&gateway, "failed");
    gateway.says("no source any more");
    let body = stripe_event("evt_no_rules");
    let answer = gateway
        .client()
        .post("/stripe", &sign::stripe(&body), &body);
    assert_eq!(answer.status, 200);
}

/// The rule came first and its key later: the key's arrival is noticed, though no rule in force
/// names it.
#[test]
fn a_key_that_comes_after_its_rule_is_noticed() {
    let app = App::start();
    let site = Site::new();
    site.stripe(&app.url("/"), "");
    let gateway = site.start();
    site.source("second", "stripe", "second", &app.url("/"), "");
    reload(&gateway, "failed");
    // The watch has looked at the rule by now, too: only the key can make it look again.
    std::thread::sleep(std::time::Duration::from_millis(2500));
    let secret = "whsec_a_second_secret_0002";
    std::fs::write(site.rules().join("keys/second"), secret).unwrap();
    let body = stripe_event("evt_late_key");
    eventually("the new source", || {
        let signed = sign::stripe_with(secret, now(), &body);
        (gateway.client().post("/second", &signed, &body).status == 200).then_some(())
    });
}

/// What is owed to a source whose rule is gone is kept, and said.
#[test]
fn deliveries_owed_to_a_source_without_a_rule_are_told_of() {
    let site = Site::new();
    site.stripe("http://127.0.0.1:9/", "");
    let gateway = site.start();
    let body = stripe_event("evt_stray");
    let answer = gateway
        .client()
        .post("/stripe", &sign::stripe(&body), &body);
    assert_eq!(answer.status, 200);
    assert_eq!(gateway.terminate().code(), Some(0));
    let app = App::start();
    std::fs::remove_file(site.rules().join("stripe.toml")).unwrap();
    site.source("renamed", "stripe", "stripe", &app.url("/"), "");
    let gateway = site.start();
    eventually("the warning", || {
        gateway
            .log()
            .lines()
            .any(|l| l.contains("without a rule") && l.contains("stripe"))
            .then_some(())
    });
    assert_eq!(gateway.events()[0]["state"], "owed");
}

/// An unmounted volume, a copy that is not finished: not the wish to have no sources.
#[test]
fn rules_that_are_gone_are_not_taken_for_none() {
    let app = App::start();
    let site = Site::new();
    site.stripe(&app.url("/"), "");
    let gateway = site.start();
    let (rules, away) = (site.path("rules"), site.path("away"));
    std::fs::rename(&rules, &away).unwrap();
    reload(&gateway, "failed");
    let body = stripe_event("evt_1");
    let client = gateway.client();
    assert_eq!(
        client.post("/stripe", &sign::stripe(&body), &body).status,
        200
    );
    std::fs::rename(&away, &rules).unwrap();
    reload(&gateway, "done");
}
