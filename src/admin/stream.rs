//! `/v1/stream`: what happens, as it happens (server-sent events). Pipeline and relay tell small
//! messages, and only while somebody watches; one task makes the text of each, and every stream
//! picks what it was asked for. Nobody waits for a reader: what a slow one misses is counted to it.
//! Whoever is no longer let in hears nothing more.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Extension, State as Extract};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body_util::channel::{Channel, Sender};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, interval, timeout};

use crate::admin::State;
use crate::admin::auth::Pass;
use crate::admin::events::EventJson;
use crate::admin::overview::Moment;
use crate::admin::parameter::{self, Asked};
use crate::admin::payload::hushed;
use crate::admin::problem::{Problem, Wrong};
use crate::admin::refusals::RefusalJson;
use crate::message::{DELIVERIES, EventId};
use crate::telemetry::news::News;

mod readers;

use readers::Readers;

/// Streams at once.
const STREAMS: usize = 32;
/// Messages that wait for one reader; older ones are lost to it.
const WAITING: usize = 256;
/// Of these, those that are on their way to it.
const UNDER_WAY: usize = 4;
/// A reader that takes nothing for so long has its stream ended, and its place is given back.
const PATIENCE: Duration = Duration::from_secs(30);
/// A comment, so that whoever is between keeps the connection.
const COMMENT_EVERY: Duration = Duration::from_secs(15);
/// A token that was taken away and a session that ended close their streams within this, also where
/// nothing happens.
const ASK_EVERY: Duration = Duration::from_secs(5);
const MOMENT_EVERY: Duration = Duration::from_secs(2);
/// Events that are looked up in a second: each costs a read of the journal.
const LOOKED_UP: u32 = 500;

const KINDS: [&str; 6] = ["accepted", "attempt", "state", "refused", "stats", "job"];

/// A message, as it goes to every stream.
#[derive(Clone, Debug)]
struct Message {
    kind: &'static str,
    /// What a stream may pick by; none where it says nothing of a source.
    source: Option<String>,
    state: Option<&'static str>,
    data: Bytes,
}

#[derive(Debug)]
pub struct Stream {
    sender: broadcast::Sender<Message>,
    readers: Arc<Readers>,
}

impl Default for Stream {
    fn default() -> Self {
        Stream {
            sender: broadcast::channel(WAITING).0,
            readers: Arc::default(),
        }
    }
}

#[derive(Debug, Serialize)]
struct AttemptJson {
    id: String,
    source: String,
    destination: String,
    number: u32,
    status: Option<u16>,
    error: &'static str,
    took_ms: u64,
    state: &'static str,
}

#[derive(Debug, Serialize)]
struct StateJson {
    id: String,
    state: &'static str,
    reason: String,
    by: String,
}

fn message(
    kind: &'static str,
    source: Option<String>,
    state: Option<&'static str>,
    data: &impl Serialize,
) -> Option<Message> {
    Some(Message {
        kind,
        source,
        state,
        data: Bytes::from(serde_json::to_vec(data).ok()?),
    })
}

