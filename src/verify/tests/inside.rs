//! `[decrypt]`: what is encrypted inside a request. The ciphertexts are OpenSSL's, made with
//! Python's cryptography.

use super::stand::Stand;
use crate::rule::provider::Example;
use crate::verify::Rejection;

const KEY: &str = "0123456789abcdef0123456789abcdef";
/// What is inside: 29 bytes.
const ID: &str = "evt_7";

struct Case {
    algorithm: &'static str,
    key: &'static str,
    nonce: &'static str,
    aad: &'static str,
    data: &'static str,
    /// The same key over `no json`.
    text: &'static str,
    /// Padding that is none: zeros, and 01 02 04. None where there is no padding.
    unpadded: &'static [&'static str],
    /// A key under which the padding happens to look right.
    lucky: &'static str,
}

const CASES: [Case; 5] = [
    Case {
        algorithm: "aes-256-gcm",
        key: KEY,
        nonce: "abcdefghijkl",
        aad: "callback",
        data: "Eu6g2+nfT7YVaK0mKLV6XjFeznHNolVqLJALrK/C8r7bjyiLS+/CL4Ja+fX4",
        text: "B6Pp1biKA3Lahx2JomSfue6ziPlpSnE=",
        unpadded: &[],
        lucky: "0123456789abcdef0123456789abcdeF",
    },
    Case {
        algorithm: "aes-128-gcm",
        key: "0123456789abcdef",
        nonce: "abcdefghijkl",
        aad: "callback",
        data: "nvAV0XGfe8AvROsN1BL9aGd6mYlM2QljttL4SC9U6IkqgRXHNsOw5Xc8dcD5",
        text: "",
        unpadded: &[],
        lucky: "0123456789abcdeF",
    },
    Case {
        algorithm: "aes-256-cbc",
        key: KEY,
        nonce: "ABCDEFGHIJKLMNOP",
        aad: "",
        data: "gwgwjXLY7HFMJZFOjTdtoePoou/nBfe8FmypRfxuv9g=",
        text: "bbKhJP88utnKP/hGDnr+cw==",
        unpadded: &[
            "gwgwjXLY7HFMJZFOjTdtoTbrPVhC4NOYYXgskk6d40c=",
            "gwgwjXLY7HFMJZFOjTdtoXv7868Myn9U+PTjlUWgJFE=",
        ],
        lucky: "wrong key 0000000000000000000163",
    },
    Case {
        algorithm: "aes-128-cbc",
        key: "0123456789abcdef",
        nonce: "ABCDEFGHIJKLMNOP",
        aad: "",
        data: "j907pN5Ie+AJi7JUSvB7L7o75z43eeGp9GSQc0V4Jrs=",
        text: "8z6Z5t0ssXZ7JNrQgibf0w==",
        unpadded: &[
            "j907pN5Ie+AJi7JUSvB7L4P6+q71x2oIN/u5c3GRbm0=",
            "j907pN5Ie+AJi7JUSvB7L2yH7TFLJHWgOpBCqaYAyk0=",
        ],
        lucky: "0123456789abcdeF",
    },
    Case {
        algorithm: "aes-256-ecb",
        key: KEY,
        nonce: "",
        aad: "",
        data: "z5MYIL2tO2/fLIgqfHkQklq0DHl/NeQ4MnF5gMEW1Jk=",
        text: "oUbkqEe4EOtz3ImDX1RTfw==",
        unpadded: &[
            "z5MYIL2tO2/fLIgqfHkQkmJtqo7p/uMbjyvOnf2Gz44=",
            "z5MYIL2tO2/fLIgqfHkQkrvt0T8J7FuX5XTNoybzZyQ=",
        ],
        lucky: "wrong key 0000000000000000000031",
    },
];

impl Case {
    fn stand(&self, form: &str, set: impl FnOnce(&mut Example)) -> Stand {
        let nonce = match self.nonce {
            "" => "",
            _ => "nonce = \"{json:/nonce}\"\n",
        };
        let aad = match self.aad {
            "" => "",
            _ => "aad = \"{json:/aad}\"\n",
        };
        let text = format!(
            "[secrets_optional]\nkey = \"its key\"\n[decrypt]\nalgorithm = \"{}\"\n\
             key = \"{{secret:key}}\"\ndata = \"{{json:/data|from_base64}}\"\n{nonce}{aad}\
             as = \"{form}\"\n[event]\nid = \"{{plain{}}}\"\n",
            self.algorithm,
            if form == "json" { ":/id" } else { "" },
        );
        Stand::with_token(&text, set)
    }

    fn body(&self, data: &str, nonce: &str, aad: &str) -> String {
        serde_json::json!({ "data": data, "nonce": nonce, "aad": aad }).to_string()
    }

    fn good(&self) -> String {
        self.body(self.data, self.nonce, self.aad)
    }
}

