//! Starting: with nothing, with everything, with mistakes; `init`, `check`, `health`, `providers`.

use crate::harness::gateway::{STRIPE_SECRET, output};
use crate::harness::sign::{self, stripe_event};
use crate::harness::{App, Site};

/// An empty folder.
fn bare() -> Site {
    Site {
        dir: tempfile::tempdir().unwrap(),
    }
}

#[test]
fn init_check_and_serve_lead_a_new_user_to_a_running_source() {
    let app = App::start();
    let site = bare();
    // The default ports may be taken on the machine of the test; and no other test is given a port of
    // this address once the gateway is gone.
    std::fs::write(
        site.path("callseal.toml"),
        "[listen]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.42.1:0\"\n[inbox]\nlow_water = \"0\"\nballast = \"0\"\n",
    )
    .unwrap();
    let (code, _, _) = output(site.command(&["init", "stripe", "--forward", &app.url("/hooks")]));
    assert_eq!(code, 0);
    let text = std::fs::read_to_string(site.rules().join("stripe.toml")).unwrap();
    assert_eq!(text.lines().count(), 4, "{text}");
    let (code, _, error) =
        output(site.command(&["init", "stripe", "--forward", &app.url("/hooks")]));
    assert_eq!(code, 1, "never over a file that is there: {error}");

    let (code, _, error) = output(site.command(&["check"]));
    assert_eq!(code, 78);
    assert!(error.contains("STRIPE_SECRET"), "{error}");
    let mut check = site.command(&["check"]);
    check.env("STRIPE_SECRET", STRIPE_SECRET);
    let (code, table, error) = output(check);
    assert_eq!(code, 0, "{error}");
    assert!(
        table.contains("/stripe") && !table.contains(STRIPE_SECRET),
        "{table}"
    );

    let mut serve = site.command(&["serve"]);
    serve.env("STRIPE_SECRET", STRIPE_SECRET);
    let gateway = site.start_with(serve);
    let body = stripe_event("evt_first");
    assert_eq!(
        gateway
            .client()
            .post("/stripe", &sign::stripe(&body), &body)
            .status,
        200
    );
    assert_eq!(app.wait_for(1)[0].body, body);
    let health = output(site.command(&["health", "--admin", &gateway.admin.to_string()]));
    assert_eq!((health.0, health.1.trim()), (0, "ok"));
    for said in [
        "public",
        "admin",
        "admin token",
        "certificate",
        "store",
        "sources",
        "made for development",
    ] {
        gateway.says(said);
    }
    let admin = gateway.admin.to_string();
    drop(gateway);
    assert_eq!(output(site.command(&["health", "--admin", &admin])).0, 1);
}

#[test]
fn schemas_are_given_out_and_named_in_new_sources() {
    let site = bare();
    for kind in ["provider", "source", "settings"] {
        let (code, text, error) = output(site.command(&["schema", kind]));
        let kept = format!("{}/docs/schema/{kind}.json", env!("CARGO_MANIFEST_DIR"));
        assert_eq!((code, error.as_str()), (0, ""));
        assert_eq!(text, std::fs::read_to_string(kept).unwrap());
    }
    let init = ["init", "stripe", "--forward", "http://127.0.0.1:9/hooks"];
    let (code, _, error) = output(site.command(&init));
    assert_eq!(code, 0, "{error}");
    assert!(error.contains("schema source --write"), "{error}");
    let file = site.rules().join("stripe.toml");
    std::fs::remove_file(&file).unwrap();
    let schema = site.rules().join(".source.schema.json");
    let schema = schema.to_str().unwrap();
    let (code, _, error) = output(site.command(&["schema", "source", "--write", schema]));
    assert_eq!(code, 0, "{error}");
    assert_eq!(output(site.command(&init)).0, 0);
    let text = std::fs::read_to_string(file).unwrap();
    assert_eq!(text.lines().next(), Some("#:schema ./.source.schema.json"));
    let mut check = site.command(&["check"]);
    check.env("STRIPE_SECRET", STRIPE_SECRET);
    assert_eq!(output(check).0, 0);
}

#[test]
fn with_no_file_at_all_it_starts() {
    let site = bare();
    // Only the ports are given, by a file elsewhere: neither rules nor data are there.
    let elsewhere = bare();
    std::fs::write(
        elsewhere.path("ports.toml"),
        format!(
            "[listen]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n[inbox]\nstore = \"{0}/data\"\nlow_water = \"0\"\n",
            site.dir.path().display()
        ),
    )
    .unwrap();
    let gateway = site.start_with(site.command(&[
        "serve",
        "--config",
        elsewhere.path("ports.toml").to_str().unwrap(),
    ]));
    gateway.says("callseal init");
    assert_eq!(gateway.client().post("/anything", &[], b"").status, 404);
    assert_eq!(gateway.ask("GET", "/readyz").status, 200);
    for (file, mode) in [
        ("admin-token", 0o600),
        ("tls/dev-server.key", 0o600),
        ("", 0o700),
    ] {
        let meta = std::fs::metadata(site.data().join(file)).unwrap();
        let found = std::os::unix::fs::PermissionsExt::mode(&meta.permissions()) & 0o777;
        assert_eq!(found, mode, "{file}: {found:o}");
    }
}

