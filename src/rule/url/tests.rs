//! Which addresses are followed: a table of attacks, and another reader of URLs as the judge.

use http::Uri;
use proptest::prelude::*;

use super::*;

fn pin(hosts: &[&str], path: &str, suffix: &str) -> UrlPin {
    UrlPin {
        hosts: hosts
            .iter()
            .map(|h| HostPattern::parse(h).unwrap())
            .collect(),
        path: path.into(),
        suffix: suffix.into(),
    }
}

fn paypal() -> UrlPin {
    pin(
        &["api.paypal.com", "api.sandbox.paypal.com"],
        "/v1/notifications/certs/",
        "",
    )
}

fn sns() -> UrlPin {
    pin(&["sns.*.amazonaws.com"], "/", "")
}

#[test]
fn addresses_that_providers_send_are_followed() {
    // The forms of PayPal's PAYPAL-CERT-URL and of Amazon SNS' SigningCertURL and SubscribeURL.
    let subscribe = "/?Action=ConfirmSubscription&TopicArn=arn:aws:sns:us-west-2:123456789012:MyTopic&Token=2336412f37fb";
    let certificate = "/SimpleNotificationService-f3ecfb7224c7233fe7bb5f59f96de52f.pem";
    let sns_certificate = pin(
        &["sns.*.amazonaws.com"],
        "/SimpleNotificationService-",
        ".pem",
    );
    let table = [
        (
            paypal(),
            "api.paypal.com",
            "/v1/notifications/certs/CERT-360caa42-fca2a594-a5cafa77",
        ),
        (
            paypal(),
            "api.sandbox.paypal.com",
            "/v1/notifications/certs/CERT-1",
        ),
        (sns(), "sns.us-west-2.amazonaws.com", subscribe),
        (sns_certificate, "sns.us-west-2.amazonaws.com", certificate),
        (sns(), "sns.us-west-2.amazonaws.com", "/a%20b?c=%2Fd%2E"),
    ];
    for (pin, host, target) in table {
        let url = format!("https://{host}{target}");
        let admitted = pin.admit(url.as_bytes()).unwrap();
        assert_eq!((admitted.host(), admitted.target()), (host, target));
        assert_eq!(admitted.url(), url);
    }
    let with_port = paypal().admit(b"https://api.paypal.com:443/v1/notifications/certs/C");
    assert_eq!(
        with_port.unwrap().url(),
        "https://api.paypal.com/v1/notifications/certs/C"
    );
}

