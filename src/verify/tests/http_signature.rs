//! The examples of RFC 9421 and RFC 9530, and what is refused.

use crate::rule::scheme::Algorithm;
use data_encoding::BASE64;

use super::*;
use crate::verify::primitive::KeyMaterial;
use crate::verify::public_key::{PublicForm, load};

struct Request {
    method: &'static str,
    uri: Option<&'static str>,
    path: &'static str,
    query: Option<&'static str>,
    headers: Vec<(&'static str, &'static str)>,
}

impl Components for Request {
    fn method(&self) -> &[u8] {
        self.method.as_bytes()
    }
    fn target_uri(&self) -> Option<&[u8]> {
        self.uri.map(str::as_bytes)
    }
    fn path(&self) -> &[u8] {
        self.path.as_bytes()
    }
    fn query(&self) -> Option<&[u8]> {
        self.query.map(str::as_bytes)
    }
    fn header(&self, name: &str) -> Vec<&[u8]> {
        let values = self.headers.iter().filter(|(known, _)| *known == name);
        values.map(|(_, value)| value.as_bytes()).collect()
    }
}

const BODY: &[u8] = b"{\"hello\": \"world\"}";
const DIGEST: &str = "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:";

/// RFC 9421, B.2.
fn test_request() -> Request {
    Request {
        method: "POST",
        uri: Some("https://example.com/foo?param=Value&Pet=dog"),
        path: "/foo",
        query: Some("param=Value&Pet=dog"),
        headers: vec![
            ("host", "example.com"),
            ("date", "Tue, 20 Apr 2021 02:07:55 GMT"),
            ("content-type", "application/json"),
            ("content-digest", DIGEST),
            ("content-length", "18"),
        ],
    }
}

/// RFC 9421, B.1.2, B.1.3, B.1.4 and B.1.5.
const PSS_KEY: &str = "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAr4tmm3r20Wd/PbqvP1s2+QEtvpuRaV8Yq40gjUR8y2Rjxa6dpG2GXHbPfvMs8ct+Lh1GH45x28Rw3Ry53mm+oAXjyQ86OnDkZ5N8lYbggD4O3w6M6pAvLkhk95AndTrifbIFPNU8PPMO7OyrFAHqgDsznjPFmTOtCEcN2Z1FpWgchwuYLPL+Wokqltd11nqqzi+bJ9cvSKADYdUAAN5WUtzdpiy6LbTgSxP7ociU4Tn0g5I6aDZJ7A8Lzo0KSyZYoA485mqcO0GVAdVw9lq4aOT9v6d+nb4bnNkQVklLQ3fVAvJm+xdDOp9LCNCN48V2pnDOkFV6+U9nV5oyc6XI2wIDAQAB";
const P256_KEY: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEqIVYZVLCrPZHGHjP17CTW0/+D9Lfw0EkjqF7xB4FivAxzic30tMM4GF+hR6Dxh71Z50VGGdldkkDXZCnTNnoXQ==";
const ED25519_KEY: &str = "MCowBQYDK2VwAyEAJrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=";
const SHARED_KEY: &str =
    "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==";

struct Published {
    algorithm: &'static str,
    key: &'static str,
    input: &'static str,
    signature: &'static str,
    base: &'static str,
}