#[test]
fn every_mistake_of_every_file_is_shown_with_its_place() {
    let site = Site::new();
    let rule = "provider = \"stripee\"\npath = \"stripe\"\nkeys = [\"whsec_canary_secret_value\"]\nforwrad = \"http://x/\"\n[inbox]\nkeep = \"soon\"\n";
    std::fs::write(site.rules().join("bad.toml"), rule).unwrap();
    std::fs::write(site.rules().join("worse.toml"), "provider = \n").unwrap();
    let (code, _, error) = output(site.command(&["check"]));
    assert_eq!(code, 78);
    let said = [
        "bad.toml:1",
        "stripee",
        "did you mean",
        "bad.toml:2",
        "bad.toml:3",
        "env:NAME",
        "forwrad",
        "keep",
        "worse.toml:1",
    ];
    for said in said {
        assert!(error.contains(said), "{said} is not in:\n{error}");
    }
    assert!(!error.contains("canary"), "{error}");
    // `serve` says the same and does not start.
    let log = site.try_start(site.command(&["serve"])).err().unwrap();
    assert!(
        log.contains("stripee") && log.contains("worse.toml"),
        "{log}"
    );
    assert!(!log.contains("canary"));
}

#[test]
fn a_second_process_on_the_same_store_is_told_so() {
    let site = Site::new();
    site.stripe("http://127.0.0.1:9/", "");
    let _first = site.start();
    let log = site.try_start(site.command(&["serve"])).err().unwrap();
    assert!(log.contains("in use by process"), "{log}");
}

/// The port is shared among our own threads, and with no one else.
#[test]
fn a_second_gateway_on_the_same_port_is_told_so() {
    let first = Site::new();
    let running = first.start();
    let second = Site::with_settings(&format!(
        "[listen]\naddress = \"{}\"\nthreads = 2\n",
        running.public
    ));
    let log = second.try_start(second.command(&["serve"])).err().unwrap();
    assert!(
        log.contains(&format!("public port {}", running.public)),
        "{log}"
    );
}

#[test]
fn the_catalogue_is_listed_and_each_provider_is_described() {
    let site = bare();
    let (code, table, _) = output(site.command(&["providers"]));
    assert_eq!(code, 0);
    for name in [
        "stripe",
        "github",
        "standard-webhooks",
        "slack",
        "shopify",
        "wechatpay-v3",
        "alipay",
        "generic-hmac",
    ] {
        assert!(table.contains(name), "{name} is not in:\n{table}");
        let (code, words, _) = output(site.command(&["providers", name]));
        assert_eq!(code, 0);
        assert!(words.contains("callseal init"), "{words}");
    }
    let (code, _, error) = output(site.command(&["providers", "strip"]));
    assert_eq!(code, 1);
    assert!(error.contains("stripe"), "{error}");
}

#[test]
fn the_demo_plays_to_its_end() {
    let site = bare();
    let (code, shown, error) = output(site.command(&["demo", "--once"]));
    assert_eq!(code, 0, "{shown}\n{error}");
    assert!(shown.contains("all as it should be"), "{shown}");
    assert!(
        std::fs::read_dir(site.dir.path()).unwrap().next().is_none(),
        "the demo left something behind"
    );
}

/// What `serve` would stumble over, `check` says: a token that is not there, a directory of rules
/// that someone named and that does not exist.
#[test]
fn check_looks_at_all_that_serve_needs() {
    let site = Site::new();
    site.stripe("http://127.0.0.1:9/", "");
    let (code, _, error) = output(site.command(&["check", "--rules", "ruels"]));
    assert_eq!(code, 78, "{error}");
    assert!(error.contains("ruels"), "{error}");
    let text = "[admin]\naddress = \"127.0.0.1:0\"\noperator = [\"env:CALLSEAL_TEST_NOT_SET\"]\n";
    std::fs::write(site.path("callseal.toml"), text).unwrap();
    let (code, _, error) = output(site.command(&["check"]));
    assert_eq!(code, 78, "{error}");
    assert!(error.contains("CALLSEAL_TEST_NOT_SET"), "{error}");
}

/// A volume is often mounted with rights for everyone. What we put there is the owner's alone.
#[test]
fn what_is_written_is_the_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let site = Site::new();
    site.stripe("http://127.0.0.1:9/", "");
    std::fs::create_dir(site.data()).unwrap();
    std::fs::set_permissions(site.data(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let gateway = site.start();
    let body = stripe_event("evt_modes");
    let signed = sign::stripe(&body);
    assert_eq!(gateway.client().post("/stripe", &signed, &body).status, 200);
    assert_eq!(gateway.terminate().code(), Some(0));
    let mut folders = vec![site.data()];
    let mut looked = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let (path, meta) = entry.map(|e| (e.path(), e.metadata().unwrap())).unwrap();
            assert_eq!(meta.permissions().mode() & 0o077, 0, "{}", path.display());
            looked += 1;
            if meta.is_dir() {
                folders.push(path);
            }
        }
    }
    assert!(looked > 8);
}

/// Else a gateway that was started so before would begin anew, and forget what it owes.
#[test]
fn a_store_in_the_working_directory_is_not_left_behind_in_silence() {
    let (site, elsewhere) = (bare(), bare());
    std::fs::create_dir_all(site.path("data/journal")).unwrap();
    std::fs::create_dir_all(site.path("rules")).unwrap();
    std::fs::write(site.path("rules/shop.toml"), "").unwrap();
    let file = elsewhere.path("callseal.toml");
    let check = || {
        let check = ["check", "--offline", "--config", file.to_str().unwrap()];
        output(site.command(&check))
    };
    std::fs::write(&file, "").unwrap();
    let (code, _, error) = check();
    assert_eq!(code, 78, "{error}");
    assert!(
        error.contains("[inbox] store = \"") && error.contains("/data\""),
        "{error}"
    );
    assert!(error.contains("`rules = \""), "{error}");
    // One that is there already is meant, and one that is named is.
    std::fs::create_dir_all(elsewhere.path("data/journal")).unwrap();
    std::fs::write(&file, "rules = \"rules\"\n").unwrap();
    std::fs::create_dir(elsewhere.path("rules")).unwrap();
    let (code, _, error) = check();
    assert_eq!(code, 0, "{error}");
}
