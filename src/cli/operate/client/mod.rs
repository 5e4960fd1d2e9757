//! Requests to the admin port, with the token, as JSON.

use std::fmt;
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::cli::http::{self as wire, AskError as WireError, Target, TargetError};
use crate::cli::operate::{Gateway, view};
use crate::cli::{EXIT_DENIED, EXIT_FAILED, EXIT_UNAVAILABLE, Place};
use crate::connect::ConnectError;
use crate::rule::diagnostic::Diagnostic;
use crate::secret::Secret;

mod sse;
mod token;

pub use sse::Message;
use sse::Parser;
use token::{NoToken, token};

/// For an answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// For a plan over millions of deliveries.
const LONG_PATIENCE: Duration = Duration::from_secs(120);
/// Nothing at all for so long, not even a comment, and a stream is taken for broken.
const SILENCE: Duration = Duration::from_secs(60);

/// Why there is no answer.
#[derive(Debug)]
pub enum AskError {
    Wire {
        target: String,
        error: WireError,
    },
    /// The gateway said no, in its own words.
    Problem {
        status: u16,
        code: String,
        detail: String,
        /// When to ask again (Retry-After).
        again: Option<Duration>,
    },
    /// Something else than the admin port answered.
    Strange {
        status: u16,
    },
}

impl AskError {
    /// How a process ends that could not go on.
    pub fn exit_code(&self) -> u8 {
        match self {
            AskError::Wire { .. } | AskError::Strange { .. } => EXIT_UNAVAILABLE,
            AskError::Problem {
                status: 401 | 403, ..
            } => EXIT_DENIED,
            AskError::Problem {
                status: 502..=504, ..
            } => EXIT_UNAVAILABLE,
            AskError::Problem { .. } => EXIT_FAILED,
        }
    }

    /// For how long nothing had been heard when it was noticed.
    pub fn noticed_after(&self) -> Duration {
        match self {
            AskError::Wire {
                error: WireError::Timeout,
                ..
            } => SILENCE,
            AskError::Wire { .. } | AskError::Problem { .. } | AskError::Strange { .. } => {
                Duration::ZERO
            }
        }
    }

    /// True when the same question may be answered later.
    pub fn may_pass(&self) -> bool {
        match self {
            AskError::Wire { .. } => true,
            AskError::Problem { status, .. } | AskError::Strange { status } => {
                matches!(status, 429 | 500 | 502..=504)
            }
        }
    }

    pub fn hint(&self) -> Option<&'static str> {
        match self {
            AskError::Wire {
                error: WireError::Connect(ConnectError::Failed(ErrorKind::PermissionDenied)),
                ..
            } => Some(
                "the group of a Unix socket may connect, and the user that the gateway runs as",
            ),
            AskError::Wire {
                error: WireError::Connect(ConnectError::Tls),
                ..
            } => Some(
                "--ca FILE names the certificate, or whom it must lead to; the host in --admin must be \
                 one of its names",
            ),
            AskError::Wire { .. } => {
                Some("is the gateway running? --admin names another address, --config its settings")
            }
            AskError::Problem { code, .. } => match code.as_str() {
                "unauthorized" => Some(
                    "--token env:NAME or file:PATH names another token; the start banner names the file",
                ),
                "operator_only" => {
                    Some("this token may only look: --token names that of an operator")
                }
                "client_certificate" => {
                    Some("--client-cert and --client-key name a certificate of your own")
                }
                "host" => {
                    Some("`hosts` under [admin] lists the names by which the port may be asked")
                }
                _ => None,
            },
            AskError::Strange { .. } => Some("is this the admin port of a gateway?"),
        }
    }
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AskError::Wire { target, error } => write!(f, "{target}: {error}"),
            AskError::Problem { code, detail, .. } => {
                // Several faults of a reload have a line each.
                let detail: Vec<String> = detail.lines().map(view::visible).collect();
                write!(f, "{} [{}]", detail.join("\n  "), view::visible(code))
            }
            AskError::Strange { status } => {
                write!(f, "an answer that is none of ours (status {status})")
            }
        }
    }
}

/// Parameters of a query, encoded as they are added.
#[derive(Clone, Debug, Default)]
pub struct Query(String);

