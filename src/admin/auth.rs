//! Who may ask the admin port, and for what: rate, name, token or session, role, origin, size; in
//! this order, before any handler.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::body::Body;
use axum::extract::{Request, State as Extract};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::admin::State;
use crate::admin::answer::{dress, in_our_words, names_loopback};
use crate::admin::connection::Connection;
use crate::admin::host::{self, Hosts};
use crate::admin::limits::{Limits, Peer, Wait};
use crate::admin::problem::{Problem, Wrong};
use crate::admin::session::{Found, Sessions};
use crate::admin::tls::CurrentTls;
use crate::admin::token::{Caller, Digest, Role, Tokens, digest};
use crate::clock::Timestamp;
use crate::random::Random;
use crate::settings::Admin;
use crate::telemetry::field;

/// Largest body of a request.
pub const BODY_MAX: usize = 64 * 1024;
/// For a whole body.
const BODY_PATIENCE: Duration = Duration::from_secs(10);

/// Header of a changing request by cookie.
pub const CSRF_HEADER: &str = "x-callseal-csrf";

/// What a path asks of whoever asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing, not even a certificate: for whoever watches whether the gateway lives.
    Health,
    /// No token: the files of the page, and signing in.
    Open,
    Viewer,
    Operator,
}

/// All that decides who gets in.
pub struct Door {
    pub tokens: ArcSwap<Tokens>,
    pub sessions: Sessions,
    pub limits: Limits,
    pub hosts: Hosts,
    pub tls: Option<CurrentTls>,
    pub random: Arc<dyn Random>,
}

impl Door {
    pub fn new(
        admin: &Admin,
        address: &crate::settings::AdminAddress,
        tokens: Tokens,
        tls: Option<CurrentTls>,
        random: Arc<dyn Random>,
    ) -> Self {
        Door {
            tokens: ArcSwap::from_pointee(tokens),
            sessions: Sessions::default(),
            limits: Limits::default(),
            hosts: Hosts::new(address, &admin.hosts),
            tls,
            random,
        }
    }

    /// Takes other tokens; sessions of those that are no longer in force end.
    pub fn replace_tokens(&self, tokens: Tokens) {
        self.tokens.store(Arc::new(tokens));
        self.sessions.keep(&self.tokens.load());
    }

    /// The session with this id, if its token is still in force. One may have been opened while its
    /// token was taken away.
    pub fn session(&self, id: &str, now: Timestamp) -> Option<Found> {
        let found = self.sessions.find(id, now)?;
        if self.tokens.load().holds(&found.caller, &found.token) {
            return Some(found);
        }
        self.sessions.close(id);
        None
    }

    /// True while a request that was let in would be let in again: for answers that do not end.
    pub fn holds(&self, pass: &Pass, now: Timestamp) -> bool {
        let tokens = self.tokens.load();
        let open = |id: &Digest| self.sessions.is_open(id, now);
        tokens.holds(&pass.caller, &pass.token) && pass.session.as_ref().is_none_or(open)
    }
}

/// What let a request in.
#[derive(Clone, Debug)]
pub struct Pass {
    pub caller: Caller,
    token: Digest,
    /// Of the session's id, where it was a session.
    session: Option<Digest>,
}

impl Pass {
    /// By a token.
    pub fn of_token((caller, token): (Caller, Digest)) -> Self {
        Pass {
            caller,
            token,
            session: None,
        }
    }

    pub fn token(&self) -> &Digest {
        &self.token
    }

    /// The digest of the session's id, where it was one.
    pub fn session(&self) -> Option<&Digest> {
        self.session.as_ref()
    }

    /// By the session with this id.
    pub fn of_session(id: &str, found: &Found) -> Self {
        Pass {
            caller: found.caller.clone(),
            token: found.token,
            session: Some(digest(id.as_bytes())),
        }
    }
}

/// Rate, name and headers: around everything, paths that there are not included.
pub async fn guard(Extract(state): Extract<State>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let connection = connection(&parts);
    let local_name = names_loopback(&parts);
    let mut response = match let_near(&state, &parts, connection) {
        Ok(()) => in_our_words(next.run(Request::from_parts(parts, body)).await),
        Err(no) => no.into_response(),
    };
    dress(response.headers_mut(), connection.tls && !local_name);
    response
}

