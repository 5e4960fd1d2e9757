//! Tokens for client credentials (RFC 6749 §4.4), kept until shortly before they end. One caller
//! asks for a token, the others wait for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::clock::{Clock, Timestamp};
use crate::remote::wire::{self, Message};
use crate::remote::{Outbound, RemoteAnswer, RemoteFault};
use crate::secret::Secret;

/// A token is not used in the last part of its life: the request takes time, and clocks differ.
const MARGIN: Duration = Duration::from_secs(60);

/// No token is kept longer, whatever its answer says.
const KEPT_MAX: Duration = Duration::from_secs(24 * 3600);

/// After a token was refused, the endpoint is left alone for so long.
const PAUSE: Duration = Duration::from_secs(5);

/// Longest token, in bytes. They travel in a header.
const TOKEN_MAX: usize = 8 * 1024;

/// Sets of credentials that are remembered.
const ENTRIES: usize = 256;

/// Whose token it is: where it is asked for, and a digest of the credentials, so that new ones ask
/// for a new token.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TokenId([u8; 32]);

impl TokenId {
    pub fn new(request: &Outbound, target: &str, user: &Secret, password: &Secret) -> Self {
        let place = format!(
            "{} {} {} {target}",
            request.https, request.host, request.port
        );
        let mut digest = Sha256::new();
        for part in [place.as_bytes(), user.expose(), password.expose()] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        TokenId(digest.finalize().into())
    }
}

/// A token that an endpoint gave.
#[derive(Clone, Debug)]
pub struct Granted {
    pub token: Arc<Secret>,
    /// Zero where the answer does not say: such a token is used once.
    pub life: Duration,
}

#[derive(Debug, Default)]
struct Slot {
    token: Option<(Arc<Secret>, Timestamp)>,
    failed: Option<(RemoteFault, Timestamp)>,
}

#[derive(Debug, Default)]
pub struct Tokens(Mutex<HashMap<TokenId, Arc<tokio::sync::Mutex<Slot>>>>);

impl Tokens {
    /// The token that is kept, or the one that `fetch` gives. `fetch` runs for one caller at a
    /// time, and not again within seconds of a failure.
    pub async fn get(
        &self,
        id: &TokenId,
        clock: &dyn Clock,
        fetch: impl Future<Output = Result<Granted, RemoteFault>> + Send,
    ) -> Result<Arc<Secret>, RemoteFault> {
        let slot = self.slot(id);
        let mut slot = slot.lock().await;
        let now = clock.now();
        if let Some((token, _)) = slot.token.as_ref().filter(|(_, until)| now < *until) {
            return Ok(token.clone());
        }
        if let Some((fault, at)) = &slot.failed
            && now.distance(*at) < PAUSE
        {
            return Err(fault.clone());
        }
        match fetch.await {
            Ok(Granted { token, life }) => {
                let until = now.plus(life.min(KEPT_MAX).saturating_sub(MARGIN));
                *slot = Slot {
                    token: Some((token.clone(), until)),
                    failed: None,
                };
                Ok(token)
            }
            Err(fault) => {
                slot.failed = Some((fault.clone(), clock.now()));
                Err(fault)
            }
        }
    }

    /// The host did not take this token. Another one that came since then stays.
    pub async fn forget(&self, id: &TokenId, refused: &Arc<Secret>) {
        let slot = self.slot(id);
        let mut slot = slot.lock().await;
        if slot
            .token
            .as_ref()
            .is_some_and(|(token, _)| Arc::ptr_eq(token, refused))
        {
            slot.token = None;
        }
    }

    fn slot(&self, id: &TokenId) -> Arc<tokio::sync::Mutex<Slot>> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= ENTRIES && !slots.contains_key(id) {
            // Credentials come from the configuration: so many were reloaded away.
            slots.retain(|_, slot| Arc::strong_count(slot) > 1);
        }
        slots.entry(id.clone()).or_default().clone()
    }
}

/// Where the form of RFC 6749 §2.3.1 leaves a byte as it is.
const FORM: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'*')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b' ');

fn form(secret: &Secret) -> Secret {
    let text = percent_encode(secret.expose(), FORM).to_string();
    Secret::new(text.replace(' ', "+").into_bytes())
}

/// The request for a token: RFC 6749 §4.4.2, with the credentials as §2.3.1 writes them.
pub fn message(
    request: &Outbound,
    target: &str,
    user: &Secret,
    password: &Secret,
) -> Result<Message, RemoteFault> {
    let body = Bytes::from_static(b"grant_type=client_credentials");
    let mut message = wire::start(request, Method::POST, target, body)?;
    let proof = wire::basic(form(user).expose(), form(password).expose())?;
    let fields = message.headers_mut();
    fields.insert(header::AUTHORIZATION, proof);
    fields.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
    fields.insert(header::CONTENT_TYPE, kind);
    Ok(message)
}

/// What counts of an answer (RFC 6749 §5.1); a member that stands twice is an error.
#[derive(Deserialize)]
struct Grant {
    access_token: String,
    token_type: String,
    expires_in: Option<u64>,
}

/// Reads the endpoint's answer.
pub fn granted(answer: &RemoteAnswer) -> Result<Granted, RemoteFault> {
    if answer.status != StatusCode::OK {
        let status = answer.status;
        return Err(RemoteFault::TokenRefused { status });
    }
    let grant: Grant =
        serde_json::from_slice(&answer.body).map_err(|_| RemoteFault::TokenMalformed)?;
    let token = Secret::new(grant.access_token.into_bytes());
    let bearer = grant.token_type.eq_ignore_ascii_case("bearer");
    if !bearer || token.len() > TOKEN_MAX || !is_token(token.expose()) {
        return Err(RemoteFault::TokenMalformed);
    }
    Ok(Granted {
        token: Arc::new(token),
        life: Duration::from_secs(grant.expires_in.unwrap_or(0)),
    })
}

/// `b64token` of RFC 6750 §2.1.
fn is_token(bytes: &[u8]) -> bool {
    let pads = bytes.iter().rev().take_while(|b| **b == b'=').count();
    let (text, _) = bytes.split_at(bytes.len() - pads);
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"-._~+/".contains(b);
    !text.is_empty() && text.iter().all(plain)
}