impl Query {
    pub fn new() -> Self {
        Query::default()
    }

    #[must_use]
    pub fn with(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.0.push(if self.0.is_empty() { '?' } else { '&' });
        self.0.push_str(name);
        self.0.push('=');
        let value = value.to_string();
        self.0.extend(utf8_percent_encode(&value, NON_ALPHANUMERIC));
        self
    }

    #[must_use]
    pub fn may(self, name: &str, value: Option<impl fmt::Display>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    pub fn on(&self, path: &str) -> String {
        format!("{path}{}", self.0)
    }
}

/// A part of a path.
pub fn segment(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// What is heard from a stream.
#[derive(Debug)]
pub enum Heard {
    /// It is open: from now on nothing is missed.
    Open,
    Message(Message),
}

/// Why nobody can be asked.
#[derive(Debug)]
pub enum Unready {
    Settings(Vec<Diagnostic>),
    Target(TargetError),
    /// The token would go to another machine without TLS.
    Overheard(String),
    Token(NoToken),
    Runtime(std::io::Error),
}

impl Unready {
    pub fn hint(&self) -> Option<String> {
        match self {
            Unready::Overheard(_) => Some(
                "https://HOST:PORT where the admin port has `tls`; else a tunnel (`ssh -L \
                 8444:127.0.0.1:8444 HOST`) and --admin 127.0.0.1:8444. --plain-text sends it all \
                 the same"
                    .to_owned(),
            ),
            Unready::Settings(_) | Unready::Target(_) | Unready::Token(_) | Unready::Runtime(_) => {
                None
            }
        }
    }
}

impl fmt::Display for Unready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unready::Settings(found) => {
                let each: Vec<String> = found.iter().map(ToString::to_string).collect();
                f.write_str(&each.join("\n"))
            }
            Unready::Target(error) => error.fmt(f),
            Unready::Overheard(target) => write!(
                f,
                "{target}: without TLS whoever is on the way could read the token: it is not sent"
            ),
            Unready::Token(error) => write!(f, "no token: {error}"),
            Unready::Runtime(error) => error.fmt(f),
        }
    }
}

pub struct Client {
    target: Target,
    token: Secret,
    patience: Duration,
    runtime: tokio::runtime::Runtime,
}

