//! Under which names fetched keys are kept, and keys that are none.

use super::stand::Stand;
use crate::message::SourceName;
use crate::rule::provider::Example;
use crate::verify::Keyring;
use crate::verify::keys::KeyFault;
use crate::verify::want::{Known, Want};

const ROOT: &str = include_str!("../testdata/rsa2048.crt.pem");

fn file(algorithm: &str, trust: &str) -> String {
    let weak = match algorithm {
        "rsa-sha1" => "weak = \"so it is\"\n",
        _ => "",
    };
    let name = match trust {
        "web" => "name = \"example.com\"\n",
        _ => "",
    };
    format!(
        "[signature]\nalgorithm = \"{algorithm}\"\n{weak}value = \"{{header:x-sig}}\"\n\
         encoding = \"base64\"\nmessage = \"{{body}}\"\n[key]\nshared = false\n\
         [key.certificate_url]\nurl = \"{{header:x-cert}}\"\nhosts = [\"sns.example.com\"]\n\
         path = \"/\"\ntrust = \"{trust}\"\n{name}"
    )
}

fn stand(algorithm: &str, trust: &str, set: impl FnOnce(&mut Example)) -> Stand {
    Stand::new(&file(algorithm, trust), |example| {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        example.headers = vec![
            header("x-sig", "AAAA"),
            header("x-cert", "https://sns.example.com/one.pem"),
        ];
        set(example);
    })
}

/// The name under which the certificate of a request is kept.
fn name(stand: &Stand) -> String {
    match stand.want(&stand.post("{}"), &Known::default()) {
        Want::Keys { name, .. } => name,
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_certificate_is_kept_apart_for_each_digest_and_each_trust() {
    let keyed = |example: &mut Example| example.keys = vec![(None, ROOT.to_owned())];
    let names = [
        name(&stand("rsa-sha256", "host", |_| {})),
        // What was loaded as a key for SHA-1 would verify nothing else, or worse.
        name(&stand("rsa-sha1", "host", |_| {})),
        name(&stand("rsa-sha512", "host", |_| {})),
        // What the host alone vouches for is not what a root vouches for.
        name(&stand("rsa-sha256", "web", |_| {})),
        name(&stand("rsa-sha256", "keys", keyed)),
        // Other roots, other trust.
        name(&stand("rsa-sha256", "web", keyed)),
    ];
    for (at, one) in names.iter().enumerate() {
        assert!(
            one.ends_with("certificate https://sns.example.com/one.pem"),
            "{one}"
        );
        assert!(!names[..at].contains(one), "{one}");
    }
    assert_eq!(names[0], name(&stand("rsa-sha256", "host", |_| {})));
}

#[test]
fn sources_and_schemes_keep_their_keys_apart() {
    let text = file("rsa-sha256", "host");
    let provider = super::stand::provider(&text);
    let tag = |source: &str| {
        let example = super::stand::blank();
        let mut rule = crate::rule::compile::rule_for(&provider, &example);
        rule.name = SourceName::new(source);
        Keyring::of_example(&rule, &example).unwrap().schemes[0]
            .tag
            .clone()
    };
    assert_ne!(tag("a"), tag("b"));
    assert_eq!(tag("a"), tag("a"));
    // Two uses of one certificate in one file, as at Amazon SNS.
    let one = |version: &str, algorithm: &str| {
        file(algorithm, "host")
            .replace("[signature]", &format!("[[signature]]\nname = \"v{version}\"\nwhen = [{{ is = \"{{json:/v}}\", equals = \"{version}\" }}]"))
            .replace("[key]", "[signature.key]")
            .replace("[key.", "[signature.key.")
    };
    let both = Stand::new(
        &(one("1", "rsa-sha1") + &one("2", "rsa-sha256")),
        |example| {
            example.headers = vec![
                ("x-sig".to_owned(), "AAAA".to_owned()),
                (
                    "x-cert".to_owned(),
                    "https://sns.example.com/one.pem".to_owned(),
                ),
            ];
        },
    );
    let of = |version: &str| {
        let body = format!(r#"{{"v":"{version}"}}"#);
        match both.want(&both.post(body), &Known::default()) {
            Want::Keys { name, scheme, .. } => (scheme, name),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((of("1").0, of("2").0), (0, 1));
    assert_ne!(of("1").1, of("2").1);
}

#[test]
fn pem_is_no_shared_secret_whatever_the_algorithm() {
    let spki = include_str!("../testdata/rsa2048.pub.pem");
    let keyed = |signature: &str, text: &str| {
        let file = format!("[signature]\nvalue = \"{{header:x-sig}}\"\n{signature}");
        let provider = super::stand::provider(&file);
        let mut example = super::stand::blank();
        example.keys = vec![(None, text.to_owned())];
        let rule = crate::rule::compile::rule_for(&provider, &example);
        Keyring::of_example(&rule, &example)
    };
    let key = "[key]\ncodec = \"utf8\"\n";
    let hmac =
        format!("algorithm = \"hmac-sha256\"\nencoding = \"hex\"\nmessage = \"{{body}}\"\n{key}");
    let md5 = format!(
        "algorithm = \"md5\"\nweak = \"so\"\nencoding = \"hex\"\nmessage = \"{{body}}{{key}}\"\n{key}"
    );
    let jws = format!("algorithm = \"jws\"\njws_algorithms = [\"HS256\"]\n{key}").replace(
        "[key]",
        "body_unsigned = true\nbody_unsigned_reason = \"so\"\n[key]",
    );
    let token = "algorithm = \"token\"\nweak = \"so\"\n".to_owned();
    for signature in [hmac, md5, jws, token] {
        for pem in [
            spki,
            ROOT,
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        ] {
            let errors = keyed(&signature, pem).unwrap_err();
            assert_eq!(errors.len(), 1);
            assert_eq!(errors[0].fault, KeyFault::PemAsSecret, "{signature}");
            assert_eq!(errors[0].code(), "key_not_secret");
            assert_eq!(
                errors[0].to_string(),
                "keys[0] (example `test`): this is a key or certificate in PEM, and a shared \
                 secret is needed"
            );
        }
        // Only as it begins: a secret may have dashes.
        assert!(keyed(&signature, "-----a secret of the shop-----").is_ok());
    }
}
