//! The request that the application receives: a fresh one, from the stored event and the rule.
//! Nothing of the provider's connection is relayed, and the body is byte for byte what was verified.

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Request, Uri};
use http_body_util::Full;

use crate::clock::Timestamp;
use crate::inbox::store::{Lease, StoredEvent};
use crate::message::EventId;
use crate::relay::error::AttemptError;
use crate::relay::{fields, sign, trace};
use crate::rule::Address;
use crate::secret::Secret;

pub type Outgoing = Request<Full<Bytes>>;

/// Names of the fields that we add.
pub mod name {
    pub const EVENT: &str = "callseal-event";
    pub const SOURCE: &str = "callseal-source";
    pub const PROVIDER: &str = "callseal-provider";
    pub const ATTEMPT: &str = "callseal-attempt";
    pub const RECEIVED_AT: &str = "callseal-received-at";
    pub const VERIFIED: &str = "callseal-verified";
    pub const CONFLICT_OF: &str = "callseal-conflict-of";
    pub const SUPERSEDED_BY: &str = "callseal-superseded-by";
    pub const TRACE_PARENT: &str = "traceparent";
    pub const TRACE_STATE: &str = "tracestate";
    pub const WEBHOOK_ID: &str = "webhook-id";
    pub const WEBHOOK_TIMESTAMP: &str = "webhook-timestamp";
    pub const WEBHOOK_SIGNATURE: &str = "webhook-signature";
}

/// The request of one attempt, begun at `now`. Fails only for a stored event that no listener of
/// ours lets in.
pub fn build(
    event: &StoredEvent,
    lease: &Lease,
    superseded_by: Option<EventId>,
    destination: &Address,
    sign_with: Option<&Secret>,
    now: Timestamp,
    context: &trace::Context,
) -> Result<Outgoing, AttemptError> {
    let mut fields = Fields(HeaderMap::with_capacity(event.headers.len() + 16));
    fields.add("host", destination.authority.as_bytes())?;
    for (name, value) in fields::passing(&event.headers, sign_with.is_some()) {
        let name = HeaderName::from_bytes(name).map_err(|_| AttemptError::Unsendable)?;
        fields.append(name, value)?;
    }
    // Always, also for an empty body: how long it is must not depend on how the other side guesses.
    fields.add("content-length", event.body.len().to_string().as_bytes())?;
    fields.add_ours(event, lease)?;
    if let Some(by) = superseded_by {
        fields.add(name::SUPERSEDED_BY, by.to_string().as_bytes())?;
    }
    let id = lease.id.event();
    fields.add(name::TRACE_PARENT, context.parent.as_bytes())?;
    if let Some(state) = &context.state {
        fields.add(name::TRACE_STATE, state.as_bytes())?;
    }
    if let Some(key) = sign_with {
        fields.add_signature(key, id, now, &event.body)?;
    }

    let mut request = Request::new(Full::new(event.body.clone()));
    *request.method_mut() =
        Method::from_bytes(event.method.as_bytes()).map_err(|_| AttemptError::Unsendable)?;
    *request.uri_mut() = uri(&target(destination, &event.target))?;
    *request.headers_mut() = fields.0;
    Ok(request)
}

/// The destination's path and query, and the provider's query. The provider's path is never used.
fn target(destination: &Address, provider: &str) -> String {
    let query = provider.split_once('?').map_or("", |(_, query)| query);
    match (query.is_empty(), destination.path.contains('?')) {
        (true, _) => destination.path.clone(),
        (false, false) => format!("{}?{query}", destination.path),
        (false, true) => format!("{}&{query}", destination.path),
    }
}

fn uri(target: &str) -> Result<Uri, AttemptError> {
    let target: PathAndQuery = target.parse().map_err(|_| AttemptError::Unsendable)?;
    Ok(Uri::from(target))
}

/// The fields of a request, as they are put together.
struct Fields(HeaderMap);

impl Fields {
    fn append(&mut self, name: HeaderName, value: &[u8]) -> Result<(), AttemptError> {
        let value = HeaderValue::from_bytes(value).map_err(|_| AttemptError::Unsendable)?;
        self.0
            .try_append(name, value)
            .map(|_| ())
            .map_err(|_| AttemptError::Unsendable)
    }

    /// One of our own fields. The name stands nowhere else by now (`fields::passing`).
    fn add(&mut self, name: &'static str, value: &[u8]) -> Result<(), AttemptError> {
        self.append(HeaderName::from_static(name), value)
    }

    /// As `add`, for text that comes from a file name or a rule: what no field can hold is shown
    /// as a question mark, since a label must not cost the delivery.
    fn add_text(&mut self, name: &'static str, text: &str) -> Result<(), AttemptError> {
        let value: Vec<u8> = text
            .bytes()
            .map(|b| if b.is_ascii_control() { b'?' } else { b })
            .collect();
        self.add(name, &value)
    }

    fn add_ours(&mut self, event: &StoredEvent, lease: &Lease) -> Result<(), AttemptError> {
        // The same for all destinations: each of them knows the event by it.
        self.add(name::EVENT, lease.id.event().to_string().as_bytes())?;
        self.add_text(name::SOURCE, event.source.as_str())?;
        self.add_text(name::PROVIDER, &event.provider)?;
        self.add(name::ATTEMPT, lease.attempt.to_string().as_bytes())?;
        self.add(name::RECEIVED_AT, event.received_at.to_string().as_bytes())?;
        self.add_text(name::VERIFIED, &event.verified)?;
        if let Some(of) = event.conflict_of {
            self.add(name::CONFLICT_OF, of.to_string().as_bytes())?;
        }
        Ok(())
    }

    fn add_signature(
        &mut self,
        key: &Secret,
        id: EventId,
        now: Timestamp,
        body: &[u8],
    ) -> Result<(), AttemptError> {
        let id = id.to_string();
        self.add(name::WEBHOOK_ID, id.as_bytes())?;
        self.add(
            name::WEBHOOK_TIMESTAMP,
            now.as_secs().to_string().as_bytes(),
        )?;
        self.add(
            name::WEBHOOK_SIGNATURE,
            sign::signature(key, &id, now, body).as_bytes(),
        )
    }
}
