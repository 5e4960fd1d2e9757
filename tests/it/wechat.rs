//! WeChat Pay's certificates: they come encrypted, and are asked for with a signed request.

use std::sync::Arc;

use aws_lc_rs::aead;
use data_encoding::BASE64;
use rcgen::{KeyPair, SigningKey};

use crate::harness::sign::{certificate, of as fields, rsa};
use crate::harness::web::{Say, say};
use crate::harness::{App, Gateway, Site, Web, now};

/// One of several merchants: WeChat Pay has platform certificates for each.
struct Merchant {
    mchid: &'static str,
    apiv3: &'static [u8; 32],
    serial: &'static str,
    own: KeyPair,
    platform: KeyPair,
}

/// AES-256-GCM as WeChat Pay writes it: the tag behind the text, in base64.
fn sealed(key: &[u8; 32], text: &str, nonce: &[u8; 12], aad: &str) -> String {
    let key = aead::UnboundKey::new(&aead::AES_256_GCM, key).unwrap();
    let key = aead::LessSafeKey::new(key);
    let nonce = aead::Nonce::assume_unique_for_key(*nonce);
    let mut text = text.as_bytes().to_vec();
    key.seal_in_place_append_tag(nonce, aead::Aad::from(aad), &mut text)
        .unwrap();
    BASE64.encode(&text)
}

/// `name="value"` in an Authorization field.
fn quoted<'a>(field: &'a str, name: &str) -> &'a str {
    let (_, rest) = field.split_once(&format!("{name}=\"")).unwrap();
    rest.split_once('"').unwrap().0
}

impl Merchant {
    fn new(mchid: &'static str, apiv3: &'static [u8; 32], serial: &'static str) -> Merchant {
        let (own, platform) = (rsa(), rsa());
        Merchant {
            mchid,
            apiv3,
            serial,
            own,
            platform,
        }
    }

    fn bind(&self, site: &Site, forward: &str) {
        let id = self.mchid;
        let merchant = site.key(&format!("{id}-key"), self.own.serialize_pem());
        let apiv3 = site.key(&format!("{id}-apiv3"), self.apiv3);
        let more = format!(
            "[config]\nmchid = \"{id}\"\nmerchant_serial = \"3775B6A45ACD\"\n[secrets]\nmerchant_key = \"{merchant}\"\napiv3 = \"{apiv3}\"\n"
        );
        site.bind(id, "wechatpay-v3", forward, &more);
    }

    /// What a request for certificates signs, and what comes back:
    /// https://pay.weixin.qq.com/doc/v3/merchant/4012551764
    fn certificates(&self, proof: &str) -> Say {
        let [at, nonce] = ["timestamp", "nonce_str"].map(|name| quoted(proof, name));
        let signed = format!("GET\n/v3/certificates\n{at}\n{nonce}\n\n");
        let signature = BASE64.decode(quoted(proof, "signature").as_bytes());
        if signature.unwrap() != self.own.sign(signed.as_bytes()).unwrap() {
            return say(401, r#"{"code":"SIGN_ERROR"}"#);
        }
        let pem = certificate(&self.platform);
        let list = serde_json::json!({ "data": [{
            "serial_no": self.serial,
            "encrypt_certificate": {
                "algorithm": "AEAD_AES_256_GCM", "nonce": "0123456789ab",
                "associated_data": "certificate",
                "ciphertext": sealed(self.apiv3, &pem, b"0123456789ab", "certificate"),
            },
        }] });
        say(200, list.to_string())
    }

    fn send(&self, gateway: &Gateway, id: &str, serial: &str) -> u16 {
        let at = now().to_string();
        let paid = r#"{"out_trade_no":"A-10017","trade_state":"SUCCESS","amount":{"total":2599}}"#;
        let body = serde_json::json!({
            "id": id, "resource_type": "encrypt-resource", "event_type": "TRANSACTION.SUCCESS",
            "resource": {
                "algorithm": "AEAD_AES_256_GCM", "nonce": "ba9876543210", "associated_data": "",
                "ciphertext": sealed(self.apiv3, paid, b"ba9876543210", ""),
            },
        })
        .to_string();
        let message = format!("{at}\nnonce-{id}\n{body}\n");
        let signature = self.platform.sign(message.as_bytes()).unwrap();
        let headers = fields(&[
            ("Wechatpay-Timestamp", &at),
            ("Wechatpay-Nonce", &format!("nonce-{id}")),
            ("Wechatpay-Serial", serial),
            ("Wechatpay-Signature", &BASE64.encode(&signature)),
        ]);
        let target = format!("/{}", self.mchid);
        gateway
            .client()
            .post(&target, &headers, body.as_bytes())
            .status
    }
}

#[test]
fn wechat_pays_certificates_are_fetched_with_a_signed_request_for_each_merchant() {
    let (app, mut web) = (App::start(), Web::new());
    let one = Merchant::new(
        "1900000109",
        b"callseal-apiv3-test-key-00000001",
        "5157F09EFDC0",
    );
    let other = Merchant::new(
        "1900000110",
        b"callseal-apiv3-test-key-00000002",
        "5157F09EFDC1",
    );
    let (one, other) = (Arc::new(one), Arc::new(other));
    let answering = [one.clone(), other.clone()];
    web.host(&["api.mch.weixin.qq.com"], move |asked| {
        let proof = asked.header("authorization");
        assert!(proof.starts_with("WECHATPAY2-SHA256-RSA2048 "));
        let asking = quoted(proof, "mchid").to_owned();
        let merchant = answering.iter().find(|m| m.mchid == asking).unwrap();
        merchant.certificates(proof)
    });
    let site = Site::with_settings(&web.settings());
    one.bind(&site, &app.url("/"));
    other.bind(&site, &app.url("/"));
    let gateway = site.start();
    for merchant in [&one, &other] {
        let id = merchant.mchid;
        assert_eq!(
            merchant.send(&gateway, &format!("EV-{id}-1"), merchant.serial),
            200
        );
        assert_eq!(
            merchant.send(&gateway, &format!("EV-{id}-2"), merchant.serial),
            200
        );
        assert_eq!(merchant.send(&gateway, "EV-3", "5157F09EFDC9"), 401);
        assert_eq!(gateway.reasons()[0], "key_unknown");
    }
    let asked = web.lines();
    assert_eq!(asked, vec!["GET api.mch.weixin.qq.com/v3/certificates"; 2]);
    app.wait_for(4);
    for merchant in [&one, &other] {
        let pem = merchant.own.serialize_pem();
        let lines: Vec<&str> = pem.lines().skip(1).take(3).collect();
        gateway.keeps_secret(&lines);
        gateway.keeps_secret(&[std::str::from_utf8(merchant.apiv3).unwrap()]);
    }
}
