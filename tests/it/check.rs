//! `callseal check` and a start that fails: what they say, and to whom.

use serde_json::Value;

use crate::harness::Site;
use crate::harness::gateway::output;

const NOBODY: &str = "http://127.0.0.1:9/hooks";

fn checked(site: &Site) -> (i32, Value) {
    let (code, said, error) = output(site.command(&["check", "--offline", "--json"]));
    assert_eq!(error, "");
    (code, serde_json::from_str(&said).unwrap())
}

/// The page masks it, and what CI keeps of a check is read by more than operators.
#[test]
fn a_word_in_the_query_of_a_destination_is_not_printed() {
    let site = Site::new();
    let word = "Zx81-only-for-the-application";
    let to = format!("{NOBODY}?token={word}");
    site.stripe(
        &to,
        &format!("[[relay.to]]\nname = \"ledger\"\nforward = \"{to}\"\n"),
    );
    let (code, table, error) = output(site.command(&["check", "--offline"]));
    assert_eq!(code, 0, "{error}");
    assert!(table.contains(&format!("{NOBODY}?token=")), "{table}");
    let (_, said) = checked(&site);
    let gateway = site.start();
    for said in [table, said.to_string(), gateway.log()] {
        assert!(!said.contains(word), "{said}");
    }
}

#[test]
fn every_fault_that_check_finds_has_a_code() {
    let site = Site::new();
    let settings = "\
[listen]\naddress = \"127.0.0.1:0\"\ntls = { cert = \"gone.pem\", key = \"gone.key\" }
[admin]\naddress = \"127.0.0.1:0\"\noperator = [\"env:CALLSEAL_TEST_NOT_SET\"]
tls = { cert = \"gone.pem\", key = \"gone.key\" }
[alerts]\nurl = \"http://127.0.0.1:9/\"\nsign_with = \"file:gone\"\n";
    std::fs::write(site.path("callseal.toml"), settings).unwrap();
    let (code, said) = checked(&site);
    assert_eq!(code, 78);
    let errors = said["errors"].as_array().unwrap().iter();
    let codes: Vec<&str> = errors.map(|e| e["code"].as_str().unwrap()).collect();
    assert_eq!(
        codes,
        ["outlet", "certificate", "admin_tls", "admin_token"],
        "{said}"
    );
}

#[test]
fn all_destinations_of_a_source_stand_in_the_document() {
    let site = Site::new();
    let more = "[[relay.to]]\nname = \"ledger\"\nforward = \"https://ledger.example.com/in\"\n";
    site.stripe(NOBODY, more);
    let (_, said) = checked(&site);
    assert_eq!(
        said["sources"][0]["destinations"],
        serde_json::json!([
            { "name": "main", "forward": NOBODY },
            { "name": "ledger", "forward": "https://ledger.example.com/in" },
        ])
    );
}

/// Two things may be read from one place. Each is shown where its own line names it.
#[test]
fn the_same_place_named_twice_is_shown_at_both() {
    let site = Site::new();
    let shop = "provider = \"stripe\"\npath = \"/shop\"\nkeys = [\"env:CALLSEAL_TEST_NOT_SET\", { from = \"env:CALLSEAL_TEST_NOT_SET\", id = \"b\" }]\nforward = \"http://127.0.0.1:9/\"\n[relay]\nsign_with = \"env:CALLSEAL_TEST_NOT_SET\"\n";
    std::fs::write(site.rules().join("shop.toml"), shop).unwrap();
    let (_, said) = checked(&site);
    let errors = said["errors"].as_array().unwrap().iter();
    let places: Vec<String> = errors
        .map(|e| {
            format!(
                "{}:{}:{}",
                e["code"].as_str().unwrap(),
                e["line"],
                e["column"]
            )
        })
        .collect();
    assert_eq!(
        places,
        [
            "key_unreadable:3:9",
            "key_unreadable:3:47",
            "sign_with:6:13"
        ]
    );
}

#[test]
fn a_warning_beside_an_error_is_none() {
    let site = Site::new();
    site.stripe(NOBODY, "[freshness]\ntolerance = \"2h\"\n");
    let gateway = site.start();
    site.stripe(NOBODY, "colour = 1\n[freshness]\ntolerance = \"2h\"\n");
    let reload = crate::operate::said(&site, &gateway, &["reload"]);
    let told = String::from_utf8(reload.stderr).unwrap();
    assert!(told.contains("colour"), "{told}");
    assert!(!told.contains("a captured request"), "{told}");
    drop(gateway);
    let (code, _, said) = output(site.command(&["serve"]));
    assert_eq!(code, 78, "{said}");
    assert!(said.contains("a captured request"), "{said}");
    assert!(said.contains("\n1 error\n"), "{said}");
}

/// 74 sends an operator to the kernel's log. This is a wrong path.
#[test]
fn a_store_that_cannot_be_made_is_no_disk_that_failed() {
    let site = Site::new();
    site.stripe(NOBODY, "");
    std::fs::create_dir(site.data()).unwrap();
    std::fs::write(site.data().join("journal"), "a file").unwrap();
    for arguments in [&["serve"][..], &["store", "stats"]] {
        let (code, _, error) = output(site.command(arguments));
        assert_eq!(code, 78, "{error}");
        assert!(error.contains("journal"), "{error}");
    }
}

/// A line for curl that cannot work as it stands says why.
#[test]
fn what_a_line_for_curl_lacks_is_said() {
    let line = |listen: &str| {
        let site = Site::with_settings(listen);
        site.stripe(NOBODY, "");
        let (code, line, notes) = output(site.command(&["sign", "stripe", "--curl"]));
        assert_eq!(code, 0, "{notes}");
        (line, notes)
    };
    let (to, notes) = line("[listen]\naddress = \"127.0.0.1:0\"\n");
    assert!(to.contains("'https://localhost:0/stripe'"), "{to}");
    for part in [
        "leaves the port to the system",
        "dev-ca.pem is not there yet",
    ] {
        assert!(notes.contains(part), "{notes}");
    }
    let (to, notes) = line("[listen]\naddress = \"192.0.2.7:8443\"\n");
    assert!(to.contains("'https://192.0.2.7:8443/stripe'"), "{to}");
    assert!(notes.contains("--connect-to ::192.0.2.7:8443"), "{notes}");
    let tls = "[listen]\naddress = \"0.0.0.0:8443\"\ntls = { cert = \"a\", key = \"b\" }\n";
    let (to, notes) = line(tls);
    assert!(to.contains("'https://localhost:8443/stripe'"), "{to}");
    assert!(notes.contains("may not bear the name"), "{notes}");
}