/// RFC 9421, B.2.1, B.2.2, B.2.3, B.2.5 and B.2.6. B.2.4 signs an answer, which nobody sends here.
const PUBLISHED: [Published; 5] = [
    Published {
        algorithm: "rsa-pss-sha512",
        key: PSS_KEY,
        input: r#"sig-b21=();created=1618884473;keyid="test-key-rsa-pss";nonce="b3k2pp5k7z-50gnwp.yemd""#,
        signature: "sig-b21=:d2pmTvmbncD3xQm8E9ZV2828BjQWGgiwAaw5bAkgibUopemLJcWDy/lkbbHAve4cRAtx31Iq786U7it++wgGxbtRxf8Udx7zFZsckzXaJMkA7ChG52eSkFxykJeNqsrWH5S+oxNFlD4dzVuwe8DhTSja8xxbR/Z2cOGdCbzR72rgFWhzx2VjBqJzsPLMIQKhO4DGezXehhWwE56YCE+O6c0mKZsfxVrogUvA4HELjVKWmAvtl6UnCh8jYzuVG5WSb/QEVPnP5TmcAnLH1g+s++v6d4s8m0gCw1fV5/SITLq9mhho8K3+7EPYTU8IU1bLhdxO5Nyt8C8ssinQ98Xw9Q==:",
        base: r#""@signature-params": ();created=1618884473;keyid="test-key-rsa-pss";nonce="b3k2pp5k7z-50gnwp.yemd""#,
    },
    Published {
        algorithm: "rsa-pss-sha512",
        key: PSS_KEY,
        input: r#"sig-b22=("@authority" "content-digest" "@query-param";name="Pet");created=1618884473;keyid="test-key-rsa-pss";tag="header-example""#,
        signature: "sig-b22=:LjbtqUbfmvjj5C5kr1Ugj4PmLYvx9wVjZvD9GsTT4F7GrcQEdJzgI9qHxICagShLRiLMlAJjtq6N4CDfKtjvuJyE5qH7KT8UCMkSowOB4+ECxCmT8rtAmj/0PIXxi0A0nxKyB09RNrCQibbUjsLS/2YyFYXEu4TRJQzRw1rLEuEfY17SARYhpTlaqwZVtR8NV7+4UKkjqpcAoFqWFQh62s7Cl+H2fjBSpqfZUJcsIk4N6wiKYd4je2U/lankenQ99PZfB4jY3I5rSV2DSBVkSFsURIjYErOs0tFTQosMTAoxk//0RoKUqiYY8Bh0aaUEb0rQl3/XaVe4bXTugEjHSw==:",
        base: r#""@authority": example.com
"content-digest": sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:
"@query-param";name="Pet": dog
"@signature-params": ("@authority" "content-digest" "@query-param";name="Pet");created=1618884473;keyid="test-key-rsa-pss";tag="header-example""#,
    },
    Published {
        algorithm: "rsa-pss-sha512",
        key: PSS_KEY,
        input: r#"sig-b23=("date" "@method" "@path" "@query" "@authority" "content-type" "content-digest" "content-length");created=1618884473;keyid="test-key-rsa-pss""#,
        signature: "sig-b23=:bbN8oArOxYoyylQQUU6QYwrTuaxLwjAC9fbY2F6SVWvh0yBiMIRGOnMYwZ/5MR6fb0Kh1rIRASVxFkeGt683+qRpRRU5p2voTp768ZrCUb38K0fUxN0O0iC59DzYx8DFll5GmydPxSmme9v6ULbMFkl+V5B1TP/yPViV7KsLNmvKiLJH1pFkh/aYA2HXXZzNBXmIkoQoLd7YfW91kE9o/CCoC1xMy7JA1ipwvKvfrs65ldmlu9bpG6A9BmzhuzF8Eim5f8ui9eH8LZH896+QIF61ka39VBrohr9iyMUJpvRX2Zbhl5ZJzSRxpJyoEZAFL2FUo5fTIztsDZKEgM4cUA==:",
        base: r#""date": Tue, 20 Apr 2021 02:07:55 GMT
"@method": POST
"@path": /foo
"@query": ?param=Value&Pet=dog
"@authority": example.com
"content-type": application/json
"content-digest": sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:
"content-length": 18
"@signature-params": ("date" "@method" "@path" "@query" "@authority" "content-type" "content-digest" "content-length");created=1618884473;keyid="test-key-rsa-pss""#,
    },
    Published {
        algorithm: "hmac-sha256",
        key: SHARED_KEY,
        input: r#"sig-b25=("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret""#,
        signature: "sig-b25=:pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=:",
        base: r#""date": Tue, 20 Apr 2021 02:07:55 GMT
"@authority": example.com
"content-type": application/json
"@signature-params": ("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret""#,
    },
    Published {
        algorithm: "ed25519",
        key: ED25519_KEY,
        input: r#"sig-b26=("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519""#,
        signature: "sig-b26=:wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==:",
        base: r#""date": Tue, 20 Apr 2021 02:07:55 GMT
"@method": POST
"@path": /foo
"@authority": example.com
"content-type": application/json
"content-length": 18
"@signature-params": ("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519""#,
    },
];

fn key(algorithm: &str, text: &str) -> KeyMaterial {
    let (_, algorithm) = ALGORITHMS.iter().find(|(n, _)| *n == algorithm).unwrap();
    match algorithm {
        Algorithm::Hmac(_) => {
            let secret = BASE64.decode(text.as_bytes()).unwrap();
            KeyMaterial::new(*algorithm, &secret).unwrap()
        }
        _ => {
            let loaded = load(*algorithm, PublicForm::Pem, text.as_bytes());
            loaded.unwrap().material
        }
    }
}

fn verifies(key: &KeyMaterial, input: &Input, request: &Request) -> bool {
    let mut running = key.begin();
    running.update(&base(input, request).unwrap());
    running.finish().verify(&input.signature)
}

fn one(input: &str, signature: &str) -> Result<Input, Fault> {
    let mut found = parse(&[input.as_bytes()], &[signature.as_bytes()])?;
    assert_eq!(found.len(), 1);
    Ok(found.remove(0))
}

#[test]
fn the_requests_of_appendix_b2() {
    let request = test_request();
    for published in PUBLISHED {
        let input = one(published.input, published.signature).unwrap();
        assert_eq!(input.created, Some(1618884473));
        assert!(input.key_id.as_deref().unwrap().starts_with("test-"));
        let text = String::from_utf8(base(&input, &request).unwrap()).unwrap();
        assert_eq!(text, published.base);
        let key = key(published.algorithm, published.key);
        assert!(verifies(&key, &input, &request), "{}", published.input);
        // Another method, path, header or parameter of the query.
        let mut other = test_request();
        other.method = "PUT";
        other.path = "/bar";
        other.query = Some("param=Value&Pet=cat");
        other.uri = Some("https://example.org/foo?param=Value&Pet=dog");
        let covered = !input.components.is_empty();
        assert_eq!(verifies(&key, &input, &other), !covered);
    }
    let input = one(PUBLISHED[1].input, PUBLISHED[1].signature).unwrap();
    assert_eq!(input.tag.as_deref(), Some("header-example"));
    assert!(input.covers("@authority") && input.covers("content-digest"));
    assert!(!input.covers("@query-param") && !input.covers("@method"));
    let input = one(PUBLISHED[0].input, PUBLISHED[0].signature).unwrap();
    assert_eq!(input.nonce.as_deref(), Some("b3k2pp5k7z-50gnwp.yemd"));
}

/// RFC 9421, B.3: a proxy signed it, with ECDSA.
#[test]
fn the_request_of_appendix_b3() {
    const CERTIFICATE: &str = ":MIIBqDCCAU6gAwIBAgIBBzAKBggqhkjOPQQDAjA6MRswGQYDVQQKDBJMZXQncyBBdXRoZW50aWNhdGUxGzAZBgNVBAMMEkxBIEludGVybWVkaWF0ZSBDQTAeFw0yMDAxMTQyMjU1MzNaFw0yMTAxMjMyMjU1MzNaMA0xCzAJBgNVBAMMAkJDMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE8YnXXfaUgmnMtOXU/IncWalRhebrXmckC8vdgJ1p5Be5F/3YC8OthxM4+k1M6aEAEFcGzkJiNy6J84y7uzo9M6NyMHAwCQYDVR0TBAIwADAfBgNVHSMEGDAWgBRm3WjLa38lbEYCuiCPct0ZaSED2DAOBgNVHQ8BAf8EBAMCBsAwEwYDVR0lBAwwCgYIKwYBBQUHAwIwHQYDVR0RAQH/BBMwEYEPYmRjQGV4YW1wbGUuY29tMAoGCCqGSM49BAMCA0gAMEUCIBHda/r1vaL6G3VliL4/Di6YK0Q6bMjeSkC3dFCOOB8TAiEAx/kHSB4urmiZ0NX5r5XarmPk0wmuydBVoU4hBVZ1yhk=:";
    let request = Request {
        uri: Some("https://service.internal.example/foo?param=Value&Pet=dog"),
        headers: vec![("client-cert", CERTIFICATE)],
        ..test_request()
    };
    let input = one(
        r#"ttrp=("@path" "@query" "@method" "@authority" "client-cert");created=1618884473;keyid="test-key-ecc-p256""#,
        "ttrp=:xVMHVpawaAC/0SbHrKRs9i8I3eOs5RtTMGCWXm/9nvZzoHsIg6Mce9315T6xoklyy0yzhD9ah4JHRwMLOgmizw==:",
    )
    .unwrap();
    assert!(verifies(
        &key("ecdsa-p256-sha256", P256_KEY),
        &input,
        &request
    ));
    assert!(!verifies(&key("ed25519", ED25519_KEY), &input, &request));
}

/// RFC 9421, B.4: what may happen to a request on its way.
#[test]
fn the_requests_of_appendix_b4() {
    let input = one(
        r#"transform=("@method" "@path" "@authority" "accept");created=1618884473;keyid="test-key-ed25519""#,
        "transform=:ZT1kooQsEHpZ0I1IjCqtQppOmIqlJPeo7DHR3SoMn0s5JZ1eRGS0A+vyYP9t/LXlh5QMFFQ6cpLt2m0pmj3NDA==:",
    )
    .unwrap();
    let request = |accept: &[&'static str]| Request {
        method: "GET",
        uri: Some("https://example.org/demo?name1=Value1&Name2=value2"),
        path: "/demo",
        query: Some("name1=Value1&Name2=value2"),
        headers: accept.iter().map(|value| ("accept", *value)).collect(),
    };
    let key = key("ed25519", ED25519_KEY);
    for good in [
        &["application/json", "*/*"][..],
        &["application/json, */*"],
        &[" application/json\t", "*/* "],
    ] {
        assert!(verifies(&key, &input, &request(good)), "{good:?}");
    }
    let mut added = request(&["application/json", "*/*"]);
    added.query = Some("name1=Value1&Name2=value2&param=added");
    assert!(verifies(&key, &input, &added));
    assert!(!verifies(
        &key,
        &input,
        &request(&["*/*", "application/json"])
    ));
    let mut post = request(&["application/json", "*/*"]);
    post.method = "POST";
    assert!(!verifies(&key, &input, &post));
}

fn line(component: &str, request: &Request) -> Result<String, Fault> {
    let input = one(&format!("s=({component})"), "s=:AA==:")?;
    let base = String::from_utf8(base(&input, request)?).unwrap();
    let (line, _) = base.split_once('\n').unwrap();
    Ok(line.split_once(": ").unwrap().1.to_owned())
}

/// RFC 9421, 2.2 and 2.1.
#[test]
fn derived_components() {
    let request = Request {
        method: "POST",
        uri: Some("HTTPS://WWW.Example.com:443/path?param=value"),
        path: "/path",
        query: Some("param=value"),
        headers: vec![
            ("x-empty", ""),
            ("x-list", " one"),
            ("x-list", "two , three "),
        ],
    };
    for (component, value) in [
        ("\"@method\"", "POST"),
        (
            "\"@target-uri\"",
            "HTTPS://WWW.Example.com:443/path?param=value",
        ),
        ("\"@authority\"", "www.example.com"),
        ("\"@scheme\"", "https"),
        ("\"@request-target\"", "/path?param=value"),
        ("\"@path\"", "/path"),
        ("\"@query\"", "?param=value"),
        ("\"x-empty\"", ""),
        ("\"x-list\"", "one, two , three"),
    ] {
        assert_eq!(
            line(component, &request).as_deref(),
            Ok(value),
            "{component}"
        );
    }
    let bare = Request {
        uri: Some("http://example.com:8080"),
        path: "",
        query: None,
        ..test_request()
    };
    for (component, value) in [
        ("\"@authority\"", "example.com:8080"),
        ("\"@scheme\"", "http"),
        ("\"@request-target\"", "/"),
        ("\"@path\"", "/"),
        ("\"@query\"", "?"),
    ] {
        assert_eq!(line(component, &bare).as_deref(), Ok(value), "{component}");
    }
    for uri in [
        None,
        Some("example.com"),
        Some("https:///x"),
        Some("ftp://example.com/"),
    ] {
        let request = Request {
            uri,
            ..test_request()
        };
        assert!(line("\"@authority\"", &request).is_err(), "{uri:?}");
    }
}

/// RFC 9421, 2.2.8.
#[test]
fn parameters_of_the_query() {
    let request = Request {
        query: Some(
            "var=this%20is%20a%20big%0Amultiline%20value&bar=with+plus+whitespace&fa%C3%A7ade%22%3A%20=something&baz=batman&empty=&none&twice=1&twice=1&*-._=*-._~",
        ),
        ..test_request()
    };
    for (name, value) in [
        ("var", "this%20is%20a%20big%0Amultiline%20value"),
        ("bar", "with%20plus%20whitespace"),
        ("fa%C3%A7ade%22%3A%20", "something"),
        ("baz", "batman"),
        ("empty", ""),
        ("none", ""),
        ("*-._", "*-._%7E"),
    ] {
        let component = format!("\"@query-param\";name=\"{name}\"");
        assert_eq!(line(&component, &request).as_deref(), Ok(value), "{name}");
    }
    for name in ["twice", "nothing", "", "VAR", "va%72"] {
        let component = format!("\"@query-param\";name=\"{name}\"");
        assert!(line(&component, &request).is_err(), "{name}");
    }
    let request = Request {
        query: Some("a=%FF"),
        ..test_request()
    };
    assert!(line("\"@query-param\";name=\"a\"", &request).is_err());
}

#[test]
fn what_is_not_supported_is_refused() {
    let request = test_request();
    for component in [
        "\"@status\"",
        "\"@unknown\"",
        "\"@signature-params\"",
        "\"@query-param\"",
        "\"@query-param\";name=Pet",
        "\"@query-param\";name=\"Pet\";req",
        "\"@method\";req",
        "\"date\";sf",
        "\"date\";bs",
        "\"date\";tr",
        "\"date\";req",
        "\"date\";key=\"a\"",
        "\"date\";name=\"a\"",
        "\"Date\"",
        "\"da te\"",
        "\"date:\"",
        "\"\"",
        "\"x-absent\"",
        "date",
        "1",
        ":AA==:",
        "\"date\" \"date\"",
    ] {
        assert!(line(component, &request).is_err(), "{component}");
    }
    let mut request = test_request();
    request.headers = vec![("date", "a\n\"@method\": GET")];
    assert!(line("\"date\"", &request).is_err());
}

#[test]
fn fields_that_are_no_signature() {
    for (input, signature) in [
        ("", ""),
        ("s=()", "t=:AA==:"),
        ("s=()", "s=AA"),
        ("s=()", "s=\"AA\""),
        ("s=()", "s=(:AA==:)"),
        ("s=1", "s=:AA==:"),
        ("s", "s=:AA==:"),
        ("s=(", "s=:AA==:"),
        ("s=();created=\"1\"", "s=:AA==:"),
        ("s=();created=1.5", "s=:AA==:"),
        ("s=();keyid=1", "s=:AA==:"),
        ("s=();alg=token", "s=:AA==:"),
        ("S=()", "S=:AA==:"),
        ("s=() x", "s=:AA==:"),
        ("s=()", "s=:A A=:"),
        ("s=();a=@1", "s=:AA==:"),
    ] {
        let found = parse(&[input.as_bytes()], &[signature.as_bytes()]);
        assert!(found.is_err(), "{input} {signature}");
    }
    assert_eq!(parse(&[], &[b"s=:AA==:"]).unwrap_err(), Fault::Missing);
    assert_eq!(parse(&[b"s=()"], &[]).unwrap_err(), Fault::Missing);
    let long = format!("s=();nonce=\"{}\"", "a".repeat(LONGEST_FIELD));
    assert!(parse(&[long.as_bytes()], &[b"s=:AA==:"]).is_err());
    let many = format!(
        "s=({})",
        (0..33).map(|n| format!("\"x{n}\" ")).collect::<String>()
    );
    assert!(parse(&[many.as_bytes()], &[b"s=:AA==:"]).is_err());
}

#[test]
fn several_signatures() {
    let labels: Vec<&str> = vec!["a", "b", "c", "d", "e"];
    let inputs: Vec<String> = labels.iter().map(|l| format!("{l}=()")).collect();
    let signatures: Vec<String> = labels.iter().map(|l| format!("{l}=:AA==:")).collect();
    let inputs: Vec<&[u8]> = inputs.iter().map(String::as_bytes).collect();
    let signatures: Vec<&[u8]> = signatures.iter().map(String::as_bytes).collect();
    // In separate fields; a label without its other half does not count.
    let found = parse(&inputs, &signatures[..4]).unwrap();
    let found: Vec<&str> = found.iter().map(|input| input.label.as_str()).collect();
    assert_eq!(found, labels[..4]);
    let fault = parse(&inputs, &signatures).unwrap_err();
    assert_eq!(fault, Fault::TooManyCandidates { found: 5 });
}

/// However it was written, what is signed is its one serialisation (RFC 9421, 2.3).
#[test]
fn parameters_are_signed_in_their_order() {
    let written = "s=(  \"date\"   \"@path\" );nonce=\"a\\\"b\";  x=?1;created=5;expires=6";
    let input = one(written, "s=:AA==:").unwrap();
    assert_eq!((input.created, input.expires), (Some(5), Some(6)));
    let base = String::from_utf8(base(&input, &test_request()).unwrap()).unwrap();
    let last = base.lines().last().unwrap();
    assert_eq!(
        last,
        r#""@signature-params": ("date" "@path");nonce="a\"b";x;created=5;expires=6"#
    );
}

#[test]
fn the_digest_of_the_body() {
    let check = |header: &[&str], body: &[u8]| {
        let header: Vec<&[u8]> = header.iter().map(|value| value.as_bytes()).collect();
        content_digest(&header, body)
    };
    assert_eq!(check(&[DIGEST], BODY), Ok(()));
    assert_eq!(check(&[DIGEST], b"{}"), Err(Fault::Digest));
    // RFC 9530, B.1 and B.2.
    const WORLD: &str = "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:";
    const NOTHING: &str = "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:";
    assert_eq!(check(&[WORLD], b"{\"hello\": \"world\"}\n"), Ok(()));
    assert_eq!(check(&[NOTHING], b""), Ok(()));
    // Unknown ones do not count; every known one does.
    assert!(check(&["md5=:AAAA:, ", DIGEST], BODY).is_err());
    assert_eq!(check(&["md5=:AAAA:", DIGEST], BODY), Ok(()));
    assert_eq!(check(&[DIGEST, WORLD], BODY), Err(Fault::Digest));
    for bad in [
        "md5=:AAAA:",
        "",
        "sha-512",
        "sha-512=1",
        "sha-512=(:AAAA:)",
        "SHA-512=:AAAA:",
        "sha-256=::",
        "sha-256=:RK/0:",
    ] {
        assert!(check(&[bad], BODY).is_err(), "{bad}");
    }
    assert!(matches!(check(&[], BODY), Err(Fault::Absent { .. })));
}