impl Client {
    pub fn new(place: &Place, gateway: &Gateway) -> Result<Client, Unready> {
        // With both named, no settings are needed.
        let settings = match (&gateway.admin, &gateway.token) {
            // But for the certificate that they show, as far as there are any.
            (Some(admin), Some(_)) if admin.starts_with("https://") && gateway.ca.is_none() => {
                place.settings().ok().map(|(settings, _)| settings)
            }
            (Some(_), Some(_)) => None,
            (None, _) | (_, None) => Some(place.settings().map_err(Unready::Settings)?.0),
        };
        let target = Target::new(
            gateway.admin.as_deref(),
            gateway.ca.as_deref(),
            settings.as_ref(),
        );
        let target = match (&gateway.client_cert, &gateway.client_key) {
            (Some(cert), Some(key)) => {
                target.and_then(|target| target.with_identity(gateway.ca.as_deref(), cert, key))
            }
            (Some(_), None) | (None, _) => target,
        };
        let target = target.map_err(Unready::Target)?;
        if target.is_overheard() && !gateway.plain_text {
            return Err(Unready::Overheard(target.to_string()));
        }
        let token = token(gateway, settings.as_ref()).map_err(Unready::Token)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Unready::Runtime)?;
        Ok(Client {
            target,
            token,
            patience: PATIENCE,
            runtime,
        })
    }

    /// The same, which waits so long for each answer.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Where it asks, as a person writes it.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Waits inside the runtime that the requests run in.
    pub fn wait<T>(&self, for_what: impl Future<Output = T>) -> T {
        self.runtime.block_on(for_what)
    }

    pub fn get(&self, target: &str) -> Result<Value, AskError> {
        self.json(Method::GET, target, None, self.patience)
    }

    pub fn post(&self, target: &str, body: Option<&Value>) -> Result<Value, AskError> {
        self.json(Method::POST, target, body, self.patience)
    }

    /// The same for what has to count first.
    pub fn post_long(&self, target: &str, body: &Value) -> Result<Value, AskError> {
        self.json(Method::POST, target, Some(body), LONG_PATIENCE)
    }

    /// The body of the answer as it is.
    pub fn bytes(&self, target: &str) -> Result<Bytes, AskError> {
        self.ask(Method::GET, target, None, self.patience)
    }

    fn json(
        &self,
        method: Method,
        target: &str,
        body: Option<&Value>,
        patience: Duration,
    ) -> Result<Value, AskError> {
        let bytes = self.ask(method, target, body, patience)?;
        serde_json::from_slice(&bytes).map_err(|_| AskError::Strange { status: 200 })
    }

    fn ask(
        &self,
        method: Method,
        target: &str,
        body: Option<&Value>,
        patience: Duration,
    ) -> Result<Bytes, AskError> {
        let asking = async {
            let mut response = self.send(method, target, body).await?;
            let status = response.status();
            let bytes = response.body_mut().collect().await;
            let bytes = bytes
                .map_err(|error| self.wire(WireError::Http(error)))?
                .to_bytes();
            answered(status, again(&response), bytes)
        };
        self.runtime.block_on(async {
            let within = tokio::time::timeout(patience, asking).await;
            within.unwrap_or_else(|_| Err(self.wire(WireError::Timeout)))
        })
    }

    async fn send(
        &self,
        method: Method,
        target: &str,
        body: Option<&Value>,
    ) -> Result<http::Response<hyper::body::Incoming>, AskError> {
        let body = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
        let token = String::from_utf8_lossy(self.token.expose());
        wire::send(&self.target, method, target, Some(&token), body)
            .await
            .map_err(|error| self.wire(error))
    }

    fn wire(&self, error: WireError) -> AskError {
        AskError::Wire {
            target: self.target.to_string(),
            error,
        }
    }

    /// Reads a stream of server-sent events until `each` breaks or the stream ends.
    pub fn stream(
        &self,
        target: &str,
        mut each: impl FnMut(Heard) -> ControlFlow<()>,
    ) -> Result<(), AskError> {
        self.runtime.block_on(async {
            let response =
                tokio::time::timeout(PATIENCE, self.send(Method::GET, target, None)).await;
            let mut response = response.unwrap_or_else(|_| Err(self.wire(WireError::Timeout)))?;
            let status = response.status();
            if !status.is_success() {
                let bytes = response.body_mut().collect().await;
                let bytes = bytes.map_err(|error| self.wire(WireError::Http(error)))?;
                return answered(status, again(&response), bytes.to_bytes()).map(|_| ());
            }
            if each(Heard::Open).is_break() {
                return Ok(());
            }
            let mut parser = Parser::default();
            loop {
                let frame = tokio::time::timeout(SILENCE, response.body_mut().frame()).await;
                let frame = match frame {
                    Err(_) => return Err(self.wire(WireError::Timeout)),
                    Ok(None) => return Ok(()),
                    Ok(Some(frame)) => frame.map_err(|error| self.wire(WireError::Http(error)))?,
                };
                let Ok(data) = frame.into_data() else {
                    continue;
                };
                for message in parser.read(&data) {
                    if each(Heard::Message(message)).is_break() {
                        return Ok(());
                    }
                }
            }
        })
    }
}

/// Retry-After in seconds, as the admin port says it.
fn again<B>(response: &http::Response<B>) -> Option<Duration> {
    let said = response.headers().get(http::header::RETRY_AFTER)?;
    said.to_str().ok()?.parse().ok().map(Duration::from_secs)
}

fn answered(status: StatusCode, again: Option<Duration>, bytes: Bytes) -> Result<Bytes, AskError> {
    if status.is_success() {
        return Ok(bytes);
    }
    let problem: Option<Value> = serde_json::from_slice(&bytes).ok();
    let member = |name: &str| {
        let member = problem.as_ref().and_then(|problem| problem.get(name));
        member.and_then(Value::as_str).map(str::to_owned)
    };
    match (member("code"), member("detail")) {
        (Some(code), Some(detail)) => Err(AskError::Problem {
            status: status.as_u16(),
            code,
            detail,
            again,
        }),
        (None, _) | (_, None) => Err(AskError::Strange {
            status: status.as_u16(),
        }),
    }
}

#[cfg(test)]
mod tests;
