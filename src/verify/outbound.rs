//! Requests of our own, put together from a rule and a request. Where they may lead is the rule's
//! word alone; what a stranger wrote gets into a path only as harmless characters.

use std::collections::BTreeMap;
use std::str::FromStr;

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::message::Headers;
use crate::remote;
use crate::rule::scheme::{Algorithm, Auth, Host, RemoteRequest};
use crate::rule::template::{Piece, Template, Value};
use crate::secret::Secret;
use crate::verify::evaluate;
use crate::verify::mac::mac;
use crate::verify::rejection::Rejection;
use crate::verify::scope::{Own, Scope};
use crate::verify::sign;

/// What cannot be put together is not the sender's fault, unless it is what he wrote.
pub fn build(
    rule: &RemoteRequest,
    scope: &Scope<'_, '_>,
    now: Timestamp,
) -> Result<remote::Outbound, Rejection> {
    let mut own = Own {
        now,
        nonce: sign::nonce(16),
        signature: None,
    };
    let (https, host, port, own_host) = place(&rule.host, &scope.view.rule.config)?;
    if let Some(Auth::Sign {
        algorithm,
        key,
        message,
        encoding,
    }) = &rule.auth
    {
        let here = Scope {
            own: Some(&own),
            ..*scope
        };
        let key = needed(key, &here)?;
        let message = needed(message, &here)?;
        let made = signed(*algorithm, &key, &message)?;
        own.signature = Some(sign::written(*encoding, &made));
    }
    let here = Scope {
        own: Some(&own),
        ..*scope
    };
    let mut headers = Headers::new();
    for (name, template) in &rule.headers {
        let value = needed(template, &here)?;
        if http::HeaderValue::from_bytes(&value).is_err() {
            return Err(unready("a header of the request cannot be written"));
        }
        headers.push(name.clone(), value);
    }
    let auth = match &rule.auth {
        None | Some(Auth::Sign { .. }) => remote::Auth::None,
        Some(Auth::Bearer(token)) => remote::Auth::Bearer(Secret::new(needed(token, &here)?)),
        Some(Auth::Basic { user, password }) => remote::Auth::Basic {
            user: Secret::new(needed(user, &here)?),
            password: Secret::new(needed(password, &here)?),
        },
        Some(Auth::OAuth2 {
            path,
            user,
            password,
        }) => remote::Auth::OAuth2 {
            target: path.clone(),
            user: Secret::new(needed(user, &here)?),
            password: Secret::new(needed(password, &here)?),
        },
    };
    Ok(remote::Outbound {
        method: rule.method.clone(),
        https,
        host,
        port,
        own_host,
        target: path(&rule.path, &here)?,
        headers,
        body: Bytes::from(needed(&rule.body, &here)?),
        timeout: rule.timeout,
        auth,
    })
}

/// The host of a request, with nothing to ask it: for seeing whether it can be reached.
pub fn place_of(
    rule: &RemoteRequest,
    config: &BTreeMap<String, String>,
) -> Option<remote::Outbound> {
    let (https, host, port, own_host) = place(&rule.host, config).ok()?;
    Some(remote::Outbound {
        method: http::Method::GET,
        https,
        host,
        port,
        own_host,
        target: "/".to_owned(),
        headers: Headers::new(),
        body: Bytes::new(),
        timeout: rule.timeout,
        auth: remote::Auth::None,
    })
}

/// A request to an address that was checked against a pin.
pub fn visit(pinned: &remote::Pinned, timeout: std::time::Duration) -> remote::Outbound {
    remote::Outbound {
        method: http::Method::GET,
        https: true,
        host: pinned.host().to_owned(),
        port: 443,
        own_host: false,
        target: pinned.target().to_owned(),
        headers: Headers::new(),
        body: Bytes::new(),
        timeout,
        auth: remote::Auth::None,
    }
}

fn signed(algorithm: Algorithm, key: &[u8], message: &[u8]) -> Result<Vec<u8>, Rejection> {
    match algorithm {
        Algorithm::Hmac(digest) => mac(digest, key, message)
            .ok_or_else(|| unready("the request cannot be signed with this algorithm")),
        other => sign::with_private_key(other, key, message)
            .map_err(|why| unready(&format!("the request cannot be signed: {why}"))),
    }
}

fn unready(what: &str) -> Rejection {
    Rejection::Unready {
        what: what.to_owned(),
    }
}

fn needed(template: &Template, scope: &Scope<'_, '_>) -> Result<Vec<u8>, Rejection> {
    let mut bytes = Vec::new();
    evaluate::feed(template, scope, &mut |piece| bytes.extend_from_slice(piece))?;
    Ok(bytes)
}

/// Values in a path: only characters that mean nothing there, and never a step up.
fn path(template: &Template, scope: &Scope<'_, '_>) -> Result<String, Rejection> {
    let mut text = String::new();
    for piece in template.pieces() {
        match piece {
            Piece::Literal(literal) => text.push_str(&String::from_utf8_lossy(literal)),
            Piece::Value(value) => text.push_str(&harmless(value, scope)?),
            Piece::Optional(pieces) => {
                let mut segment = String::new();
                let mut whole = true;
                for piece in pieces {
                    match piece {
                        Piece::Literal(literal) => {
                            segment.push_str(&String::from_utf8_lossy(literal));
                        }
                        Piece::Value(value) => match evaluate::one(value, scope)? {
                            Some(_) => segment.push_str(&harmless(value, scope)?),
                            None => whole = false,
                        },
                        Piece::Optional(_) => {}
                    }
                }
                if whole {
                    text.push_str(&segment);
                }
            }
        }
    }
    Ok(text)
}

fn harmless(value: &Value, scope: &Scope<'_, '_>) -> Result<String, Rejection> {
    let bytes = evaluate::one(value, scope)?.ok_or_else(|| evaluate::missing(value))?;
    let plain =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'~' | b'-');
    let dots = bytes.iter().all(|byte| *byte == b'.');
    match String::from_utf8(bytes.to_vec()) {
        Ok(text) if !dots && text.len() <= 256 && text.bytes().all(|b| plain(&b)) => Ok(text),
        Ok(_) | Err(_) => Err(Rejection::FieldMalformed {
            field: value.selector.to_string(),
        }),
    }
}

/// Protocol, host, port, and whether the source itself chose it.
fn place(
    host: &Host,
    config: &BTreeMap<String, String>,
) -> Result<(bool, String, u16, bool), Rejection> {
    let (text, own) = match host {
        Host::Pinned(all) => {
            let chosen = match config.get("environment") {
                Some(name) => all.iter().find(|(known, _)| known == name),
                None => all.first(),
            };
            (chosen.map(|(_, host)| host.as_str()), false)
        }
        Host::Configured(name) => (config.get(name).map(String::as_str), true),
    };
    let wrong = || unready("config.environment or the host is not one that the provider knows");
    let uri = text
        .and_then(|text| http::Uri::from_str(text).ok())
        .ok_or_else(wrong)?;
    let https = match uri.scheme_str() {
        Some("https") => true,
        // In the clear only to a place that the merchant himself has named.
        Some("http") if own => false,
        Some(_) | None => return Err(wrong()),
    };
    let name = uri.host().ok_or_else(wrong)?.to_owned();
    let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
    Ok((https, name, port, own))
}