/// Makes the text of what is told, for all streams. Runs for as long as the admin port.
pub async fn run(state: &State) {
    let room = &state.shared.metrics.news;
    let sender = &state.stream.sender;
    let mut news = room.listen();
    let mut moments = interval(MOMENT_EVERY);
    let mut budget = Budget::new();
    loop {
        let heard = tokio::select! {
            heard = news.recv() => heard,
            _ = moments.tick() => {
                if room.watching() > 0 {
                    let moment = message("stats", None, None, &Moment::of(state));
                    send(sender, moment);
                }
                continue;
            }
        };
        match heard {
            Ok(News::Accepted { id }) if budget.take() => accepted(state, id, sender).await,
            Ok(News::Accepted { .. }) => send(sender, missed(1)),
            Ok(other) => send(sender, made(state, other)),
            Err(RecvError::Lagged(count)) => send(sender, missed(count)),
            // The sender lives as long as the state.
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

fn send(sender: &broadcast::Sender<Message>, message: Option<Message>) {
    if let Some(message) = message {
        // Nobody listens: no harm.
        let _ = sender.send(message);
    }
}

/// So many in any second.
struct Budget {
    left: u32,
    since: Instant,
}

impl Budget {
    fn new() -> Self {
        Budget {
            left: LOOKED_UP,
            since: Instant::now(),
        }
    }

    fn take(&mut self) -> bool {
        if self.since.elapsed() >= Duration::from_secs(1) {
            *self = Budget::new();
        }
        let left = self.left.checked_sub(1);
        self.left = left.unwrap_or(0);
        left.is_some()
    }
}

/// A row for each delivery.
async fn accepted(state: &State, id: EventId, sender: &broadcast::Sender<Message>) {
    for number in 0..DELIVERIES {
        // Gone already, or the store does not answer: nothing to show.
        let Ok(Some(row)) = state.store.row(id.of_delivery(number)).await else {
            return;
        };
        let source = Some(row.source.to_string());
        let json = EventJson::of(row, false);
        send(sender, message("accepted", source, Some(json.state), &json));
    }
}

fn made(state: &State, news: News) -> Option<Message> {
    match news {
        News::Accepted { .. } => None,
        News::Attempt {
            id,
            source,
            destination,
            number,
            status,
            error,
            took_ms,
            state,
        } => {
            let json = AttemptJson {
                id: id.to_string(),
                source: source.to_string(),
                destination: destination.to_string(),
                number,
                status,
                error,
                took_ms,
                state,
            };
            message("attempt", Some(source.to_string()), Some(state), &json)
        }
        News::State {
            id,
            source,
            state,
            reason,
            by,
        } => {
            let json = StateJson {
                id: id.to_string(),
                state,
                reason: hushed(&reason),
                by,
            };
            message("state", Some(source.to_string()), Some(state), &json)
        }
        News::Refused { number } => {
            let json = RefusalJson::from(state.shared.refusals.get(number)?);
            message("refused", Some(json.source.clone()), None, &json)
        }
        News::Job { id } => message("job", None, None, &state.jobs.get(id)?),
    }
}

#[derive(Debug, Serialize)]
struct Missed {
    missed: u64,
}

fn missed(count: u64) -> Option<Message> {
    message("lagged", None, None, &Missed { missed: count })
}

#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StreamQuery {
    source: Option<String>,
    state: Option<String>,
    /// With commas between: `accepted`, `attempt`, `state`, `refused`, `stats`, `job`.
    kinds: Option<String>,
}

/// What a stream picks.
struct Picked {
    source: Option<String>,
    state: Option<&'static str>,
    kinds: Vec<&'static str>,
}

impl Picked {
    fn of(query: StreamQuery) -> Result<Self, Problem> {
        let kinds = match query.kinds.as_deref() {
            None => KINDS.to_vec(),
            Some(asked) => {
                let known = |kind: &str| KINDS.into_iter().find(|known| *known == kind);
                let kinds: Option<Vec<_>> = asked.split(',').map(known).collect();
                let wrong = || Wrong::SomeOf(KINDS.join(", "));
                kinds.ok_or_else(|| Problem::bad_parameter("kinds", wrong()))?
            }
        };
        let state = query.state.as_deref().map(parameter::state).transpose()?;
        Ok(Picked {
            source: query.source,
            state: state.map(|state| state.as_str()),
            kinds,
        })
    }

    fn wants(&self, message: &Message) -> bool {
        if message.kind == "lagged" {
            return true;
        }
        // Figures and jobs are nobody's source's and have no state.
        let source =
            self.source.is_none() || message.source.is_none() || message.source == self.source;
        let state = self.state.is_none() || message.state.is_none() || message.state == self.state;
        self.kinds.contains(&message.kind) && source && state
    }
}

pub async fn stream(
    Extract(state): Extract<State>,
    Extension(pass): Extension<Pass>,
    asked: Asked<StreamQuery>,
) -> Result<Response, Problem> {
    let picked = Picked::of(parameter::query(asked)?)?;
    let news = &state.shared.metrics.news;
    let places = state.stream.readers.places(&pass).map_err(too_many)?;
    let watching = news.watch(STREAMS);
    let watching =
        watching.ok_or_else(|| too_many(format!("at most {STREAMS} streams at once")))?;
    let (mut sender, body) = Channel::<Bytes, Infallible>::new(UNDER_WAY);
    // Heard from here on: what happens before the task begins is not lost.
    let heard = state.stream.sender.subscribe();
    tokio::spawn(async move {
        let _held = (watching, places);
        let holds = || state.door.holds(&pass, state.shared.clock.now());
        feed(&mut sender, heard, &picked, &Moment::of(&state), holds).await;
    });
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        // A proxy between must not collect it.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, Body::new(body)).into_response())
}

fn too_many(detail: String) -> Problem {
    let status = StatusCode::SERVICE_UNAVAILABLE;
    Problem::new(status, "too_many_streams", detail).again_in(30)
}

/// True once the reader has taken what was before it; false when it is gone, or takes nothing.
async fn taken(sender: &mut Sender<Bytes, Infallible>, frame: Bytes) -> bool {
    let sent = timeout(PATIENCE, sender.send_data(frame)).await;
    matches!(sent, Ok(Ok(())))
}

/// Until the reader goes, takes nothing any more, or is no longer let in.
async fn feed(
    sender: &mut Sender<Bytes, Infallible>,
    mut heard: broadcast::Receiver<Message>,
    picked: &Picked,
    moment: &Moment,
    holds: impl Fn() -> bool,
) {
    // At once: so the reader knows that it is heard, and what stands.
    let first = message("stats", None, None, moment).filter(|m| picked.wants(m));
    let first = first.map_or(Bytes::from_static(b": hello\n\n"), |m| frame(&m));
    if !taken(sender, first).await {
        return;
    }
    let mut said = Instant::now();
    loop {
        let next = timeout(ASK_EVERY, heard.recv()).await;
        if !holds() {
            return;
        }
        let wanted = match next {
            Ok(Ok(message)) => Some(message).filter(|message| picked.wants(message)),
            Ok(Err(RecvError::Lagged(count))) => missed(count),
            Ok(Err(RecvError::Closed)) => return,
            Err(_) => None,
        };
        let frame = match wanted {
            Some(message) => frame(&message),
            None if said.elapsed() >= COMMENT_EVERY => Bytes::from_static(b": \n\n"),
            None => continue,
        };
        if !taken(sender, frame).await {
            return;
        }
        said = Instant::now();
    }
}

/// JSON has no line ends of its own.
fn frame(message: &Message) -> Bytes {
    let mut out = Vec::with_capacity(message.data.len() + 32);
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(message.kind.as_bytes());
    out.extend_from_slice(b"\ndata: ");
    out.extend_from_slice(&message.data);
    out.extend_from_slice(b"\n\n");
    Bytes::from(out)
}

#[cfg(test)]
mod tests;