fn keyed(key: &str) -> impl FnOnce(&mut Example) {
    let key = key.to_owned();
    move |example| {
        example.secrets.insert("key".to_owned(), key);
    }
}

#[test]
fn what_another_library_encrypted_is_read() {
    for case in &CASES {
        let stand = case.stand("json", keyed(case.key));
        let (identity, _) = stand.event(&stand.post(case.good()));
        assert_eq!(identity.text, ID, "{}", case.algorithm);
        // Without the secret nothing is decrypted, and nothing fails.
        let keyless = case.stand("json", |_| {});
        let (identity, _) = keyless.event(&keyless.post(case.good()));
        assert!(identity.text.starts_with("sha256:"), "{}", case.algorithm);
        // And where nothing is encrypted, neither.
        assert_eq!(
            stand.said(&stand.post(r#"{"nonce":"x","aad":""}"#)),
            "accepted"
        );
    }
}

#[test]
fn whatever_is_wrong_with_it_looks_the_same() {
    for case in &CASES {
        let stand = case.stand("json", keyed(case.key));
        let alike = |stand: &Stand, body: String, what: &str| {
            let found = stand.judge(&stand.post(body));
            assert_eq!(
                found,
                Err(Rejection::Undecipherable),
                "{}: {what}",
                case.algorithm
            );
        };
        let with = |data: &str| case.body(data, case.nonce, case.aad);
        let raw = data_encoding::BASE64.decode(case.data.as_bytes()).unwrap();
        let cut = |end: usize| data_encoding::BASE64.encode(&raw[..end]);
        alike(&stand, with(""), "nothing");
        alike(&stand, with(&cut(16)), "its first block");
        alike(&stand, with(&cut(raw.len() - 1)), "a byte less");
        for bad in case.unpadded {
            alike(&stand, with(bad), "padding that is none");
        }
        if !case.text.is_empty() {
            // Decrypted rightly: what is inside is not what the file says.
            alike(&stand, with(case.text), "no JSON inside");
        }
        for at in [0, raw.len() - 1] {
            let mut spoiled = raw.clone();
            spoiled[at] ^= 0x80;
            // CBC and ECB notice what they notice; a first byte that is no JSON is one of these.
            alike(
                &stand,
                with(&data_encoding::BASE64.encode(&spoiled)),
                "a changed byte",
            );
        }
        if !case.nonce.is_empty() {
            let other: String = case.nonce.chars().rev().collect();
            alike(
                &stand,
                case.body(case.data, &other, case.aad),
                "another nonce",
            );
            alike(
                &stand,
                case.body(case.data, &case.nonce[1..], case.aad),
                "a short nonce",
            );
            alike(&stand, case.body(case.data, "", case.aad), "no nonce");
        }
        if !case.aad.is_empty() {
            alike(
                &stand,
                case.body(case.data, case.nonce, "other"),
                "other data beside it",
            );
            alike(
                &stand,
                case.body(case.data, case.nonce, ""),
                "no data beside it",
            );
        }
        let reversed: String = case.key.chars().rev().collect();
        for key in [
            case.lucky,
            &reversed,
            &case.key[1..],
            "short",
            KEY.repeat(2).as_str(),
        ] {
            alike(&case.stand("json", keyed(key)), case.good(), key);
        }
    }
}

#[test]
fn text_is_taken_as_it_is_decrypted() {
    let cbc = &CASES[2];
    let stand = cbc.stand("text", keyed(cbc.key));
    let (identity, _) = stand.event(&stand.post(cbc.body(cbc.text, cbc.nonce, "")));
    assert_eq!(identity.text, "no json");
}

#[test]
fn a_condition_says_when_there_is_something_to_decrypt() {
    let ecb = &CASES[4];
    let text = "[secrets]\nkey = \"its key\"\n[decrypt]\nalgorithm = \"aes-256-ecb\"\n\
                key = \"{secret:key}\"\ndata = \"{json:/data|from_base64}\"\n\
                when = [{ is = \"{json:/kind}\", equals = \"sealed\" }]\n\
                [event]\nid = [\"{plain:/id}\", \"{json:/id}\"]\n";
    let stand = Stand::with_token(text, keyed(KEY));
    let id = |kind: &str, data: &str| {
        let body = serde_json::json!({ "kind": kind, "data": data, "id": "outer" }).to_string();
        stand.judge(&stand.post(body))
    };
    let named = |judged| match judged {
        Ok(crate::verify::Judgement::Event { identity, .. }) => identity.text,
        other => panic!("{other:?}"),
    };
    assert_eq!(named(id("sealed", ecb.data)), ID);
    assert_eq!(named(id("open", "AAAA")), "outer");
    assert_eq!(id("sealed", "AAAA"), Err(Rejection::Undecipherable));
}