fn connection(parts: &Parts) -> Connection {
    parts.extensions.get().copied().unwrap_or_default()
}

fn let_near(state: &State, parts: &Parts, connection: Connection) -> Result<(), No> {
    let peer = Peer::of(connection.peer);
    state.door.limits.ask(peer).map_err(No::Wait)?;
    if !state.door.hosts.allow(parts, connection.local) {
        let detail = "this Host header is not one of ours: `hosts` under [admin] names others";
        let status = StatusCode::MISDIRECTED_REQUEST;
        return Err(Problem::new(status, "host", detail).into());
    }
    let query = parts.uri.query().unwrap_or_default();
    let named = |part: &str| {
        let name = part.split('=').next().unwrap_or_default();
        let name = percent_encoding::percent_decode_str(name).decode_utf8_lossy();
        ["token", "access_token"]
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known))
    };
    if query.split('&').any(named) {
        return Err(Problem::bad_parameter("query", Wrong::TokenInAddress).into());
    }
    Ok(())
}

/// Why a request goes no further.
pub enum No {
    Problem(Problem),
    Wait(Wait),
    /// No token, or none of ours.
    Unknown(&'static str),
}

impl From<Problem> for No {
    fn from(problem: Problem) -> Self {
        No::Problem(problem)
    }
}

impl IntoResponse for No {
    fn into_response(self) -> Response {
        match self {
            No::Problem(problem) => problem.into_response(),
            No::Wait(Wait(seconds)) => {
                let detail = format!("try again in {seconds} s");
                Problem::too_many_requests(seconds, detail).into_response()
            }
            No::Unknown(detail) => {
                let problem = Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail);
                ([(header::WWW_AUTHENTICATE, "Bearer")], problem).into_response()
            }
        }
    }
}

/// What one path asks: certificate, token or session, role, origin, and a body that is whole and
/// not too large. Tells the handlers who asks.
pub async fn admit(
    Extract((state, access)): Extract<(State, Access)>,
    request: Request,
    next: Next,
) -> Response {
    let (mut parts, body) = request.into_parts();
    match let_in(&state, access, &parts) {
        Ok(Some((pass, session))) => {
            parts.extensions.insert(pass.caller.role);
            parts.extensions.insert(pass.caller.clone());
            parts.extensions.insert(pass);
            if let Some(session) = session {
                parts.extensions.insert(session);
            }
        }
        Ok(None) => {}
        Err(no) => return no.into_response(),
    }
    match whole(body).await {
        Ok(body) => next.run(Request::from_parts(parts, body)).await,
        Err(problem) => problem.into_response(),
    }
}

type Admitted = Option<(Pass, Option<Found>)>;

fn let_in(state: &State, access: Access, parts: &Parts) -> Result<Admitted, No> {
    let connection = connection(parts);
    if access == Access::Health {
        return Ok(None);
    }
    if !connection.certified && state.door.tls.as_ref().is_some_and(CurrentTls::asks) {
        let detail = "this needs a certificate of one of the authorities in `client_ca`";
        let status = StatusCode::FORBIDDEN;
        return Err(Problem::new(status, "client_certificate", detail).into());
    }
    let role = match access {
        Access::Health | Access::Open => return Ok(None),
        Access::Viewer => Role::Viewer,
        Access::Operator => Role::Operator,
    };
    let (pass, session) = identify(state, parts, connection)?;
    if pass.caller.role < role {
        return Err(not_for_viewers().into());
    }
    if let Some(session) = &session
        && ![Method::GET, Method::HEAD].contains(&parts.method)
    {
        check_csrf(parts, connection, session)?;
    }
    Ok(Some((pass, session)))
}

fn identify(
    state: &State,
    parts: &Parts,
    connection: Connection,
) -> Result<(Pass, Option<Found>), No> {
    if parts.headers.contains_key(header::AUTHORIZATION) {
        // None at all is as good as a wrong one.
        let offered = bearer(&parts.headers).unwrap_or_default();
        let holder = check_token(state, connection, offered)?;
        return Ok((Pass::of_token(holder), None));
    }
    let detail = "send `Authorization: Bearer TOKEN`; the start banner names the token file";
    let Some(id) = cookie(&parts.headers, connection.tls) else {
        return Err(No::Unknown(detail));
    };
    // A page on another port of this host makes a browser send the cookie, too: it would read
    // nothing, but take streams and write into the audit.
    if host::from_elsewhere(parts) {
        let detail = "a session is for our own page";
        return Err(Problem::new(StatusCode::FORBIDDEN, "csrf", detail).into());
    }
    // 256 random bits are not guessed, so these need no slower rate than requests have.
    match state.door.session(id, state.shared.clock.now()) {
        Some(found) => Ok((Pass::of_session(id, &found), Some(found))),
        None => Err(No::Unknown("this session has ended: sign in again")),
    }
}

