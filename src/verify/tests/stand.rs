//! Provider files made for one test, and requests to them.

use std::sync::Arc;

use bytes::Bytes;
use http::Method;

use crate::clock::Timestamp;
use crate::message::RawRequest;
use crate::remote::Outbound;
use crate::rule::compile::{compile_provider, rule_for};
use crate::rule::provider::{Example, Provider};
use crate::rule::{Rule, Template};
use crate::verify::evaluate::text;
use crate::verify::example::request;
use crate::verify::identity::{Identity, identify};
use crate::verify::judge::{Judgement, Step, judge};
use crate::verify::payment::Payment;
use crate::verify::scope::{Frame, Scope};
use crate::verify::view::View;
use crate::verify::want::{Known, Want};
use crate::verify::{Keyring, Rejection};

const HEAD: &str = "title = \"T\"\ndocs = \"https://example.com\"\ncategory = \"payments\"\n\
                    evidence = \"documented\"\n";

/// A scheme that asks for nothing but the token, where a test is about what comes after it.
pub const TOKEN: &str = "[signature]\nalgorithm = \"token\"\nweak = \"so it is\"\n\
                         value = \"{header:x-token}\"\n";

pub const TOKEN_KEY: &str = "a token of the test";

/// The moment of every request here.
pub const NOW: u64 = 1_793_491_200;

pub fn provider(text: &str) -> Arc<Provider> {
    let text = format!("{HEAD}{text}");
    match compile_provider("test", &text) {
        Ok((provider, _)) => Arc::new(provider),
        Err(faults) => panic!("{text}\n{faults:?}"),
    }
}

/// Codes of all complaints about a file.
pub fn codes(text: &str) -> Vec<&'static str> {
    match compile_provider("test", &format!("{HEAD}{text}")) {
        Ok((_, remarks)) | Err(remarks) => remarks.iter().map(|r| r.code).collect(),
    }
}

pub fn blank() -> Example {
    Example {
        name: "test".to_owned(),
        rejected: None,
        at: NOW,
        method: Method::POST,
        path: "/".to_owned(),
        query: None,
        headers: Vec::new(),
        body: Bytes::new(),
        keys: Vec::new(),
        config: Default::default(),
        secrets: Default::default(),
        url: None,
        event_id: None,
        event_type: None,
        reply: None,
        payment: Default::default(),
        schemes: Vec::new(),
        action: None,
        remote: Vec::new(),
    }
}

/// A source of one provider, with its keys.
pub struct Stand {
    pub rule: Rule,
    pub keys: Keyring,
    example: Example,
}

impl Stand {
    pub fn new(text: &str, set: impl FnOnce(&mut Example)) -> Stand {
        let provider = provider(text);
        let mut example = blank();
        set(&mut example);
        let rule = rule_for(&provider, &example);
        let keys = Keyring::of_example(&rule, &example).unwrap_or_else(|e| panic!("{e:?}"));
        Stand {
            rule,
            keys,
            example,
        }
    }

    /// With a token as its scheme.
    pub fn with_token(text: &str, set: impl FnOnce(&mut Example)) -> Stand {
        Stand::new(&format!("{text}{TOKEN}"), |example| {
            example.keys = vec![(None, TOKEN_KEY.to_owned())];
            let token = ("x-token".to_owned(), TOKEN_KEY.to_owned());
            example.headers.push(token);
            set(example);
        })
    }

    /// The example's own request with this body.
    pub fn post(&self, body: impl Into<Bytes>) -> RawRequest {
        RawRequest {
            body: body.into(),
            ..request(&self.example)
        }
    }

    pub fn step(&self, request: &RawRequest, known: &Known) -> Result<Step, Rejection> {
        let now = Timestamp::from_secs(NOW);
        judge(&self.rule, &self.keys, request, now, known)
    }

    pub fn judge(&self, request: &RawRequest) -> Result<Judgement, Rejection> {
        match self.step(request, &Known::default())? {
            Step::Done(judgement) => Ok(*judgement),
            Step::Wanted(want) => panic!("{want:?}"),
        }
    }

    /// What it still waits for: the address, and the body of the question.
    pub fn want(&self, request: &RawRequest, known: &Known) -> Want {
        match self.step(request, known) {
            Ok(Step::Wanted(want)) => want,
            other => panic!("{other:?}"),
        }
    }

    pub fn event(&self, request: &RawRequest) -> (Identity, Option<Payment>) {
        match self.judge(request).unwrap() {
            Judgement::Event {
                identity, payment, ..
            } => (identity, payment),
            other @ Judgement::Challenge(_) => panic!("{other:?}"),
        }
    }

    /// `accepted`, `answered`, or the code of the reason.
    pub fn said(&self, request: &RawRequest) -> &'static str {
        super::said(&self.judge(request))
    }

    /// What a template finds in a request.
    pub fn find(
        &self,
        template: &str,
        request: &RawRequest,
        key: Option<&[u8]>,
    ) -> Result<Option<Vec<u8>>, Rejection> {
        let secrets = Default::default();
        let view = View::new(request, &self.rule, &secrets);
        let frame = self.rule.provider.schemes.first().map(Frame::new);
        let scope = Scope {
            key,
            frame: frame.as_ref(),
            ..Scope::of(&view)
        };
        text(&Template::parse(template).unwrap(), &scope)
    }
}

/// `GET https://host/target`.
pub fn line(request: &Outbound) -> String {
    format!(
        "{} https://{}{}",
        request.method, request.host, request.target
    )
}

impl Stand {
    /// Who the event of a request is, whatever its signature.
    pub fn identity(&self, request: &RawRequest) -> Identity {
        let secrets = Default::default();
        let view = View::new(request, &self.rule, &secrets);
        let frame = self.rule.provider.schemes.first().map(Frame::new);
        let scope = Scope {
            frame: frame.as_ref(),
            ..Scope::of(&view)
        };
        identify(&self.rule, &scope).unwrap()
    }
}