#[test]
fn attacks_are_told_apart() {
    use NotPinned::*;
    let long = format!(
        "https://api.paypal.com/v1/notifications/certs/{}",
        "a".repeat(2048)
    );
    let table: &[(&str, NotPinned)] = &[
        ("", Scheme),
        ("api.paypal.com/v1/notifications/certs/C", Scheme),
        ("//api.paypal.com/v1/notifications/certs/C", Scheme),
        ("http://api.paypal.com/v1/notifications/certs/C", Scheme),
        ("HTTPS://api.paypal.com/v1/notifications/certs/C", Scheme),
        ("ftp://api.paypal.com/v1/notifications/certs/C", Scheme),
        ("file:///etc/passwd", Scheme),
        ("https:/api.paypal.com/v1/notifications/certs/C", Scheme),
        ("https:api.paypal.com/v1/notifications/certs/C", Scheme),
        (
            " https://api.paypal.com/v1/notifications/certs/C",
            Character,
        ),
        (
            "https://api.paypal.com/v1/notifications/certs/C\n",
            Character,
        ),
        (
            "ht\ttps://api.paypal.com/v1/notifications/certs/C",
            Character,
        ),
        (
            "https://api.paypal.com\t/v1/notifications/certs/C",
            Character,
        ),
        (
            "https://api.paypal.com/v1/notifications/certs/C\r\nHost: evil",
            Character,
        ),
        (
            "https://api.paypal.com/v1/notifications/certs/\0",
            Character,
        ),
        (
            "https:\\\\api.paypal.com\\v1\\notifications\\certs\\C",
            Character,
        ),
        (
            "https://evil.example\\@api.paypal.com/v1/notifications/certs/C",
            Character,
        ),
        (
            "https://api.paypal.com\\.evil.example/v1/notifications/certs/C",
            Character,
        ),
        (
            "https://api.paypal.com\u{ff0e}evil.example/v1/notifications/certs/C",
            Character,
        ),
        (
            "https://api.paypa\u{4cf}.com/v1/notifications/certs/C",
            Character,
        ),
        (
            "https://\u{ff41}pi.paypal.com/v1/notifications/certs/C",
            Character,
        ),
        ("https://[::1]/v1/notifications/certs/C", Character),
        (
            "https://api.paypal.com/v1/notifications/certs/\"",
            Character,
        ),
        (
            "https://api.paypal.com@evil.example/v1/notifications/certs/C",
            UserInfo,
        ),
        (
            "https://evil.example@api.paypal.com/v1/notifications/certs/C",
            UserInfo,
        ),
        (
            "https://a:b@api.paypal.com/v1/notifications/certs/C",
            UserInfo,
        ),
        ("https://@api.paypal.com/v1/notifications/certs/C", UserInfo),
        (
            "https://evil.example/v1/notifications/certs/C#api.paypal.com",
            Fragment,
        ),
        (
            "https://evil.example#@api.paypal.com/v1/notifications/certs/C",
            Fragment,
        ),
        ("https://api.paypal.com/v1/notifications/certs/C#", Fragment),
        ("https://api.paypal.com:444/v1/notifications/certs/C", Port),
        ("https://api.paypal.com:80/v1/notifications/certs/C", Port),
        ("https://api.paypal.com:/v1/notifications/certs/C", Port),
        ("https://api.paypal.com:0443/v1/notifications/certs/C", Port),
        (
            "https://api.paypal.com:443:443/v1/notifications/certs/C",
            Port,
        ),
        (
            "https://api.paypal.com:443.evil.example/v1/notifications/certs/C",
            Port,
        ),
        ("https:///v1/notifications/certs/C", Host),
        ("https:////api.paypal.com/v1/notifications/certs/C", Host),
        ("https://evil.example/v1/notifications/certs/C", Host),
        (
            "https://evil.example/https://api.paypal.com/v1/notifications/certs/C",
            Host,
        ),
        (
            "https://evil.example?https://api.paypal.com/v1/notifications/certs/C",
            Host,
        ),
        (
            "https://api.paypal.com.evil.example/v1/notifications/certs/C",
            Host,
        ),
        ("https://api.paypal.com./v1/notifications/certs/C", Host),
        ("https://.api.paypal.com/v1/notifications/certs/C", Host),
        ("https://xapi.paypal.com/v1/notifications/certs/C", Host),
        ("https://x.api.paypal.com/v1/notifications/certs/C", Host),
        ("https://paypal.com/v1/notifications/certs/C", Host),
        ("https://API.paypal.com/v1/notifications/certs/C", Host),
        ("https://api.paypal.co/v1/notifications/certs/C", Host),
        (
            "https://api.xn--paypa-y4a.com/v1/notifications/certs/C",
            Host,
        ),
        ("https://api%2epaypal.com/v1/notifications/certs/C", Host),
        ("https://api.paypal.com%00/v1/notifications/certs/C", Host),
        ("https://api.paypal.com%2f@evil.example/", UserInfo),
        ("https://api.paypal.com", Path),
        ("https://api.paypal.com/", Path),
        ("https://api.paypal.com?/v1/notifications/certs/C", Path),
        ("https://api.paypal.com/V1/notifications/certs/C", Path),
        ("https://api.paypal.com/v1/notifications/certs", Path),
        ("https://api.paypal.com//v1/notifications/certs/C", Path),
        ("https://api.paypal.com/v1/notifications/certs//C", Path),
        ("https://api.paypal.com/v1/notifications/certs/../C", Path),
        ("https://api.paypal.com/v1/notifications/certs/..", Path),
        ("https://api.paypal.com/v1/notifications/certs/./C", Path),
        (
            "https://api.paypal.com/v1/notifications/certs/..%2fC",
            Percent,
        ),
        (
            "https://api.paypal.com/v1/notifications/certs/..%2FC",
            Percent,
        ),
        (
            "https://api.paypal.com/v1/notifications/certs/%2e%2e/C",
            Percent,
        ),
        (
            "https://api.paypal.com/v1/notifications/certs/.%2e/C",
            Percent,
        ),
        (
            "https://api.paypal.com/v1/notifications/certs/..%5cC",
            Percent,
        ),
        (
            "https://api.paypal.com/v1/notifications/certs/..%252fC",
            Percent,
        ),
        ("https://api.paypal.com/v1/notifications/certs/%00", Percent),
        (
            "https://api.paypal.com/v1/notifications/certs/%0d%0a",
            Percent,
        ),
        ("https://api.paypal.com/v1/notifications/certs/%", Percent),
        ("https://api.paypal.com/v1/notifications/certs/%2", Percent),
        ("https://api.paypal.com/v1/notifications/certs/%+2", Percent),
        (
            "https://api.paypal.com/v1/notifications/certs/C?a=%zz",
            Percent,
        ),
        (
            "https://api.paypal.com/v1/notifications/certs/C?a=%0a",
            Percent,
        ),
        (&long, TooLong),
    ];
    for (url, why) in table {
        assert_eq!(paypal().admit(url.as_bytes()), Err(*why), "{url:.120}");
    }
    assert_eq!(
        paypal().admit(b"https://api.paypal.com/\xff"),
        Err(Character)
    );
}

