//! `callseal doctor`: what it finds, and what it then says.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use serde_json::Value;

use crate::harness::gateway::output;
use crate::harness::{App, Site};
use crate::operate::said;

#[test]
fn the_doctor_finds_what_is_wrong() {
    let app = App::start();
    let site = Site::new();
    // Nobody listens on port 9 of this machine.
    site.stripe("http://127.0.0.1:9/", "");
    site.source("good", "stripe", "github", &app.url("/"), "");
    for (name, mode) in [("stripe", 0o644), ("github", 0o600)] {
        let key = site.rules().join("keys").join(name);
        std::fs::set_permissions(key, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let gateway = site.start();
    let diagnose = || {
        let output = said(&site, &gateway, &["doctor", "--json"]);
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        let findings: Vec<(String, String, String)> = answer["findings"]
            .as_array()
            .unwrap()
            .iter()
            .map(|finding| {
                let part = |name: &str| finding[name].as_str().unwrap().to_owned();
                (part("severity"), part("code"), part("subject"))
            })
            .collect();
        (output.status.code(), findings)
    };
    let (code, findings) = diagnose();
    assert_eq!(code, Some(1), "{findings:?}");
    let has = |findings: &[(String, String, String)], severity: &str, code: &str, subject: &str| {
        findings
            .iter()
            .any(|f| f.0 == severity && f.1 == code && f.2.contains(subject))
    };
    assert!(
        has(
            &findings,
            "blocker",
            "destination_unreachable",
            "127.0.0.1:9"
        ),
        "{findings:?}"
    );
    assert!(has(&findings, "fine", "destination", ""), "{findings:?}");
    assert!(
        has(&findings, "warning", "file_mode", "stripe keys[0]"),
        "{findings:?}"
    );
    assert!(has(&findings, "fine", "keys", "good"), "{findings:?}");
    assert!(
        has(&findings, "warning", "no_traffic", "good"),
        "{findings:?}"
    );
    // What files and running gateway both say is said once.
    let made = findings.iter().filter(|f| f.1 == "development_certificate");
    assert_eq!(made.count(), 1, "{findings:?}");
    assert!(has(&findings, "fine", "disk_space", ""), "{findings:?}");
    assert!(
        !has(&findings, "warning", "rules_differ", ""),
        "{findings:?}"
    );
    // What ends soon, and what the running gateway does not know yet because it is wrong.
    let soon = "provider = \"stripe\"\npath = \"/good\"\nforward = \"http://127.0.0.1:9/\"\nkeys = [{ from = \"file:keys/github\", not_after = 2020-01-01 }]\n";
    std::fs::write(site.rules().join("good.toml"), soon).unwrap();
    std::fs::write(site.rules().join("bad.toml"), "provider = \"no-such\"\n").unwrap();
    let (code, findings) = diagnose();
    assert_eq!(code, Some(1));
    assert!(
        has(&findings, "blocker", "unknown_provider", "bad.toml:1:"),
        "{findings:?}"
    );
    // A key's file that everybody can read is told of, however little is left of the key's time.
    let mode = |name: &str, mode: u32| {
        let key = site.rules().join("keys").join(name);
        std::fs::set_permissions(key, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode("github", 0o604);
    // So is that of a further secret.
    let more = "[secrets]\napiv3 = \"file:keys/wallet\"\n";
    std::fs::write(
        site.rules().join("keys/wallet"),
        "0123456789abcdef0123456789abcdef",
    )
    .unwrap();
    mode("wallet", 0o604);
    site.source(
        "pay",
        "wechatpay-v3",
        "pay.pem",
        "http://127.0.0.1:9/",
        more,
    );
    let pair = output(site.command(&["sign", "--provider", "wechatpay-v3", "--key", "t"]));
    assert_eq!(pair.0, 0, "{}", pair.2);
    std::fs::copy(site.path("t.pub"), site.rules().join("keys/pay.pem")).unwrap();
    let text = std::fs::read_to_string(site.rules().join("pay.toml")).unwrap();
    let text = text.replace(
        "\"file:keys/pay.pem\"",
        "{ from = \"file:keys/pay.pem\", id = \"K\" }",
    );
    std::fs::write(site.rules().join("pay.toml"), text).unwrap();
    std::fs::remove_file(site.rules().join("bad.toml")).unwrap();
    let (_, findings) = diagnose();
    for subject in ["good keys[0]", "pay"] {
        assert!(
            has(&findings, "warning", "file_mode", subject),
            "{subject}: {findings:?}"
        );
    }
    assert!(
        has(&findings, "blocker", "no_usable_key", "good"),
        "{findings:?}"
    );
    let words = said(&site, &gateway, &["doctor"]);
    let words = String::from_utf8(words.stdout).unwrap();
    assert!(words.starts_with("BLOCKER"), "{words}");
}

#[test]
fn the_doctor_looks_at_modes_certificates_and_retention() {
    let site = Site::new();
    let settings = "[admin]\noperator = [\"file:operator\"]\nviewer = [\"file:viewer\"]\n[listen]\ntls = { cert = \"server.pem\", key = \"server.key\" }\n";
    std::fs::write(site.path("callseal.toml"), settings).unwrap();
    site.stripe("http://127.0.0.1:9/", "[inbox]\nkeep = \"1h\"\n");
    let mode = |name: &str, mode: u32| {
        let path = site.path(name);
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    for (name, bits) in [("operator", 0o604), ("viewer", 0o600)] {
        std::fs::write(site.path(name), "a-token-of-its-own-0001").unwrap();
        mode(name, bits);
    }
    mode("callseal.toml", 0o646);
    mode("rules/stripe.toml", 0o602);
    let pair = rcgen::KeyPair::generate().unwrap();
    let certificate = |hours: i64| {
        let mut wanted = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let now = std::time::SystemTime::now();
        let end = now + Duration::from_secs(hours as u64 * 3600);
        wanted.not_before = (now - Duration::from_secs(3600)).into();
        wanted.not_after = end.into();
        let made = wanted.self_signed(&pair).unwrap();
        std::fs::write(site.path("server.pem"), made.pem()).unwrap();
    };
    std::fs::write(site.path("server.key"), pair.serialize_pem()).unwrap();
    mode("server.key", 0o600);
    let diagnose = || {
        let command = site.command(&["doctor", "--offline", "--json"]);
        let (code, out, error) = output(command);
        let answer: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{error}"));
        let each = answer["findings"].as_array().unwrap().iter();
        let part = |finding: &Value, name: &str| finding[name].as_str().unwrap().to_owned();
        let told = each.map(|f| {
            let mend = f["mend"].as_str().unwrap_or_default();
            let of = part(f, "subject") + &part(f, "detail") + mend;
            (format!("{} {}", part(f, "severity"), part(f, "code")), of)
        });
        (code, told.collect::<Vec<_>>())
    };
    let has = |found: &[(String, String)], what: &str, about: &str| {
        let hit = found.iter().any(|f| f.0 == what && f.1.contains(about));
        assert!(hit, "{what} {about}: {found:#?}");
    };
    certificate(24 * 200);
    let (code, found) = diagnose();
    assert_eq!(code, 1);
    has(&found, "blocker short_memory", "the provider retries for");
    has(&found, "fine certificate", "server.pem");
    for about in ["operator", "callseal.toml", "stripe.toml"] {
        has(&found, "warning file_mode", about);
    }
    // A key that is root's and the gateway's group's stays the group's.
    has(&found, "warning file_mode", "chmod o= ");
    assert!(
        !found
            .iter()
            .any(|f| f.0 == "warning file_mode" && f.1.contains("viewer"))
    );
    site.stripe("http://127.0.0.1:9/", "");
    certificate(24 * 10);
    let (code, found) = diagnose();
    assert_eq!(code, 0, "{found:#?}");
    has(&found, "warning certificate_expiry", "server.pem");
    certificate(40);
    let (code, found) = diagnose();
    assert_eq!(code, 1);
    has(&found, "blocker certificate_expiry", "server.pem");
}

#[test]
fn the_doctor_shakes_hands_with_destinations_that_speak_tls() {
    let app = App::start();
    let other = Site::new();
    other.stripe(&app.url("/"), "");
    // Any port with a certificate that no machine trusts by itself.
    let gateway = other.start();
    let forward = format!("https://localhost:{}/", gateway.public.port());
    let authority = gateway.authority();
    let site = Site::new();
    let diagnose = |more: &str| {
        site.stripe(&forward, more);
        let (_, out, _) = output(site.command(&["doctor", "--json"]));
        let answer: Value = serde_json::from_str(&out).unwrap();
        let mut findings = answer["findings"].as_array().unwrap().clone();
        findings.retain(|f| f["code"].as_str().unwrap().starts_with("destination"));
        assert_eq!(findings.len(), 1, "{findings:?}");
        findings.remove(0)
    };
    let found = diagnose("");
    assert_eq!(found["code"], "destination_unreachable", "{found}");
    assert!(found["mend"].as_str().unwrap().contains("`ca`"), "{found}");
    let own = format!("[relay.tls]\nca = \"file:{}\"\n", authority.display());
    let found = diagnose(&own);
    assert_eq!(found["severity"], "fine", "{found}");
}
