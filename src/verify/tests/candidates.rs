//! How many signatures are tried: lint L6 at work.

use super::{code, header, provider, with_header};
use crate::verify::example::{request, verifier};

#[test]
fn more_signatures_than_can_be_tried_are_rejected_even_with_the_right_one_among_them() {
    let provider = provider("standard-webhooks");
    let example = &provider.examples[0];
    let verifier = verifier(&provider, example).unwrap();
    let request = request(example);
    let right = String::from_utf8(header(&request, "webhook-signature").to_vec()).unwrap();
    let wrong = format!("v1,{}", data_encoding::BASE64.encode(&[7; 32]));
    let many = |wrongs: usize| {
        let value = format!("{}{right}", format!("{wrong} ").repeat(wrongs));
        let request = with_header(&request, "webhook-signature", &[value.as_bytes()]);
        code(&verifier, &request, example.now())
    };
    assert_eq!(many(15), "accepted");
    assert_eq!(many(16), "too_many_candidates");
    assert_eq!(many(500), "too_many_candidates");
}

#[test]
fn two_keys_leave_room_for_half_as_many_signatures() {
    let provider = provider("standard-webhooks");
    let mut example = provider.examples[0].clone();
    example
        .keys
        .push((None, "whsec_c3RyYW5nZXIgc3RyYW5nZXIh".to_owned()));
    let verifier = verifier(&provider, &example).unwrap();
    let request = request(&example);
    let right = String::from_utf8(header(&request, "webhook-signature").to_vec()).unwrap();
    let many = |times: usize| {
        let value = vec![right.as_str(); times].join(" ");
        let request = with_header(&request, "webhook-signature", &[value.as_bytes()]);
        code(&verifier, &request, example.now())
    };
    assert_eq!(many(8), "accepted");
    assert_eq!(many(9), "too_many_candidates");
}
