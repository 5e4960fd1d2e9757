//! Parameters that several paths take.

use axum::Json;
use axum::extract::Query;
use axum::extract::rejection::{JsonRejection, QueryRejection};

use crate::admin::problem::{Problem, Wrong};
use crate::clock::Timestamp;
use crate::inbox::store::{Filter, State};
use crate::message::{BadEventId, DestinationName, EventId, SourceName};

/// Rows of a page when the request does not say.
const PAGE: usize = 50;
/// Most rows of a page.
const PAGE_MAX: usize = 500;
/// Longest text that is looked for, in characters.
pub const TEXT_MAX: usize = 200;

pub type Asked<T> = Result<Query<T>, QueryRejection>;
pub type Said<T> = Result<Json<T>, JsonRejection>;

/// The query, or what is wrong with it.
pub fn query<T>(asked: Asked<T>) -> Result<T, Problem> {
    let why = |e: QueryRejection| Wrong::Unreadable { why: e.body_text() };
    let Query(query) = asked.map_err(|e| Problem::bad_parameter("query", why(e)))?;
    Ok(query)
}

/// The body, or what is wrong with it.
pub fn body<T>(said: Said<T>) -> Result<T, Problem> {
    let why = |e: JsonRejection| Wrong::Unreadable { why: e.body_text() };
    let Json(body) = said.map_err(|e| Problem::bad_parameter("body", why(e)))?;
    Ok(body)
}

pub fn state(text: &str) -> Result<State, Problem> {
    let found = State::ALL.into_iter().find(|state| state.as_str() == text);
    let names = State::ALL.map(State::as_str).join(", ");
    found.ok_or_else(|| Problem::bad_parameter("state", Wrong::OneOf(names)))
}

pub fn moment(name: &str, text: Option<&String>) -> Result<Option<Timestamp>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let wrong = |why: String| Problem::bad_parameter(name, Wrong::Moment { why });
    let time = humantime::parse_rfc3339(text).map_err(|e| wrong(e.to_string()))?;
    let since = time
        .duration_since(std::time::UNIX_EPOCH)
        .map_err(|e| wrong(e.to_string()))?;
    Ok(Some(Timestamp::default().plus(since)))
}

pub fn limit(asked: Option<usize>) -> Result<usize, Problem> {
    match asked.unwrap_or(PAGE) {
        limit @ 1..=PAGE_MAX => Ok(limit),
        other => {
            let wrong = Wrong::Number {
                why: format!("{other} is not from 1 to {PAGE_MAX}"),
                from: 1,
                to: PAGE_MAX,
            };
            Err(Problem::bad_parameter("limit", wrong))
        }
    }
}

pub fn event_id(name: &str, text: &str) -> Result<EventId, Problem> {
    let wrong = |_: BadEventId| Problem::bad_parameter(name, Wrong::EventId);
    text.parse().map_err(wrong)
}

pub fn cursor(text: Option<&str>) -> Result<Option<EventId>, Problem> {
    text.map(|text| event_id("cursor", text)).transpose()
}

/// What picks deliveries, as the paths take it. Texts are compared exactly, but for `text`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Picked<'a> {
    pub source: Option<&'a String>,
    pub provider: Option<&'a String>,
    pub destination: Option<&'a String>,
    pub state: Option<&'a String>,
    pub kind: Option<&'a String>,
    pub key: Option<&'a String>,
    pub order: Option<&'a String>,
    pub text: Option<&'a String>,
    pub reason: Option<&'a String>,
    pub from: Option<&'a String>,
    pub to: Option<&'a String>,
}

impl Picked<'_> {
    pub fn filter(&self) -> Result<Filter, Problem> {
        if self
            .text
            .is_some_and(|text| text.is_empty() || text.chars().count() > TEXT_MAX)
        {
            let wrong = Wrong::Characters { most: TEXT_MAX };
            return Err(Problem::bad_parameter("text", wrong));
        }
        Ok(Filter {
            source: self.source.map(|name| SourceName::new(name)),
            provider: self.provider.cloned(),
            destination: self.destination.map(|name| DestinationName::new(name)),
            state: self.state.map(|text| state(text)).transpose()?,
            event_type: self.kind.cloned(),
            event_key: self.key.cloned(),
            order: self.order.cloned(),
            reason: self.reason.cloned(),
            text: self.text.cloned(),
            from: moment("from", self.from)?,
            to: moment("to", self.to)?,
        })
    }

    /// For the audit and the list of jobs.
    pub fn told(&self) -> String {
        let parts = [
            ("state", self.state),
            ("source", self.source),
            ("provider", self.provider),
            ("destination", self.destination),
            ("type", self.kind),
            ("key", self.key),
            ("order", self.order),
            ("text", self.text),
            ("error", self.reason),
            ("from", self.from),
            ("to", self.to),
        ];
        let told = parts
            .iter()
            .filter_map(|(name, value)| Some(format!("{name}={}", (*value)?)));
        told.collect::<Vec<String>>().join(" ")
    }
}
