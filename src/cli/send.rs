//! `callseal send SOURCE`: a test callback on its way, over TLS, as the provider would send it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::cli::http::AskError;
use crate::cli::sign::{self, Deed, Signed, What};
use crate::cli::subject::Shelf;
use crate::cli::{EXIT_FAILED, EXIT_UNAVAILABLE, Place, output};
use crate::connect::{self, Tls};
use crate::listener::tls;
use crate::message::{Answer, RawRequest};
use crate::rule::{Address, value};
use crate::settings::Settings;
use crate::verify::trace::shown;

/// For one callback, from connecting to the end of the answer.
const PATIENCE: Duration = Duration::from_secs(30);
const LONGEST_ANSWER: usize = 64 * 1024;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit code 0 when every answer is the one that such a callback should get, 1 when not, 69 when there \
is none. A gateway with a certificate made for development is trusted when its data directory is this one's.")]
pub struct Options {
    #[command(flatten)]
    what: What,
    /// Where to [default: the public port of the settings, on this machine, and the source's path]
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    /// How often, each with an id of its own
    #[arg(long, value_name = "N", default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
    /// Do not check the certificate; only for this machine itself
    #[arg(long)]
    insecure: bool,
}

/// What came back.
struct Heard {
    status: u16,
    body: Bytes,
}

pub fn run(place: &Place, options: &Options) -> Result<(), u8> {
    let shelf = Shelf::read(place, options.what.provider.is_none())?;
    let mut wrong = 0;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|_| EXIT_FAILED)?;
    for _ in 0..options.repeat {
        let signed = sign::make(&shelf, &options.what)?;
        let to = destination(options, &shelf.settings, &signed)?;
        for (number, request) in signed.requests.iter().enumerate() {
            let wanted = wanted(options.what.action, &signed, number);
            // A timer needs the runtime that it belongs to.
            let sent = runtime.block_on(async {
                let sending = send(&to, options.insecure, &shelf.settings, request);
                tokio::time::timeout(PATIENCE, sending).await
            });
            let heard = match sent {
                Ok(Ok(heard)) => heard,
                Ok(Err(why)) => {
                    output::remark(format_args!("error: {to}: {why}"));
                    return Err(EXIT_UNAVAILABLE);
                }
                Err(_) => {
                    output::remark(format_args!("error: {to}: no answer in time"));
                    return Err(EXIT_UNAVAILABLE);
                }
            };
            let fits = heard.status == wanted.status.as_u16() && heard.body == wanted.body;
            wrong += usize::from(!fits);
            let text = shown(&heard.body, false);
            output::line(format!("{} {text}", heard.status).trim_end());
            if !fits {
                let text = shown(&wanted.body, false);
                output::remark(format!("expected: {} {text}", wanted.status.as_u16()).trim_end());
                if signed.asks.is_some() || signed.strange_key {
                    output::remark("(see the note above: this could not be accepted)");
                }
            }
        }
    }
    if wrong == 0 { Ok(()) } else { Err(EXIT_FAILED) }
}

/// The answer that such a callback should get.
fn wanted(action: Option<Deed>, signed: &Signed, number: usize) -> &Answer {
    let answers = &signed.rule.provider.answers;
    match action {
        Some(Deed::Forged | Deed::Stale) => &answers.rejected,
        Some(Deed::Duplicate) if number > 0 => &answers.duplicate,
        Some(Deed::Duplicate | Deed::Payment | Deed::Refund | Deed::Cancel) | None => {
            &answers.accepted
        }
    }
}

fn destination(options: &Options, settings: &Settings, signed: &Signed) -> Result<Address, u8> {
    let path = signed
        .requests
        .first()
        .map_or("/", |request| request.path.as_str());
    let url = match &options.to {
        Some(url) => url.clone(),
        None => format!("https://localhost:{}{path}", settings.listen.address.port()),
    };
    let fail = |why: String| {
        output::remark(format_args!("error: {url}: {why}"));
        EXIT_FAILED
    };
    let to = value::address(&url).map_err(|complaint| fail(complaint.message))?;
    if (options.insecure || !to.https) && !is_here(&to.host) {
        return Err(fail(
            "without a checked certificate only this machine itself".to_owned(),
        ));
    }
    Ok(to)
}

fn is_here(host: &str) -> bool {
    host == "localhost"
        || host
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback())
}

async fn send(
    to: &Address,
    insecure: bool,
    settings: &Settings,
    request: &RawRequest,
) -> Result<Heard, String> {
    let stream = connect::tcp(&to.host, to.port, PATIENCE)
        .await
        .map_err(|error| AskError::Connect(error).to_string())?;
    if !to.https {
        return exchange(stream, to, request).await;
    }
    if insecure {
        let name = ServerName::try_from(to.host.clone()).map_err(|error| error.to_string())?;
        let stream = tokio_rustls::TlsConnector::from(unchecked()?)
            .connect(name, stream)
            .await
            .map_err(|error| format!("TLS: {error}"))?;
        return exchange(stream, to, request).await;
    }
    let authority = tls::development_authority(&settings.inbox.store.join("tls"));
    let own = CertificateDer::from_pem_file(authority)
        .ok()
        .filter(|_| is_here(&to.host));
    let trusted = Tls::native_and(own.into_iter().collect());
    let stream = connect::tls(&trusted, &to.host, stream)
        .await
        .map_err(|_| "TLS: the certificate is not trusted, or not of this host".to_owned())?;
    exchange(stream, to, request).await
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    to: &Address,
    request: &RawRequest,
) -> Result<Heard, String> {
    let said = |error: hyper::Error| error.to_string();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(said)?;
    // The address decides where; the callback itself, what is asked there.
    let path = if to.path == "/" {
        request.path.as_str()
    } else {
        to.path.as_str()
    };
    let target = match (&request.query, path.contains('?')) {
        (Some(query), false) => format!("{path}?{query}"),
        _ => path.to_owned(),
    };
    let mut message = http::Request::builder()
        .method(request.method.clone())
        .uri(target)
        .header("host", &to.authority);
    for (name, value) in request.headers.iter() {
        if name != b"host" && name != b"content-length" {
            message = message.header(name, value);
        }
    }
    let message = message
        .body(Full::new(request.body.clone()))
        .map_err(|error| error.to_string())?;
    let answer = async {
        let response = sender.send_request(message).await.map_err(said)?;
        let status = response.status().as_u16();
        let limited = http_body_util::Limited::new(response.into_body(), LONGEST_ANSWER);
        let body = limited.collect().await.map_err(|error| error.to_string())?;
        Ok(Heard {
            status,
            body: body.to_bytes(),
        })
    };
    tokio::select! {
        heard = answer => heard,
        Err(error) = connection => Err(error.to_string()),
    }
}

fn unchecked() -> Result<Arc<rustls::ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let schemes = provider
        .signature_verification_algorithms
        .supported_schemes();
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let config = builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone(schemes)))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Takes every certificate. Only for connections that never leave this machine.
#[derive(Debug)]
struct Anyone(Vec<SignatureScheme>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}
