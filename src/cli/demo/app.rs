//! The merchant's application of the demo: an ordinary HTTP server that checks one signature, ours.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::clock::Timestamp;
use crate::relay::sign;
use crate::secret::Secret;

/// A delivery as the application saw it.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub event: String,
    pub attempt: u32,
    /// The Standard Webhooks signature of the relay fits.
    pub signed: bool,
    pub taken: bool,
    pub body: Bytes,
}

/// What a body holds whose first two deliveries are refused.
pub const TROUBLE: &str = "ORDER-THAT-NEEDS-PATIENCE";

/// Serves until the runtime ends; every delivery is told.
pub async fn serve(listener: TcpListener, key: Secret, tell: mpsc::UnboundedSender<Delivery>) {
    let key = Arc::new(key);
    while let Ok((stream, _)) = listener.accept().await {
        let (key, tell) = (key.clone(), tell.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request| take(request, key.clone(), tell.clone()));
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn take(
    request: http::Request<hyper::body::Incoming>,
    key: Arc<Secret>,
    tell: mpsc::UnboundedSender<Delivery>,
) -> Result<http::Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let mut response = http::Response::new(Full::new(Bytes::new()));
    let Ok(body) = body
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes)
    else {
        *response.status_mut() = http::StatusCode::BAD_REQUEST;
        return Ok(response);
    };
    let header = |name: &str| {
        parts
            .headers
            .get(name)
            .and_then(|v| v.to_str().ok())
            .unwrap_or("")
    };
    let attempt = header("callseal-attempt").parse().unwrap_or(0);
    let signed = header("webhook-timestamp").parse().is_ok_and(|at| {
        let expected = sign::signature(&key, header("webhook-id"), Timestamp::from_secs(at), &body);
        header("webhook-signature") == expected
    });
    let trouble = body
        .windows(TROUBLE.len())
        .any(|part| part == TROUBLE.as_bytes());
    let taken = signed && !(trouble && attempt <= 2);
    if !taken {
        *response.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
    }
    let _ = tell.send(Delivery {
        event: header("callseal-event").to_owned(),
        attempt,
        signed,
        taken,
        body,
    });
    Ok(response)
}

/// Opens the application's port.
pub async fn bind() -> std::io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}
