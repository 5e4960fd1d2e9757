//! Queries, and what comes back in place of an answer.

use super::*;

#[test]
fn a_query_is_encoded() {
    let query = Query::new()
        .with("source", "a&b")
        .may("type", None::<&str>)
        .with("n", 3);
    assert_eq!(query.on("/v1/events"), "/v1/events?source=a%26b&n=3");
    assert_eq!(Query::new().on("/v1/events"), "/v1/events");
    assert_eq!(segment("a/../b"), "a%2F%2E%2E%2Fb");
}

#[test]
fn a_problem_is_told_in_the_gateway_s_words() {
    let problem = br#"{"status":404,"code":"no_such_event","detail":"there is none\u001b[2J"}"#;
    let error = answered(StatusCode::NOT_FOUND, None, Bytes::from_static(problem)).unwrap_err();
    assert_eq!(error.to_string(), "there is none\\u{1b}[2J [no_such_event]");
    let error = answered(StatusCode::BAD_GATEWAY, None, Bytes::from_static(b"<html>")).unwrap_err();
    assert!(matches!(error, AskError::Strange { status: 502 }));
}
