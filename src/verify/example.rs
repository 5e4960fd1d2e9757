//! A provider file's own proof, carried out: its examples, through the same code as real requests.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use crate::message::{Headers, RawRequest};
use crate::remote::{Outbound, RemoteAnswer};
use crate::rule::compile::rule_for;
use crate::rule::provider::{Example, Provider};
use crate::verify::judge::Judgement;
use crate::verify::keys::{KeyError, Keyring};
use crate::verify::rejection::Rejection;
use crate::verify::verified::Verifier;

/// An example that does not say what its file claims.
#[derive(Debug)]
pub enum ExampleFault {
    Keys(Vec<KeyError>),
    Rejected(Rejection),
    /// It should have been rejected.
    Accepted {
        wanted: String,
    },
    OtherReason {
        wanted: String,
        found: Rejection,
    },
    OtherValue {
        what: &'static str,
        wanted: String,
        found: String,
    },
}

impl fmt::Display for ExampleFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExampleFault::Keys(errors) => {
                f.write_str("its keys cannot be read: ")?;
                errors.iter().try_for_each(|error| write!(f, "{error}; "))
            }
            ExampleFault::Rejected(reason) => write!(f, "rejected: {reason}"),
            ExampleFault::Accepted { wanted } => write!(f, "accepted, and not rejected: {wanted}"),
            ExampleFault::OtherReason { wanted, found } => {
                write!(f, "rejected with {}, not {wanted}", found.code())
            }
            ExampleFault::OtherValue {
                what,
                wanted,
                found,
            } => {
                write!(f, "the {what} is {found:?}, not {wanted:?}")
            }
        }
    }
}

impl std::error::Error for ExampleFault {}

/// The request of an example.
pub fn request(example: &Example) -> RawRequest {
    let headers: Headers = example
        .headers
        .iter()
        .map(|(n, v)| (n.clone(), v.clone()))
        .collect();
    RawRequest {
        method: example.method.clone(),
        path: example.path.clone(),
        query: example.query.clone(),
        headers,
        body: example.body.clone(),
        peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
        received_at: example.now(),
    }
}

/// A verifier with the keys of an example.
pub fn verifier(provider: &Arc<Provider>, example: &Example) -> Result<Verifier, Vec<KeyError>> {
    let rule = rule_for(provider, example);
    let keys = Keyring::of_example(&rule, example)?;
    Ok(Verifier::new(Arc::new(rule), keys))
}

/// Judges an example and compares the verdict with what it says of itself.
pub fn check(provider: &Arc<Provider>, example: &Example) -> Result<(), ExampleFault> {
    let verifier = verifier(provider, example).map_err(ExampleFault::Keys)?;
    let verdict = verifier.judge_with(&request(example), example.now(), &mut |outbound| {
        recorded(example, outbound)
    });
    match (&example.rejected, verdict) {
        (Some(wanted), Err(found)) if found.code() == wanted => Ok(()),
        (Some(wanted), Err(found)) => Err(ExampleFault::OtherReason {
            wanted: wanted.clone(),
            found,
        }),
        (Some(wanted), Ok(_)) => Err(ExampleFault::Accepted {
            wanted: wanted.clone(),
        }),
        (None, Err(reason)) => Err(ExampleFault::Rejected(reason)),
        (None, Ok(judgement)) => compare(example, judgement),
    }
}

/// What a pinned host answers in an example; none where nothing is recorded for the address.
pub fn recorded(example: &Example, outbound: &Outbound) -> Option<RemoteAnswer> {
    let scheme = if outbound.https { "https" } else { "http" };
    let usual = if outbound.https { 443 } else { 80 };
    let port = if outbound.port == usual {
        String::new()
    } else {
        format!(":{}", outbound.port)
    };
    let url = format!("{scheme}://{}{port}{}", outbound.host, outbound.target);
    let found = example.remote.iter().find(|recorded| recorded.url == url)?;
    Some(RemoteAnswer {
        status: found.status,
        body: found.body.clone(),
        max_age: None,
    })
}

fn compare(example: &Example, judgement: Judgement) -> Result<(), ExampleFault> {
    let same = |what, wanted: Option<&String>, found: Option<String>| match wanted {
        Some(wanted) if found.as_ref() != Some(wanted) => Err(ExampleFault::OtherValue {
            what,
            wanted: wanted.clone(),
            found: found.unwrap_or_else(|| "nothing".to_owned()),
        }),
        Some(_) | None => Ok(()),
    };
    let (id, kind, reply) = match judgement {
        Judgement::Event {
            identity, payment, ..
        } => {
            for (name, wanted) in &example.payment {
                let found = payment.as_ref().and_then(|payment| payment.get(name));
                same("payment", Some(wanted), found)?;
            }
            (Some(identity.text), Some(identity.kind), None)
        }
        Judgement::Challenge(answer) => (
            None,
            None,
            Some(String::from_utf8_lossy(&answer.body).into_owned()),
        ),
    };
    if example.reply.is_none() {
        same("event id", example.event_id.as_ref(), id)?;
        same("event type", example.event_type.as_ref(), kind)?;
    }
    same("reply", example.reply.as_ref(), reply)
}
