//! What holds the pen: a shared secret or a private key.

use data_encoding::BASE64;

use crate::rule::scheme::{Algorithm, Encoding, Scheme};
use crate::verify::craft::{Pair, Unsignable};
use crate::verify::digest::digest;
use crate::verify::mac::mac;
use crate::verify::place::Draft;
use crate::verify::scope::Scope;
use crate::verify::{evaluate, sign};

/// What holds the pen.
pub(super) enum Hand<'b> {
    Shared(&'b [u8], Option<&'b str>),
    Private(&'b Pair),
}

impl Hand<'_> {
    pub(super) fn id(&self) -> Option<&str> {
        match self {
            Hand::Shared(_, id) => *id,
            Hand::Private(pair) => pair.id.as_deref(),
        }
    }

    pub(super) fn secret(&self) -> Option<&[u8]> {
        match self {
            Hand::Shared(secret, _) => Some(secret),
            Hand::Private(_) => None,
        }
    }

    pub(super) fn sign(&self, algorithm: Algorithm, message: &[u8]) -> Result<Vec<u8>, Unsignable> {
        let old = || Unsignable::OldDigest {
            algorithm: algorithm.name(),
        };
        match (self, algorithm) {
            (Hand::Shared(key, _), Algorithm::Hmac(kind)) => {
                mac(kind, key, message).ok_or_else(old)
            }
            (Hand::Shared(_, _), Algorithm::Keyed(kind)) => Ok(digest(kind, message)),
            (Hand::Shared(key, _), Algorithm::Token | Algorithm::Basic) => Ok(key.to_vec()),
            (Hand::Private(pair), algorithm) => {
                sign::with_private_key(algorithm, &pair.private, message)
                    .map_err(|why| Unsignable::Key(why.to_owned()))
            }
            (Hand::Shared(_, _), _) => Err(Unsignable::NoKey),
        }
    }
}

/// One signature, written to its place.
pub(super) fn sign_one(
    draft: &mut Draft<'_>,
    scheme: &Scheme,
    hand: &Hand<'_>,
) -> Result<(), Unsignable> {
    if scheme.algorithm == Algorithm::Basic {
        let secret = hand.secret().ok_or(Unsignable::NoKey)?;
        let text = format!("Basic {}", BASE64.encode(secret));
        draft.set_header("authorization", text.as_bytes());
        return Ok(());
    }
    let value = scheme.value.as_ref().ok_or(Unsignable::NoKey)?;
    let message = draft.with_scope(|scope| {
        let here = Scope {
            key: hand.secret(),
            ..*scope
        };
        let mut fault = None;
        if scheme.messages.is_empty() {
            return Ok(Vec::new());
        }
        for template in &scheme.messages {
            let mut message = Vec::new();
            match evaluate::feed(template, &here, &mut |bytes| {
                message.extend_from_slice(bytes)
            }) {
                Ok(()) => return Ok(message),
                Err(found) => {
                    fault.get_or_insert(found);
                }
            }
        }
        Err(fault.map_or(Unsignable::NoKey, Unsignable::Message))
    })?;
    let signature = hand.sign(scheme.algorithm, &message)?;
    let encoding = match scheme.algorithm {
        Algorithm::Token => Encoding::Text,
        _ => scheme.encoding,
    };
    Ok(draft.put(value, &sign::written(encoding, &signature))?)
}
