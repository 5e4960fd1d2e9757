//! Asking over TLS: one connection for one request, to the host that was named and no other.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::StatusCode;
use http::header::HeaderValue;
use hyper_util::rt::TokioIo;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::clock::Clock;
use crate::connect::{self, Tls};
use crate::remote::budget::Budget;
use crate::remote::token::{self, TokenId, Tokens};
use crate::remote::wire::{self, Message};
use crate::remote::{Ask, Auth, Outbound, Pending, RemoteAnswer, RemoteFault};
use crate::rule::address::is_public;
use crate::secret::{Secret, cause_of};
use crate::settings::OutboundSettings;
use crate::telemetry::{Metrics, ResultLabel};

/// The root certificates of `outbound.roots` cannot be used.
#[derive(Debug)]
pub enum RootsError {
    Unreadable {
        path: PathBuf,
        cause: io::ErrorKind,
    },
    /// No certificate in it, or one that cannot be a root.
    NoCertificate {
        path: PathBuf,
    },
}

impl fmt::Display for RootsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RootsError::Unreadable { path, cause } => {
                write!(f, "{}: {}", path.display(), cause_of(*cause))
            }
            RootsError::NoCertificate { path } => write!(
                f,
                "{}: not a list of root certificates (-----BEGIN CERTIFICATE-----)",
                path.display()
            ),
        }
    }
}

impl std::error::Error for RootsError {}

/// HTTP/1.1 over TLS. Shared by all cores.
pub struct HttpsAsk {
    tls: Tls,
    connect: BTreeMap<(String, u16), SocketAddr>,
    private: bool,
    budget: Budget,
    tokens: Tokens,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
}

impl HttpsAsk {
    /// Reads the extra roots. The machine's own are read when first needed, or by `prepare`.
    pub fn new(
        settings: &OutboundSettings,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
    ) -> Result<Self, RootsError> {
        let extra = settings.roots.as_deref().map(roots).transpose()?;
        Ok(HttpsAsk {
            tls: Tls::native_and(extra.unwrap_or_default()),
            connect: settings.connect.clone(),
            private: settings.private,
            budget: Budget::new(settings.per_minute),
            tokens: Tokens::default(),
            clock,
            metrics,
        })
    }

    /// Reads the machine's roots now, so that no request has to wait for the disk.
    pub fn prepare(&self) {
        self.tls.prepare();
    }

    /// Connects to the host of a request, and over TLS looks at its certificate; sends nothing.
    pub async fn reach(&self, request: &Outbound) -> Result<(), RemoteFault> {
        let end = Instant::now() + request.timeout;
        let connected = async {
            let stream = self.dial(request, end).await?;
            if request.https {
                connect::tls(&self.tls, &request.host, stream).await?;
            }
            Ok(())
        };
        self.within(end, connected).await
    }

    async fn answer(&self, request: &Outbound) -> Result<RemoteAnswer, RemoteFault> {
        let plain = !request.https && !request.own_host;
        if plain || !wire::is_host(&request.host) {
            return Err(RemoteFault::HostNotAllowed);
        }
        let end = Instant::now() + request.timeout;
        match &request.auth {
            Auth::None => self.exchange(request, None, end).await,
            Auth::Bearer(token) => {
                let proof = wire::bearer(token)?;
                self.exchange(request, Some(proof), end).await
            }
            Auth::Basic { user, password } => {
                let proof = wire::basic(user.expose(), password.expose())?;
                self.exchange(request, Some(proof), end).await
            }
            Auth::OAuth2 {
                target,
                user,
                password,
            } => {
                let id = TokenId::new(request, target, user, password);
                let token = self.token(request, &id, end).await?;
                let proof = wire::bearer(&token)?;
                let answer = self.exchange(request, Some(proof), end).await?;
                if answer.status != StatusCode::UNAUTHORIZED {
                    return Ok(answer);
                }
                // Tokens can end early; a request with one that did was not carried out.
                let forgotten = async {
                    self.tokens.forget(&id, &token).await;
                    Ok(())
                };
                self.within(end, forgotten).await?;
                let token = self.token(request, &id, end).await?;
                let proof = wire::bearer(&token)?;
                self.exchange(request, Some(proof), end).await
            }
        }
    }

