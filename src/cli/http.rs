//! One plain HTTP request to the admin port of a gateway on this machine.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub body: Bytes,
}

/// Why nothing came back.
#[derive(Debug)]
pub enum AskError {
    Connect(std::io::Error),
    Http(hyper::Error),
    Request(http::Error),
    Timeout,
}

impl std::fmt::Display for AskError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            AskError::Connect(error) => write!(f, "no connection: {error}"),
            AskError::Http(error) => write!(f, "no answer: {error}"),
            AskError::Request(error) => write!(f, "no such request: {error}"),
            AskError::Timeout => f.write_str("no answer in time"),
        }
    }
}

/// Asks once; `token` where the path wants one.
pub async fn ask(
    address: SocketAddr,
    method: http::Method,
    target: &str,
    token: Option<&str>,
    patience: Duration,
) -> Result<Reply, AskError> {
    let asking = async {
        let stream = tokio::net::TcpStream::connect(address)
            .await
            .map_err(AskError::Connect)?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(AskError::Http)?;
        let mut request = http::Request::builder()
            .method(method)
            .uri(target)
            .header("host", address.to_string());
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request
            .body(Empty::<Bytes>::new())
            .map_err(AskError::Request)?;
        let exchange = async {
            let response = sender.send_request(request).await.map_err(AskError::Http)?;
            let status = response.status().as_u16();
            let body = response
                .into_body()
                .collect()
                .await
                .map_err(AskError::Http)?
                .to_bytes();
            Ok(Reply { status, body })
        };
        tokio::select! {
            reply = exchange => reply,
            Err(error) = connection => Err(AskError::Http(error)),
        }
    };
    tokio::time::timeout(patience, asking)
        .await
        .unwrap_or(Err(AskError::Timeout))
}
