//! Who may ask the admin port: the Host header (against DNS rebinding) and the bearer token.

use axum::extract::{Request, State as Extract};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::admin::State;
use crate::admin::problem::Problem;
use crate::admin::token::Role;

/// A page on the internet can make a browser ask a name that it points to 127.0.0.1. It cannot
/// make the browser say that the name is `localhost`.
pub async fn check_host(Extract(state): Extract<State>, request: Request, next: Next) -> Response {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let allowed = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().is_ok_and(|host| host_allowed(host, &state)),
        (None, _) | (Some(_), Some(_)) => false,
    };
    if !allowed {
        return Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            "host",
            "this Host header is not one of ours",
        )
        .into_response();
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    );
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn host_allowed(host: &str, state: &State) -> bool {
    let port = state.address.port();
    let (name, said) = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => {
            (name, port.parse::<u16>().ok())
        }
        Some(_) | None => (host, Some(80)),
    };
    let bound = state.address.ip().to_string();
    let names = ["localhost", "127.0.0.1", "[::1]", bound.as_str()];
    said == Some(port) && names.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// Lets requests with a token through, and tells the handlers what the token allows.
pub async fn require_token(
    Extract(state): Extract<State>,
    mut request: Request,
    next: Next,
) -> Response {
    match bearer(request.headers()).and_then(|token| state.tokens.caller(token)) {
        Some(caller) => {
            request.extensions_mut().insert(caller.role);
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        None => {
            let detail =
                "send `Authorization: Bearer TOKEN`; the start banner names the token file";
            let mut response =
                Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail).into_response();
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            response
        }
    }
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let (scheme, token) = headers
        .get(header::AUTHORIZATION)?
        .as_bytes()
        .split_at_checked(7)?;
    scheme
        .eq_ignore_ascii_case(b"bearer ")
        .then(|| token.trim_ascii())
}

/// Says no to a viewer.
pub fn operator_only(role: Role) -> Result<(), Problem> {
    match role {
        Role::Operator => Ok(()),
        Role::Viewer => Err(Problem::new(
            StatusCode::FORBIDDEN,
            "operator_only",
            "this needs an operator's token",
        )),
    }
}
