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