    async fn token(
        &self,
        request: &Outbound,
        id: &TokenId,
        end: Instant,
    ) -> Result<Arc<Secret>, RemoteFault> {
        let Auth::OAuth2 {
            target,
            user,
            password,
        } = &request.auth
        else {
            return Err(RemoteFault::Unsendable);
        };
        let fetch = async {
            let message = token::message(request, target, user, password)?;
            token::granted(&self.send(request, message, end).await?)
        };
        let kept = self.tokens.get(id, &*self.clock, fetch);
        self.within(end, kept).await
    }

    async fn exchange(
        &self,
        request: &Outbound,
        proof: Option<HeaderValue>,
        end: Instant,
    ) -> Result<RemoteAnswer, RemoteFault> {
        self.send(request, wire::message(request, proof)?, end)
            .await
    }

    /// One message to the host of `request`.
    async fn send(
        &self,
        request: &Outbound,
        message: Message,
        end: Instant,
    ) -> Result<RemoteAnswer, RemoteFault> {
        let name = format!("{}:{}", request.host.to_ascii_lowercase(), request.port);
        if !self.budget.take(&name, self.clock.now()) {
            return Err(RemoteFault::RateLimited);
        }
        let exchanged = async {
            let part = connect::part(end.saturating_duration_since(Instant::now()));
            let by = Instant::now() + part;
            let stream = self.dial(request, by).await?;
            if request.https {
                let handshake = connect::tls(&self.tls, &request.host, stream);
                let stream = timeout_at(by, handshake).await;
                let stream = stream.map_err(|_| RemoteFault::Timeout)??;
                wire::exchange(TokioIo::new(stream), message).await
            } else {
                wire::exchange(TokioIo::new(stream), message).await
            }
        };
        self.within(end, exchanged).await
    }

    async fn within<T>(
        &self,
        end: Instant,
        work: impl Future<Output = Result<T, RemoteFault>>,
    ) -> Result<T, RemoteFault> {
        timeout_at(end, work)
            .await
            .unwrap_or(Err(RemoteFault::Timeout))
    }

    /// The addresses are looked at after the name was looked up, and those are dialled: a name
    /// that changes its mind between the two gains nothing.
    async fn dial(&self, request: &Outbound, by: Instant) -> Result<TcpStream, RemoteFault> {
        let place = (request.host.to_ascii_lowercase(), request.port);
        if let Some(address) = self.connect.get(&place) {
            return Ok(connect::dial(&[*address], by).await?);
        }
        let within = by.saturating_duration_since(Instant::now());
        let mut addresses = connect::addresses(&request.host, request.port, within).await?;
        if !self.private && !request.own_host {
            addresses.retain(|address| is_public(address.ip()));
        }
        match addresses.is_empty() {
            true => Err(RemoteFault::AddressPrivate),
            false => Ok(connect::dial(&addresses, by).await?),
        }
    }
}

impl Ask for HttpsAsk {
    fn ask<'a>(&'a self, request: &'a Outbound) -> Pending<'a, Result<RemoteAnswer, RemoteFault>> {
        Box::pin(async move {
            let answered = self.answer(request).await;
            let result = match &answered {
                Ok(_) => "answered",
                Err(fault) => fault.code(),
            };
            let counted = &self.metrics.outbound_requests;
            counted.get_or_create(&ResultLabel { result }).inc();
            answered
        })
    }
}

fn roots(path: &Path) -> Result<Vec<CertificateDer<'static>>, RootsError> {
    let pem = std::fs::read(path).map_err(|error| RootsError::Unreadable {
        path: path.to_owned(),
        cause: error.kind(),
    })?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    // One that rustls cannot use would be left out in silence later.
    let usable = |root: &CertificateDer<'static>| RootCertStore::empty().add(root.clone()).is_ok();
    match found {
        Ok(found) if !found.is_empty() && found.iter().all(usable) => Ok(found),
        Ok(_) | Err(_) => Err(RootsError::NoCertificate {
            path: path.to_owned(),
        }),
    }
}