/// Whose token this is. One that is none of ours is counted, and said in the log without a byte of
/// it.
pub(super) fn check_token(
    state: &State,
    connection: Connection,
    token: &[u8],
) -> Result<(Caller, Digest), No> {
    let known = state.door.tokens.load().caller(token);
    known.ok_or_else(|| wrong(state, connection))
}

fn wrong(state: &State, connection: Connection) -> No {
    match state.door.limits.wrong(Peer::of(connection.peer)) {
        Ok(()) => {
            let peer = connection.peer.map(|peer| peer.to_string());
            let peer = peer.as_deref().unwrap_or("unix");
            tracing::warn!(
                { field::PEER } = peer,
                "the admin port: a token that is none of ours"
            );
            No::Unknown("this token is none of ours")
        }
        Err(wait) => No::Wait(wait),
    }
}

/// The one token of the one header.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(only), None) = (all.next(), all.next()) else {
        return None;
    };
    let (scheme, token) = only.as_bytes().split_at_checked(7)?;
    let named = scheme.eq_ignore_ascii_case(b"bearer ");
    named.then(|| token.trim_ascii())
}

/// Name of the session's cookie. Under TLS a browser takes it from nobody but this very host.
pub fn cookie_name(tls: bool) -> &'static str {
    match tls {
        true => "__Host-callseal_session",
        false => "callseal_session",
    }
}

/// The id in the session's cookie, if it is there once.
pub fn cookie(headers: &HeaderMap, tls: bool) -> Option<&str> {
    let fields = headers.get_all(header::COOKIE).iter();
    let pairs = fields
        .filter_map(|field| field.to_str().ok())
        .flat_map(|field| field.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    let mut ours = pairs.filter(|(name, _)| *name == cookie_name(tls));
    match (ours.next(), ours.next()) {
        (Some((_, id)), None) if id.len() == 64 => Some(id),
        (Some(_) | None, _) => None,
    }
}

/// A page elsewhere can make a browser send our cookie. It can neither read our word nor say that
/// it is a page of ours.
fn check_csrf(parts: &Parts, connection: Connection, session: &Found) -> Result<(), Problem> {
    let said = host::one(&parts.headers, CSRF_HEADER).unwrap_or_default();
    let expected = session.csrf.as_bytes();
    let same = aws_lc_rs::constant_time::verify_slices_are_equal(said.as_bytes(), expected);
    match same.is_ok() && host::same_origin(parts, connection.tls) {
        true => Ok(()),
        false => Err(Problem::new(
            StatusCode::FORBIDDEN,
            "csrf",
            "a change by cookie needs X-Callseal-CSRF as GET /session gives it, and our own Origin",
        )),
    }
}

/// The body, read to its end: who sends slowly or too much holds nobody else up.
async fn whole(body: Body) -> Result<Body, Problem> {
    let reading = Limited::new(body, BODY_MAX).collect();
    match tokio::time::timeout(BODY_PATIENCE, reading).await {
        Ok(Ok(body)) => Ok(Body::from(body.to_bytes())),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_large",
            format!("a body has at most {BODY_MAX} bytes"),
        )
        .said("body_large")
        .fact("most", BODY_MAX)),
        Ok(Err(_)) => Err(Problem::bad_parameter("body", Wrong::BrokenOff)),
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "timeout",
            "the body did not come in time",
        )),
    }
}

/// Says no to a viewer.
pub fn operator_only(role: Role) -> Result<(), Problem> {
    match role {
        Role::Operator => Ok(()),
        Role::Viewer => Err(not_for_viewers()),
    }
}

fn not_for_viewers() -> Problem {
    let detail = "this needs an operator's token";
    Problem::new(StatusCode::FORBIDDEN, "operator_only", detail)
}
