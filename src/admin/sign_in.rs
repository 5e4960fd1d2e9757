//! `/session`: a token for a cookie, so that the page never has to keep a token. Who signed in stands
//! in the audit.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Extension, FromRequest, Request, State as Extract};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::admin::State;
use crate::admin::audit;
use crate::admin::auth::{self, No};
use crate::admin::connection::Connection;
use crate::admin::host;
use crate::admin::problem::{Problem, Wrong};
use crate::admin::session::{Found, LONGEST};
use crate::admin::token::Role;

/// What signs in.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignIn {
    /// A token of the settings.
    token: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct SessionJson {
    role: Role,
    /// What the audit calls whoever holds it.
    label: String,
    /// What a changing request says in `X-Callseal-CSRF`.
    csrf: String,
    /// RFC 3339; sooner when it idles for an hour.
    expires_at: String,
}

impl From<Found> for SessionJson {
    fn from(found: Found) -> Self {
        SessionJson {
            role: found.caller.role,
            label: found.caller.label,
            csrf: found.csrf,
            expires_at: found.expires_at.to_string(),
        }
    }
}

fn connection(extension: Option<Extension<Connection>>) -> Connection {
    extension
        .map(|Extension(connection)| connection)
        .unwrap_or_default()
}

/// Opens a session. A page elsewhere must not sign a browser in to a token of its own.
pub async fn open(Extract(state): Extract<State>, request: Request) -> Result<Response, No> {
    let (parts, body) = request.into_parts();
    let connection = parts
        .extensions
        .get::<Connection>()
        .copied()
        .unwrap_or_default();
    if host::other_origin(&parts, connection.tls) {
        let detail = "only a page of ours signs in";
        return Err(Problem::new(StatusCode::FORBIDDEN, "csrf", detail).into());
    }
    let read: Result<Json<SignIn>, JsonRejection> =
        Json::from_request(Request::from_parts(parts, body), &state).await;
    // What was sent may be a token in a wrong place: it is not repeated.
    let Json(asked) = read.map_err(|_| Problem::bad_parameter("body", Wrong::SignIn))?;
    let holder = auth::check_token(&state, connection, asked.token.as_bytes())?;
    state.door.limits.sign_in(holder.1).map_err(No::Wait)?;
    let now = state.shared.clock.now();
    // First the audit: a session that it does not know of does not begin.
    audit::signed_in(&state, &holder.0, now).await?;
    let random = state.door.random.as_ref();
    let (id, found) = state.door.sessions.open(holder, now, random);
    tracing::info!(by = %found.caller.label, "the admin port: signed in");
    let cookie = set_cookie(&id, connection.tls, LONGEST.as_secs());
    Ok((
        [(header::SET_COOKIE, cookie)],
        Json(SessionJson::from(found)),
    )
        .into_response())
}

/// What the session allows, and its word for changes.
pub async fn show(found: Option<Extension<Found>>) -> Result<Json<SessionJson>, No> {
    match found {
        Some(Extension(found)) => Ok(Json(found.into())),
        None => Err(No::Unknown(
            "this is about a session: POST /session opens one",
        )),
    }
}

/// Ends the session, here and in the browser.
pub async fn close(
    Extract(state): Extract<State>,
    connected: Option<Extension<Connection>>,
    headers: HeaderMap,
) -> Response {
    let connection = connection(connected);
    if let Some(id) = auth::cookie(&headers, connection.tls) {
        state.door.sessions.close(id);
    }
    let cookie = set_cookie("", connection.tls, 0);
    (StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response()
}

fn set_cookie(id: &str, tls: bool, seconds: u64) -> HeaderValue {
    let name = auth::cookie_name(tls);
    let secure = if tls { "; Secure" } else { "" };
    let text = format!("{name}={id}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    // Hexadecimal and words of ours.
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}
