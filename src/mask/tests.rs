//! Texts as they come, and as they are shown.

use proptest::prelude::*;

use super::*;

fn json(text: &str) -> String {
    super::text(Kind::Json, text.as_bytes())
}

fn form(text: &str) -> String {
    super::text(Kind::Form, text.as_bytes())
}

#[test]
fn cards_keep_their_last_digits_however_they_are_written() {
    for (text, shown) in [
        ("4242424242424242", "••••••••••••4242"),
        ("4242 4242 4242 4242", "•••• •••• •••• 4242"),
        ("3782-822463-10005", "••••-••••••-•0005"),
        (
            "card 6011111111111117, thanks",
            "card ••••••••••••1117, thanks",
        ),
        (r"4\u0032424242424242\u00342", r"••••••••••••42\u00342"),
        ("%34%32%34%32424242424242", "••••••••••••4242"),
        ("%2534%2532424242424242%34%32", "••••••••••••42%34%32"),
        ("&#52;&#x32;42424242424242", "••••••••••••4242"),
        (
            r"4242\u{200b}4242\u{200b}4242 4242",
            r"••••\u{200b}••••\u{200b}•••• 4242",
        ),
        ("４２４２４２４２４２４２４２４２", "••••••••••••４２４２"),
        (
            "2 4242 4242 4242 4242 pieces",
            "2 •••• •••• •••• 4242 pieces",
        ),
        // Not one by its last digit.
        ("4242424242424241", "4242424242424241"),
    ] {
        let text = super::text(Kind::Text, text.as_bytes());
        assert_eq!(text, shown);
    }
}

#[test]
fn mail_phone_and_account_are_found_by_themselves() {
    for (text, shown) in [
        ("from alice@example.com.", "from a•••@example.com."),
        ("a@example.com", "•••@example.com"),
        ("q=alice%2Bx%40mail.example.cn", "q=a•••%40mail.example.cn"),
        ("+86 138 0013 8000", "+•• ••• •••• 8000"),
        ("call 13800138000 now", "call •••••••8000 now"),
        ("call (212) 555-0123 now", "call (•••) •••-0123 now"),
        ("DE89 3704 0044 0532 0130 00", "•••• •••• •••• •••• ••30 00"),
        ("GB82WEST12345698765432.", "••••••••••••••••••5432."),
        ("GB82WEST12345698765433.", "GB82WEST12345698765433."),
    ] {
        assert_eq!(super::text(Kind::Text, text.as_bytes()), shown);
    }
}

/// The members of real callbacks: what tells of people goes, what tells of payments stays.
#[test]
fn names_say_what_is_personal() {
    assert_eq!(
        json(
            r#"{"id":"evt_1NXWPnCo6bFb1KQto6C8OWvE","created":1795339800,"amount":1999,"currency":"usd",
"billing_details":{"address":{"city":"Berlin","line1":"Weg 1"},"name":"Alice Example","email":"alice@example.com"},
"card":{"brand":"visa","last4":"4242","exp_year":2030},"receipt_email":null,"email_verified":true}"#
        ),
        r#"{"id":"evt_1NXWPnCo6bFb1KQto6C8OWvE","created":1795339800,"amount":1999,"currency":"usd",
"billing_details":{"address":{"city":"•••","line1":"•••"},"name":"•••","email":"a•••@example.com"},
"card":{"brand":"visa","last4":"4242","exp_year":"•••"},"receipt_email":null,"email_verified":true}"#
    );
    assert_eq!(
        text(
            Kind::Xml,
            b"<xml><openid><![CDATA[oUpF8uMuAJO_M2pxb1Q9zNjWeS6o]]></openid><out_trade_no>4532015112830366</out_trade_no><bank_type>CMC</bank_type><time_end>20261122103000</time_end><buyer name=\"Li &amp; Wang\" id=\"7\"/></xml>"
        ),
        "<xml><openid><![CDATA[•••]]></openid><out_trade_no>4532015112830366</out_trade_no><bank_type>CMC</bank_type><time_end>20261122103000</time_end><buyer name=\"•••\" id=\"7\"/></xml>"
            .replace("4532015112830366", "••••••••••••0366")
    );
    assert_eq!(
        form(
            "out_trade_no=20150320010101001&buyer_logon_id=159****5620&buyer_id=2088102116773037&total_amount=20.00&card%5Bnumber%5D=1&first_name=Alice&x=%7B%22phone%22%3A%2212%22%7D"
        ),
        "out_trade_no=20150320010101001&buyer_logon_id=•••&buyer_id=••••••••••••3037&total_amount=20.00&card%5Bnumber%5D=•••&first_name=•••&x=%7B%22phone%22%3A%22•••%22%7D"
    );
    // JSON in JSON in JSON.
    assert_eq!(
        json(r#"{"data":"{\"inner\":\"{\\\"holder\\\":\\\"Alice\\\",\\\"ok\\\":1}\"}"}"#),
        r#"{"data":"{\"inner\":\"{\\\"holder\\\":\\\"•••\\\",\\\"ok\\\":1}\"}"}"#
    );
}

