//! What a request must be before anyone looks at what it says. hyper accepts more than a gateway
//! may; each refusal here is a request that two programs could read in two ways.

use std::net::IpAddr;

use http::request::Parts;
use http::{Method, Version};

use crate::listener::screen::{Framing, FramingFault, decimal};
use crate::message::Headers;

/// The head of a request that passed.
#[derive(Clone, Debug)]
pub struct Head {
    pub method: Method,
    /// As on the wire.
    pub path: String,
    pub query: Option<String>,
    pub headers: Headers,
    /// The other end of the connection (what PROXY protocol said, where that is in use).
    pub peer: IpAddr,
    /// Content-Length, where there is one.
    pub length: Option<u64>,
}

/// Why a request is not well-formed enough to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    Framing(FramingFault),
    HostMissing,
    HostRepeated,
    /// `:authority` and Host name two different hosts.
    HostDiffers,
    /// `GET http://host/path`, `*`, `CONNECT`.
    TargetForm,
    /// Anything in the path but `A-Z a-z 0-9 / _ . ~ -`, or in the query but visible ASCII.
    TargetCharacters,
    TargetTooLong,
    /// A header name with `_` that some servers read as one of ours.
    UnderscoreTwin,
    TooManyHeaders,
    HeadersTooLarge,
    /// Content-Encoding other than identity: 415.
    ContentEncoding,
    Upgrade,
    /// Not HTTP, as far as hyper could read. It has answered by itself.
    Unreadable,
}

impl Malformed {
    pub fn code(self) -> &'static str {
        match self {
            Malformed::Framing(fault) => fault.code(),
            Malformed::HostMissing => "host_missing",
            Malformed::HostRepeated => "host_repeated",
            Malformed::HostDiffers => "host_differs",
            Malformed::TargetForm => "target_form",
            Malformed::TargetCharacters => "target_characters",
            Malformed::TargetTooLong => "target_too_long",
            Malformed::UnderscoreTwin => "underscore_twin",
            Malformed::TooManyHeaders => "too_many_headers",
            Malformed::HeadersTooLarge => "headers_too_large",
            Malformed::ContentEncoding => "content_encoding",
            Malformed::Upgrade => "upgrade",
            Malformed::Unreadable => "unreadable",
        }
    }
}

/// Largest head, in fields, bytes, and bytes of the request target.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    pub fields: usize,
    pub bytes: usize,
    pub target: usize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        HeadLimits {
            fields: 64,
            bytes: 16 * 1024,
            target: 8 * 1024,
        }
    }
}

/// Takes a request's head apart, or says what is wrong with it.
pub fn inspect(
    parts: &Parts,
    framing: Framing,
    peer: IpAddr,
    limits: HeadLimits,
) -> Result<Head, Malformed> {
    if let Some(fault) = framing.fault {
        return Err(Malformed::Framing(fault));
    }
    let (path, query) = target(parts, limits)?;
    host(parts)?;
    if parts.headers.len() > limits.fields {
        return Err(Malformed::TooManyHeaders);
    }
    let mut headers = Headers::with_capacity(parts.headers.len());
    for (name, value) in &parts.headers {
        check_name(name.as_str())?;
        headers.push(
            bytes::Bytes::copy_from_slice(name.as_str().as_bytes()),
            bytes::Bytes::copy_from_slice(value.as_bytes()),
        );
    }
    if headers.bytes() > limits.bytes {
        return Err(Malformed::HeadersTooLarge);
    }
    if headers
        .all("content-encoding")
        .any(|v| !v.trim_ascii().eq_ignore_ascii_case(b"identity"))
    {
        return Err(Malformed::ContentEncoding);
    }
    if headers.all("upgrade").next().is_some() {
        return Err(Malformed::Upgrade);
    }
    let length = length(&headers)?;
    Ok(Head {
        method: parts.method.clone(),
        path,
        query,
        headers,
        peer,
        length,
    })
}

/// HTTP/2 frames carry the length, and no screen sees the fields: a second Content-Length would
/// pass there, for the application to choose from.
fn length(headers: &Headers) -> Result<Option<u64>, Malformed> {
    let mut lengths = headers.all("content-length");
    let (Some(length), second) = (lengths.next(), lengths.next()) else {
        return Ok(None);
    };
    if second.is_some() {
        return Err(Malformed::Framing(FramingFault::ContentLengthRepeated));
    }
    let malformed = Malformed::Framing(FramingFault::ContentLengthMalformed);
    decimal(length).map(Some).ok_or(malformed)
}

fn target(parts: &Parts, limits: HeadLimits) -> Result<(String, Option<String>), Malformed> {
    // HTTP/2 always carries scheme and authority; in HTTP/1.1 they make the absolute form.
    let absolute = parts.version <= Version::HTTP_11 && parts.uri.scheme().is_some();
    if absolute || parts.method == Method::CONNECT {
        return Err(Malformed::TargetForm);
    }
    let (path, query) = (parts.uri.path(), parts.uri.query());
    if path.len() + query.map_or(0, str::len) > limits.target {
        return Err(Malformed::TargetTooLong);
    }
    if !path.starts_with('/') {
        return Err(Malformed::TargetForm);
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'_' | b'.' | b'~' | b'-');
    if !path.bytes().all(plain) || !query.unwrap_or("").bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Malformed::TargetCharacters);
    }
    Ok((path.to_owned(), query.map(str::to_owned)))
}

