//! Callbacks: what providers send, really signed, and what others would like to pass for it.

use std::net::IpAddr;

use aws_lc_rs::{digest, hmac};
use bytes::Bytes;
use data_encoding::{BASE64, HEXLOWER};
use http::Method;

use crate::listener::Head;
use crate::message::{Headers, SourceName};
use crate::service::simulation::sources::{KEYS, LARGE, Scheme};
use crate::service::simulation::world::{Dice, START};

pub const THINGS: [&str; 3] = ["cart", "card", "coin"];

/// What a callback is, and so what must become of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Genuine,
    /// Signed with a key of nobody's, or of one that is over.
    Forged(Forgery),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forgery {
    OtherKey,
    RetiredKey,
    Unsigned,
    /// Signed, and then changed.
    Altered,
    /// Signed a day ago, or a day from now.
    Stale,
    Early,
}

#[derive(Clone, Debug)]
pub struct Callback {
    pub number: usize,
    pub scheme: Scheme,
    pub source: SourceName,
    pub kind: Kind,
    /// The provider's id of the event.
    pub id: String,
    pub order: String,
    pub thing: &'static str,
    pub created: u64,
    pub amount: u64,
    pub body: Bytes,
    /// Another genuine one has its id and another body.
    pub contested: bool,
}

impl Callback {
    /// Unlike any other of the scenario.
    pub fn fresh(dice: &Dice, number: usize, scheme: Scheme, kind: Kind) -> Callback {
        let mut callback = Callback {
            number,
            scheme,
            source: SourceName::new(scheme.provider()),
            kind,
            id: format!("evt_{number}"),
            order: format!("order {number}"),
            thing: dice.one_of(&THINGS),
            created: START.as_secs() + dice.from(0, 20),
            amount: dice.from(1, 2 * LARGE),
            body: Bytes::new(),
            contested: false,
        };
        callback.write(dice);
        callback
    }

    /// With another body, and the same id.
    pub fn contradicting(&self, dice: &Dice, number: usize) -> Callback {
        let mut other = Callback {
            number,
            amount: self.amount + 1,
            contested: true,
            ..self.clone()
        };
        other.write(dice);
        other
    }

    /// With another id, about the same and of the same content.
    pub fn twin(&self, dice: &Dice, number: usize) -> Callback {
        let mut other = Callback {
            number,
            id: format!("evt_{number}"),
            ..self.clone()
        };
        other.write(dice);
        other
    }

    fn write(&mut self, dice: &Dice) {
        let (id, number, created) = (&self.id, self.number, self.created);
        let (thing, order, amount) = (self.thing, &self.order, self.amount);
        let pad = "x".repeat(match dice.below(8) {
            0 => dice.below(20_000),
            _ => dice.below(400),
        });
        self.body = format!(
            r#"{{"id":"{id}","type":"payment.paid","event":"payment.paid","created":{created},"order":"{order}","status":"paid","amount":{amount},"thing":"{thing}","data":{{"id":"{id}"}},"number":{number},"pad":"{pad}"}}"#
        )
        .into();
    }

    /// As it goes over the wire at a moment of the provider's clock. `earlier`: signed with the key
    /// before the present one, which still holds.
    pub fn request(&self, now_secs: u64, earlier: bool) -> (Head, Bytes) {
        let mut key = KEYS[usize::from(earlier)].to_owned();
        let (mut moment, mut body) = (now_secs, self.body.clone());
        let mut signed = true;
        match self.kind {
            Kind::Genuine => {}
            Kind::Forged(Forgery::OtherKey) => {
                key = "whsec_c29tZSBrZXkgb2Ygbm9ib2R5J3MgYXQgYWxsISE=".to_owned();
            }
            Kind::Forged(Forgery::RetiredKey) => key = KEYS[2].to_owned(),
            Kind::Forged(Forgery::Unsigned) => signed = false,
            Kind::Forged(Forgery::Altered) => {
                let text = String::from_utf8(body.to_vec()).unwrap();
                body = text.replace("\"paid\"", "\"PAID\"").into();
            }
            Kind::Forged(Forgery::Stale) => moment -= 86_400,
            Kind::Forged(Forgery::Early) => moment += 86_400,
        }
        let path = format!("/{}", self.scheme.provider());
        let mut headers = Headers::new();
        headers.push("content-type", "application/json");
        headers.push("host", "gateway.example");
        if signed {
            self.sign(&mut headers, &key, moment, &path);
        }
        let head = Head {
            method: Method::POST,
            path,
            query: None,
            headers,
            peer: IpAddr::from([192, 0, 2, 7]),
            length: Some(body.len() as u64),
        };
        (head, body)
    }

    /// As the provider's own documents say; nothing of the verifier is used.
    fn sign(&self, headers: &mut Headers, key: &str, moment: u64, path: &str) {
        let body = self.body.as_ref();
        let mac = |algorithm, key: &[u8], parts: &[&[u8]]| {
            let mut context = hmac::Context::with_key(&hmac::Key::new(algorithm, key));
            parts.iter().for_each(|part| context.update(part));
            context.sign().as_ref().to_vec()
        };
        let text = key.as_bytes();
        let moment = moment.to_string();
        match self.scheme {
            Scheme::Stripe => {
                let parts = [moment.as_bytes(), b".", body];
                let mac = HEXLOWER.encode(&mac(hmac::HMAC_SHA256, text, &parts));
                headers.push("stripe-signature", format!("t={moment},v1={mac}"));
            }
            Scheme::StandardWebhooks => {
                let key = BASE64.decode(&text["whsec_".len()..]).unwrap();
                let parts = [self.id.as_bytes(), b".", moment.as_bytes(), b".", body];
                let mac = BASE64.encode(&mac(hmac::HMAC_SHA256, &key, &parts));
                headers.push("webhook-id", self.id.clone());
                headers.push("webhook-timestamp", moment);
                headers.push("webhook-signature", format!("v1,{mac}"));
            }
            Scheme::GenericHmac => {
                let of_body = HEXLOWER.encode(digest::digest(&digest::SHA256, body).as_ref());
                let lines = [&self.id, &moment, "POST", path, &of_body].join("\n");
                let mac = HEXLOWER.encode(&mac(hmac::HMAC_SHA256, text, &[lines.as_bytes()]));
                headers.push("x-event-id", self.id.clone());
                headers.push("x-timestamp", moment);
                headers.push("x-event-type", "payment.paid");
                headers.push("x-signature", format!("v1={mac}"));
            }
            Scheme::Paystack => {
                let mac = HEXLOWER.encode(&mac(hmac::HMAC_SHA512, text, &[body]));
                headers.push("x-paystack-signature", mac);
            }
            Scheme::GitHub => {
                let mac = HEXLOWER.encode(&mac(hmac::HMAC_SHA256, text, &[body]));
                headers.push("x-github-event", "payment");
                headers.push("x-github-delivery", self.id.clone());
                headers.push("x-hub-signature-256", format!("sha256={mac}"));
            }
        }
    }
}

/// What can be done to this provider's callbacks.
pub fn forgery(dice: &Dice, scheme: Scheme) -> Forgery {
    let all = [
        Forgery::OtherKey,
        Forgery::RetiredKey,
        Forgery::Unsigned,
        Forgery::Altered,
        Forgery::Stale,
        Forgery::Early,
    ];
    match scheme.dated() {
        true => dice.one_of(&all),
        false => dice.one_of(&all[..4]),
    }
}
