//! Parameters that several paths take.

use crate::admin::problem::Problem;
use crate::clock::Timestamp;
use crate::inbox::store::State;

/// Rows of a page when the request does not say.
const PAGE: usize = 50;
/// Most rows of a page.
const PAGE_MAX: usize = 500;

pub fn state(text: &str) -> Result<State, Problem> {
    let found = State::ALL.into_iter().find(|state| state.as_str() == text);
    let names = State::ALL.map(State::as_str).join(", ");
    found.ok_or_else(|| Problem::bad_parameter("state", format!("one of {names}")))
}

pub fn moment(name: &str, text: Option<&String>) -> Result<Option<Timestamp>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let time = humantime::parse_rfc3339(text).map_err(|e| Problem::bad_parameter(name, e))?;
    let since = time
        .duration_since(std::time::UNIX_EPOCH)
        .map_err(|e| Problem::bad_parameter(name, e))?;
    Ok(Some(Timestamp::default().plus(since)))
}

pub fn limit(asked: Option<usize>) -> Result<usize, Problem> {
    match asked.unwrap_or(PAGE) {
        limit @ 1..=PAGE_MAX => Ok(limit),
        other => Err(Problem::bad_parameter(
            "limit",
            format!("{other} is not from 1 to {PAGE_MAX}"),
        )),
    }
}