/// Exactly one Host, or HTTP/2's `:authority` and no Host that differs (RFC 9112 §3.2, RFC 9113
/// §8.3.1).
fn host(parts: &Parts) -> Result<(), Malformed> {
    let mut hosts = parts.headers.get_all(http::header::HOST).iter();
    let (first, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err(Malformed::HostRepeated);
    }
    match (first, parts.uri.authority()) {
        (None, None) => Err(Malformed::HostMissing),
        (Some(host), None) if host.as_bytes().is_empty() => Err(Malformed::HostMissing),
        (Some(host), Some(authority))
            if !host
                .as_bytes()
                .eq_ignore_ascii_case(authority.as_str().as_bytes()) =>
        {
            Err(Malformed::HostDiffers)
        }
        (Some(_), _) | (None, Some(_)) => Ok(()),
    }
}

/// CGI and its heirs read `-` and `_` alike: `Callseal_Verified` would arrive as ours.
fn check_name(name: &str) -> Result<(), Malformed> {
    if name.contains('_') && name.replace('_', "-").starts_with("callseal-") {
        return Err(Malformed::UnderscoreTwin);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINE: Framing = Framing {
        fault: None,
        chunked: false,
    };

    fn check(
        build: impl FnOnce(http::request::Builder) -> http::request::Builder,
    ) -> Result<Head, Malformed> {
        let parts = build(http::Request::builder().method("POST").uri("/pay"))
            .body(())
            .unwrap()
            .into_parts()
            .0;
        inspect(
            &parts,
            FINE,
            "192.0.2.1".parse().unwrap(),
            HeadLimits::default(),
        )
    }

    #[test]
    fn an_honest_request_passes_with_its_parts_as_they_came() {
        let head = check(|r| {
            r.uri("/pay?a=%2F&b")
                .header("Host", "x")
                .header("X-A", "1")
                .header("X-A", "2")
        })
        .unwrap();
        assert_eq!(
            (head.path.as_str(), head.query.as_deref()),
            ("/pay", Some("a=%2F&b"))
        );
        assert_eq!(head.headers.all("x-a").collect::<Vec<_>>(), [b"1", b"2"]);
    }

    #[test]
    fn hosts() {
        assert_eq!(check(|r| r).unwrap_err(), Malformed::HostMissing);
        assert_eq!(
            check(|r| r.header("Host", "")).unwrap_err(),
            Malformed::HostMissing
        );
        assert_eq!(
            check(|r| r.header("Host", "a").header("Host", "a")).unwrap_err(),
            Malformed::HostRepeated
        );
        let h2 = |r: http::request::Builder| r.version(Version::HTTP_2).uri("https://a/pay");
        assert!(check(h2).is_ok());
        assert!(check(|r| h2(r).header("Host", "A")).is_ok());
        assert_eq!(
            check(|r| h2(r).header("Host", "b")).unwrap_err(),
            Malformed::HostDiffers
        );
    }

    #[test]
    fn threat_22_paths_that_could_be_read_in_two_ways() {
        for path in ["/a/%2e%2e/b", "/a;x=1", "/a%2fb", "/a//b%00", "/ä"] {
            let got = check(|r| r.uri(path).header("Host", "x"));
            assert_eq!(got.unwrap_err(), Malformed::TargetCharacters, "{path}");
        }
        assert_eq!(
            check(|r| r.uri("http://x/pay").header("Host", "x")).unwrap_err(),
            Malformed::TargetForm
        );
        assert_eq!(
            check(|r| r.uri("*").header("Host", "x")).unwrap_err(),
            Malformed::TargetForm
        );
        let long = format!("/{}", "a".repeat(9000));
        assert_eq!(
            check(|r| r.uri(long).header("Host", "x")).unwrap_err(),
            Malformed::TargetTooLong
        );
    }

    #[test]
    fn threat_16_and_21_headers() {
        let with = |name: &'static str, value: &'static str| {
            check(move |r| r.header("Host", "x").header(name, value))
        };
        assert_eq!(
            with("Callseal_Verified", "x").unwrap_err(),
            Malformed::UnderscoreTwin
        );
        assert_eq!(
            with("callseal_event_", "x").unwrap_err(),
            Malformed::UnderscoreTwin
        );
        assert!(with("X_Other", "x").is_ok());
        for encoding in ["gzip", "br", "GZip", "identity, gzip", ""] {
            assert_eq!(
                with("Content-Encoding", encoding).unwrap_err(),
                Malformed::ContentEncoding
            );
        }
        assert!(with("Content-Encoding", "Identity").is_ok());
        let twice = check(|r| {
            let r = r.header("Host", "x").header("Content-Length", "1");
            r.header("Content-Length", "1")
        });
        assert_eq!(
            twice.unwrap_err(),
            Malformed::Framing(FramingFault::ContentLengthRepeated)
        );
        assert_eq!(
            with("Content-Length", "+1").unwrap_err(),
            Malformed::Framing(FramingFault::ContentLengthMalformed)
        );
        assert_eq!(with("Content-Length", "7").unwrap().length, Some(7));
        assert_eq!(with("Upgrade", "h2c").unwrap_err(), Malformed::Upgrade);
        let many = check(|mut r| {
            r = r.header("Host", "x");
            for n in 0..64 {
                r = r.header(format!("x-{n}"), "1");
            }
            r
        });
        assert_eq!(many.unwrap_err(), Malformed::TooManyHeaders);
        let large = check(|r| r.header("Host", "x").header("x", "a".repeat(17_000)));
        assert_eq!(large.unwrap_err(), Malformed::HeadersTooLarge);
    }
}