#[test]
fn what_is_masked_can_still_be_read_as_json() {
    let masked = json(r#"{"n":[4242424242424242,-1.5e3,true],"account":12345678901,"iban":null}"#);
    assert_eq!(
        masked,
        r#"{"n":["••••••••••••4242",-1.5e3,true],"account":"•••••••8901","iban":null}"#
    );
    assert!(serde_json::from_str::<serde_json::Value>(&masked).is_ok());
}

#[test]
fn orders_ids_times_and_amounts_stay() {
    // Each passes Luhn.
    for (name, value) in [
        ("out_trade_no", "20261122000000000007"),
        ("orderId", "1000000000000008"),
        ("created", "1795339800004"),
        ("transaction_id", "9000000000000001"),
        ("amount", "100000000008"),
        ("updated_at", "1795339800004"),
    ] {
        let text = format!("{{\"{name}\":{value}}}");
        assert_eq!(json(&text), text);
        let text = format!("a=1&{name}={value}");
        assert_eq!(form(&text), text);
    }
    // A card under the name of an order is a card.
    assert_eq!(
        json(r#"{"order_id":"4242424242424242"}"#),
        r#"{"order_id":"••••••••••••4242"}"#
    );
    for stays in [
        r#"{"time":"2026-11-22T10:30:00.123+08:00","product_name":"Tea","event_name":"paid"}"#,
        r#"{"id":"WH-2WR32451HC0233532-67976317FL4543714","status":"COMPLETED"}"#,
        r#"{"account_id":"acct_1032D82eZvKYlo2C","type":"card","bank_type":"OTHERS"}"#,
    ] {
        assert_eq!(json(stays), stays);
    }
}

#[test]
fn a_header_a_target_and_a_line_of_the_log() {
    assert_eq!(header("Stripe-Signature", b"t=1,v1=abc"), "•••");
    assert_eq!(
        header("x-customer-email", b"alice@example.com"),
        "a•••@example.com"
    );
    assert_eq!(
        header("x-note", b"card 4242424242424242"),
        "card ••••••••••••4242"
    );
    assert_eq!(
        header("content-type", b"application/json"),
        "application/json"
    );
    assert_eq!(
        target("/pay/4242424242424242?phone=123&id=7"),
        "/pay/••••••••••••4242?phone=•••&id=7"
    );
    assert_eq!(target("/stripe"), "/stripe");
    assert!(matches!(line("no such path: /stripe"), Cow::Borrowed(_)));
    assert_eq!(
        line("no number: 4242-4242-4242-4242"),
        "no number: ••••-••••-••••-4242"
    );
    assert!(line(&"ä".repeat(9000)).len() <= LINE);
    assert_eq!(line("no number: 7"), "no number: 7");
}

#[test]
fn it_is_bounded_and_a_card_on_the_edge_is_no_half_card() {
    let mut text = "x ".repeat(MOST / 2 - 6);
    text.push_str("4242424242424242 and more");
    let shown = super::text(Kind::Text, text.as_bytes());
    assert!(
        shown.ends_with("x ••••••••••••"),
        "{}",
        &shown[shown.len() - 60..]
    );
    // Nothing here takes more than a moment, nor does it panic.
    for odd in [
        "4 ",
        "@",
        "a@",
        "\\",
        "\\u",
        "&",
        "&#",
        "<",
        "<a b=",
        "<![CDATA[",
        "{\"a\":",
        "[",
        "%",
        "%e4",
        "+1",
        "DE89",
        "\u{ff14}",
    ] {
        let text = odd.repeat(3 * MOST / odd.len());
        for kind in [Kind::Json, Kind::Form, Kind::Xml, Kind::Text] {
            super::text(kind, text.as_bytes());
        }
    }
    assert_eq!(
        super::text(Kind::Text, b"\xff4242424242424242\xfe"),
        "\u{fffd}••••••••••••4242\u{fffd}"
    );
}

#[test]
fn a_kind_is_known_by_its_media_type_or_its_beginning() {
    assert_eq!(
        Kind::of(Some("application/cloudevents+json; charset=utf-8"), b""),
        Kind::Json
    );
    assert_eq!(
        Kind::of(Some("application/x-www-form-urlencoded"), b"{"),
        Kind::Form
    );
    assert_eq!(Kind::of(Some("text/xml"), b""), Kind::Xml);
    assert_eq!(Kind::of(None, b" {"), Kind::Json);
    assert_eq!(Kind::of(Some("text/plain"), b"hello"), Kind::Text);
}

/// A number whose last digit is right.
fn card() -> impl Strategy<Value = Vec<u32>> {
    let digits = proptest::collection::vec(0u32..10, 11..18);
    (1u32..10, digits).prop_map(|(first, rest)| {
        let mut digits = vec![first];
        digits.extend(rest);
        let sum: u32 = digits
            .iter()
            .rev()
            .enumerate()
            .map(|(n, d)| {
                if n % 2 == 0 {
                    d * 2 / 10 + d * 2 % 10
                } else {
                    *d
                }
            })
            .sum();
        digits.push((10 - sum % 10) % 10);
        digits
    })
}

fn written(digit: u32, how: usize) -> String {
    let ascii = char::from_digit(digit, 10).unwrap();
    let wide = char::from_u32(0xff10 + digit).unwrap();
    let byte = ascii as u32;
    match how {
        0 => format!("\\u{byte:04x}"),
        1 => format!("\\\\u{byte:04X}"),
        2 => format!("%{byte:02x}"),
        3 => format!("%25{byte:02X}"),
        4 => format!("&#{byte};"),
        5 => format!("&#x{byte:x};"),
        6 => wide.to_string(),
        7 => format!("\\u{:04x}", wide as u32),
        8 => percent_encoding::utf8_percent_encode(
            &wide.to_string(),
            percent_encoding::NON_ALPHANUMERIC,
        )
        .to_string(),
        _ => ascii.to_string(),
    }
}

proptest! {
    /// No number of 13 to 19 digits survives, whatever it is encoded with and wherever it stands.
    #[test]
    fn no_card_survives(
        digits in card(),
        how in proptest::collection::vec(0usize..24, 19),
        gaps in proptest::collection::vec(0usize..8, 19),
        place in 0usize..8,
    ) {
        let mut number = String::new();
        for (n, digit) in digits.iter().enumerate() {
            number += &written(*digit, how[n]);
            number += ["", "", "", "", " ", "-", "%20", "\u{a0}"][gaps[n] * usize::from(n + 1 < digits.len())];
        }
        let (kind, text) = match place {
            0 => (Kind::Json, format!("{{\"note\":\"{number}\",\"id\":\"1\"}}")),
            1 => (Kind::Json, format!("{{\"a\":[{{\"b\":\"x {number} y\"}}]}}")),
            2 => (Kind::Json, format!("{{\"a\":\"{{\\\"b\\\":\\\"{number}\\\"}}\"}}")),
            3 => (Kind::Form, format!("a=1&note={number}&b=2")),
            4 => (Kind::Xml, format!("<a><note>{number}</note></a>")),
            5 => (Kind::Xml, format!("<a note='{number}'/>")),
            6 => (Kind::Text, format!("see {number}, thanks")),
            _ => (Kind::Text, number.clone()),
        };
        let plain: String = digits.iter().map(|d| char::from_digit(*d, 10).unwrap()).collect();
        let read = |text: &str| -> String {
            let items = view::universal(view::read(text.as_bytes()));
            items.iter().filter_map(|i| char::from_digit(view::digit(i.ch)?, 10)).collect()
        };
        prop_assert!(read(&text).contains(&plain), "the test hides it: {text}");
        let masked = super::text(kind, text.as_bytes());
        prop_assert!(!read(&masked).contains(&plain), "{text}\n{masked}");
        prop_assert!(!read(&masked).contains(&plain[..plain.len() - 4]), "{text}\n{masked}");
    }

    #[test]
    fn nothing_makes_it_panic_and_plain_words_stay(text in "\\PC{0,200}", words in "[a-z ]{0,80}") {
        for kind in [Kind::Json, Kind::Form, Kind::Xml, Kind::Text] {
            super::text(kind, text.as_bytes());
            prop_assert_eq!(super::text(kind, words.as_bytes()), words.clone());
        }
    }

    #[test]
    fn json_stays_json(value in any::<(String, i64, bool, Vec<f64>)>(), key in "[a-z_]{1,12}") {
        let text = serde_json::json!({ key: value.0, "n": value.1, "card": [value.2, value.3] }).to_string();
        let masked = json(&text);
        prop_assert!(serde_json::from_str::<serde_json::Value>(&masked).is_ok(), "{text}\n{masked}");
    }
}

#[test]
fn what_proves_the_sender_is_hidden_whatever_the_header_is_called() {
    for name in [
        "verif-hash",
        "cf-webhook-auth",
        "X-VERIFY",
        "Plaid-Verification",
        "PAYPAL-TRANSMISSION-SIG",
        "BTCPay-Sig",
        "x-payload-hash",
        "QuickPay-Checksum-Sha256",
        "X-Callback-Token",
        "X-Passcode",
    ] {
        assert_eq!(header(name, b"shared-secret"), HIDDEN, "{name}");
    }
    for name in ["content-type", "user-agent", "x-request-id", "X-Event-Id"] {
        assert_eq!(header(name, b"shared-text"), "shared-text", "{name}");
    }
}

#[test]
fn a_secret_in_a_body_is_hidden() {
    assert_eq!(json(r#"{"passcode":"s3cret"}"#), r#"{"passcode":"•••"}"#);
    assert_eq!(json(r#"{"clientState":"s3"}"#), r#"{"clientState":"•••"}"#);
}

#[test]
fn a_token_in_an_address_is_hidden() {
    for (said, shown) in [
        ("/hook?token=s3cret&a=1", "/hook?token=•••&a=1"),
        (
            "/hook?a=1&access_token=s3%20cret",
            "/hook?a=1&access_token=•••",
        ),
        ("/hook?acce%73s_token=s3cret", "/hook?acce%73s_token=•••"),
        ("/hook?token", "/hook?token"),
    ] {
        assert_eq!(target(said), shown);
        assert_eq!(line(said), shown);
    }
}

#[test]
fn what_is_in_base64_is_looked_into() {
    let encode = |text: &str| data_encoding::BASE64.encode(text.as_bytes());
    let url = |text: &str| data_encoding::BASE64URL_NOPAD.encode(text.as_bytes());
    let customer = r#"{"payment_id":1,"sender_first_name":"Jane","sender_phone":"380950000001"}"#;
    let harmless = r#"{"payment_id":1,"amount":"12.50","status":"success"}"#;
    let in_json = |data: &str| {
        json(&format!(
            r#"{{"message":{{"data":"{data}","messageId":"7"}}}}"#
        ))
    };
    let shown = in_json(&encode(customer));
    assert_eq!(shown, in_json_as_is("•••=="), "with its padding");
    let same = in_json_as_is(&encode(harmless));
    assert_eq!(in_json(&encode(harmless)), same);
    // In a form, percent-encoded; in one another; with line ends; cut off.
    let data = encode(customer).replace('+', "%2B").replace('=', "%3D");
    let shown = form(&format!("data={data}&signature=c2lnbmF0dXJl"));
    assert!(shown.starts_with("data=•••"), "{shown}");
    let twice = encode(&format!(r#"{{"data":"{}"}}"#, encode(customer)));
    assert!(in_json(&twice).contains(r#""data":"•••"#));
    let mut wrapped = encode(&customer.repeat(3));
    wrapped.insert_str(76, "\r\n");
    let shown = text(Kind::Text, wrapped.as_bytes());
    assert!(shown.starts_with("•••"), "{shown}");
    let shown = text(Kind::Text, &encode(customer).as_bytes()[..70]);
    assert_eq!(shown, "•••");
    // A token: its header shows, its claims do not.
    let head = url(r#"{"alg":"ES256","kid":"abc"}"#);
    let token = format!("{head}.{}.c2lnbmF0dXJl", url(customer));
    let shown = json(&format!(r#"{{"signedPayload":"{token}"}}"#));
    assert_eq!(
        shown,
        format!(r#"{{"signedPayload":"{head}.•••.c2lnbmF0dXJl"}}"#)
    );
    let card = encode("card 4242424242424242");
    assert!(!header("x-data", card.as_bytes()).contains(&card[..12]));
    assert_eq!(target(&format!("/in/{}/end", url(customer))), "/in/•••/end");
    // What is no text, or nothing of a person.
    for text in [
        "payment_intent_succeeded_with_a_long_name",
        "5f4dcc3b5aa765d61d8327deb882cf995f4dcc3b5aa765d61d8327deb882cf99",
        "evt_1QxYzABCDEFghijklmnopqrst",
    ] {
        assert_eq!(super::text(Kind::Text, text.as_bytes()), text);
    }
}

/// One byte of another charset hides nothing; nor do rows and lines of the log, which look only where
/// something can be.
#[test]
fn what_is_in_base64_is_looked_into_wherever_it_stands() {
    let mut latin = br#"{"id":7,"sender_first_name":"Jan"#.to_vec();
    latin.extend_from_slice(b"\xe9\",\"sender_phone\":\"380950000001\"}");
    let latin = data_encoding::BASE64_NOPAD.encode(&latin);
    assert_eq!(text(Kind::Text, latin.as_bytes()), "•••");
    let digest: Vec<u8> = (0..=255).map(|n: u8| n.wrapping_mul(167)).collect();
    let digest = data_encoding::BASE64_NOPAD.encode(&digest);
    assert_eq!(text(Kind::Text, digest.as_bytes()), digest);
    for said in [
        "jane.doe@example.org",
        "a=1&email=x@y.zz",
        "{\"name\":\"J\"}",
    ] {
        let coded = data_encoding::BASE64URL_NOPAD.encode(said.as_bytes());
        for name in ["key", "order", "reason", "type"] {
            assert_eq!(field(name, &coded), "•••", "{name} {said}");
        }
        assert_eq!(line(&format!("no order {coded}")), "no order •••");
    }
    for same in [
        "payment_intent_succeeded",
        "status_5xx",
        "evt_1NG8Du2eZvKYlo2C",
    ] {
        assert_eq!(field("key", same), same);
        assert_eq!(line(same), same);
    }
}

/// A member that says what another one is may come after it.
#[test]
fn a_value_may_come_before_its_name() {
    for (text, shown) in [
        (
            r#"[{"value":"Jane","key":"first_name"},{"value":"x1","key":"colour"}]"#,
            r#"[{"value":"•••","key":"first_name"},{"value":"x1","key":"colour"}]"#,
        ),
        (
            r#"{"value":12345678,"key":"phone"}"#,
            r#"{"value":"••••5678","key":"phone"}"#,
        ),
        (
            r#"{"value":"a","key":"colour","value":"b","label":"l","key":"surname"}"#,
            r#"{"value":"a","key":"colour","value":"•••","label":"l","key":"surname"}"#,
        ),
        (
            r#"{"key":"surname","label":"l","value":"b"}"#,
            r#"{"key":"surname","label":"l","value":"•••"}"#,
        ),
        (
            r#"{"value":"a","more":{"key":"first_name"}}"#,
            r#"{"value":"a","more":{"key":"first_name"}}"#,
        ),
    ] {
        assert_eq!(json(text), shown);
    }
}

fn in_json_as_is(data: &str) -> String {
    format!(r#"{{"message":{{"data":"{data}","messageId":"7"}}}}"#)
}

#[test]
fn a_form_in_parts_is_masked_by_its_names() {
    let body = |end: &str| {
        let lines = [
            "--XYZ",
            "Content-Disposition: form-data; name=\"customer[first_name]\"",
            "",
            "Jane",
            "--XYZ",
            "content-disposition: form-data; name=order_id",
            "Content-Type: text/plain",
            "",
            "A-1",
            "--XYZ",
            "Content-Disposition: form-data; filename=\"x.json\"; name=\"payload\"",
            "",
            "{\"card_holder\":\"Jane Doe\",\"amount\":1}",
            "--XYZ--",
            "",
        ];
        lines.join(end)
    };
    for end in ["\r\n", "\n"] {
        let shown = text(Kind::Text, body(end).as_bytes());
        assert!(!shown.contains("Jane") && !shown.contains("Doe"), "{shown}");
        let kept = ["A-1", "\"amount\":1", "--XYZ--", "order_id"];
        assert!(kept.iter().all(|kept| shown.contains(kept)), "{shown}");
    }
    // Cut off within a part.
    let cut = body("\r\n");
    let shown = text(Kind::Text, &cut.as_bytes()[..cut.find("ne").unwrap() + 1]);
    assert!(!shown.contains("Jan"), "{shown}");
    let dashes = "--\r\nno form\r\n";
    assert_eq!(text(Kind::Text, dashes.as_bytes()), dashes);
}

#[test]
fn a_text_with_a_name_is_masked_as_that() {
    for (name, text, shown) in [
        ("key", "evt_123", "evt_123"),
        // Its last digit is right, and no card begins so.
        ("order", "9999999999999995", "9999999999999995"),
        ("order", "4242424242424242", "••••••••••••4242"),
        ("key", "jane@example.org:7", "j•••@example.org:7"),
        ("reason", "jane@example.org asked", "j•••@example.org asked"),
        ("reason", "status_5xx", "status_5xx"),
    ] {
        assert_eq!(field(name, text), shown, "{name}");
    }
}

/// The media type may say anything.
#[test]
fn a_body_is_masked_as_what_it_looks_like_too() {
    let body = r#"{"customer":{"name":"Jane Doe"},"amount":12}"#;
    for kind in [Kind::Json, Kind::Form, Kind::Xml, Kind::Text] {
        for body in [body.to_owned(), format!(" \u{feff}{body}")] {
            let shown = text(kind, body.as_bytes());
            assert!(!shown.contains("Jane") && shown.contains("12"), "{shown}");
        }
        let shown = text(
            kind,
            b"<order><buyerName>Jane Doe</buyerName><n>12</n></order>",
        );
        assert!(!shown.contains("Jane") && shown.contains("12"), "{shown}");
        let shown = text(kind, b"order=12&buyer_name=Jane+Doe");
        assert!(!shown.contains("Jane") && shown.contains("12"), "{shown}");
    }
}

#[test]
fn a_value_whose_name_stands_beside_it_is_masked() {
    for (body, shown) in [
        (
            r#"[{"name":"first_name","value":"Jane"},{"name":"colour","value":"red"}]"#,
            r#"[{"name":"•••","value":"•••"},{"name":"•••","value":"red"}]"#,
        ),
        (
            r#"{"key":"phone","value":5550199,"note":"x"}"#,
            r#"{"key":"phone","value":"•••","note":"x"}"#,
        ),
        (r#"{"vpa":"jane@okaxis"}"#, r#"{"vpa":"•••"}"#),
        (
            r#"{"identification":{"type":"CPF","number":"1911"}}"#,
            r#"{"identification":{"type":"CPF","number":"•••"}}"#,
        ),
    ] {
        assert_eq!(json(body), shown);
    }
}