#[test]
fn a_star_is_one_label() {
    for host in [
        "sns.amazonaws.com",
        "sns..amazonaws.com",
        "sns.a.b.amazonaws.com",
        "sns.-.amazonaws.com",
        "sns.-a.amazonaws.com",
        "sns.a_b.amazonaws.com",
        "sns.*.amazonaws.com",
        "sns.evil.example",
        "evil.sns.a.amazonaws.com",
        "sns.a.amazonaws.com.cn",
        "sns.evil.example:443.amazonaws.com",
    ] {
        let url = format!("https://{host}/");
        assert!(sns().admit(url.as_bytes()).is_err(), "{url}");
    }
}

#[test]
fn an_end_is_the_end_of_the_path() {
    let pin = pin(&["a.example.com"], "/c", ".pem");
    let admit = |rest: &str| pin.admit(format!("https://a.example.com{rest}").as_bytes());
    assert!(admit("/c.pem").is_ok() && admit("/c/d.pem").is_ok());
    for rest in [
        "/c", "/c.pem?", "/c.pem?a", "/c?.pem", "/c.pemx", "/c.pem/", "/c.PEM",
    ] {
        assert_eq!(admit(rest), Err(NotPinned::Suffix), "{rest}");
    }
}

#[test]
fn a_pattern_never_covers_what_anyone_can_register() {
    for good in [
        "example.com",
        "a-b.c1.example.com",
        "*.example.com",
        "a.*.*.example.com",
    ] {
        assert!(HostPattern::parse(good).is_ok(), "{good}");
    }
    for bad in [
        "",
        "*",
        "com",
        "*.com",
        "example.*",
        "a.*.com",
        "a*.example.com",
        "**.example.com",
        ".example.com",
        "example.com.",
        "a..example.com",
        "Example.com",
        "ex_ample.com",
        "-a.example.com",
        "a-.example.com",
        "example.com:443",
        "https://example.com",
        "example.com/",
        "bücher.example.com",
        "127.0.0.1",
        "::1",
        &format!("{}.example.com", "a".repeat(64)),
        &format!("{}.example.com", "a.".repeat(130)),
    ] {
        assert!(HostPattern::parse(bad).is_err(), "{bad}");
    }
}

/// Whatever is admitted, the HTTP library reads as the same host, port and target.
fn judged(pin: &UrlPin, url: &[u8]) -> Result<bool, TestCaseError> {
    let Ok(admitted) = pin.admit(url) else {
        return Ok(false);
    };
    let uri = Uri::try_from(url).expect("another reader takes it as well");
    prop_assert_eq!(uri.scheme_str(), Some("https"));
    prop_assert_eq!(uri.host(), Some(admitted.host()));
    prop_assert!(matches!(uri.port_u16(), None | Some(443)));
    prop_assert_eq!(
        uri.path_and_query().map(|p| p.as_str()),
        Some(admitted.target())
    );
    prop_assert!(pin.hosts.iter().any(|p| p.matches(admitted.host())));
    prop_assert!(
        admitted.host().ends_with(".paypal.com") || admitted.host().ends_with(".amazonaws.com")
    );
    let path = percent_encoding::percent_decode_str(uri.path()).collect::<Vec<u8>>();
    let mut segments = path.split(|b| *b == b'/');
    prop_assert!(segments.all(|s| s != b".." && s != b"."));
    prop_assert!(!path.contains(&b'\\') && !path.iter().any(u8::is_ascii_control));
    Ok(true)
}

const PIECES: &[&str] = &[
    "https://",
    "http://",
    "//",
    "/",
    "\\",
    "api.paypal.com",
    "sns.",
    "eu-1",
    ".amazonaws.com",
    "evil.example",
    "@",
    ":",
    ":443",
    "?",
    "#",
    ".",
    "..",
    "%2e",
    "%2f",
    "%00",
    "%41",
    "\t",
    " ",
    "/v1/notifications/certs/",
    "C",
    "É",
    "*",
    "[",
    "]",
    "&a=b",
];

fn both() -> [UrlPin; 2] {
    [paypal(), sns()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn any_bytes(url in prop::collection::vec(any::<u8>(), 0..80)) {
        for pin in both() {
            judged(&pin, &url)?;
            judged(&pin, &[b"https://api.paypal.com", url.as_slice()].concat())?;
        }
    }

    #[test]
    fn any_pieces(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..9)) {
        for pin in both() {
            judged(&pin, pieces.concat().as_bytes())?;
            judged(&pin, format!("https://{}", pieces.concat()).as_bytes())?;
        }
    }

    #[test]
    fn a_good_address_with_a_foreign_byte(at in 0usize..60, byte in any::<u8>()) {
        let mut url = b"https://sns.us-west-2.amazonaws.com/a/b.pem?c=d".to_vec();
        prop_assert!(judged(&sns(), &url)?);
        url.insert(at.min(url.len()), byte);
        judged(&sns(), &url)?;
    }

    #[test]
    fn every_label_fits_a_star(label in "[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", rest in "[A-Za-z0-9_~&=+,;:-]{0,40}") {
        let url = format!("https://sns.{label}.amazonaws.com/x{rest}?{rest}");
        prop_assert!(judged(&sns(), url.as_bytes())?);
    }
}
