//! PROXY protocol, versions 1 and 2: the address of the client as a load balancer tells it.
//! <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>
//!
//! It is believed only from addresses that the operator listed, and then it is required: an
//! optional header could be written by whoever connects.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tokio::io::{AsyncRead, AsyncReadExt};

/// Longest version 1 line with its CRLF (the document, section 2.1).
const V1_MAX: usize = 107;
const V2_SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Longest version 2 payload taken: addresses and some TLVs.
const V2_MAX: usize = 536;

/// What is wrong with a PROXY header.
#[derive(Debug)]
pub enum ProxyError {
    Missing,
    Malformed,
    Io(io::ErrorKind),
}

impl From<io::Error> for ProxyError {
    fn from(error: io::Error) -> Self {
        ProxyError::Io(error.kind())
    }
}

/// Reads the header from the front of a stream, not one byte more. `None`: the proxy speaks for
/// itself (LOCAL, UNKNOWN), as its health checks do.
pub async fn read_header<S: AsyncRead + Unpin>(
    stream: &mut S,
) -> Result<Option<IpAddr>, ProxyError> {
    let mut start = [0u8; 12];
    // Both versions are longer than 12 bytes; the shortest, `PROXY UNKNOWN\r\n`, has 15.
    stream.read_exact(&mut start).await?;
    if start == V2_SIGNATURE {
        return read_v2(stream).await;
    }
    if !start.starts_with(b"PROXY ") {
        return Err(ProxyError::Missing);
    }
    let mut line = start.to_vec();
    while !line.ends_with(b"\r\n") {
        if line.len() >= V1_MAX {
            return Err(ProxyError::Malformed);
        }
        line.push(stream.read_u8().await?);
    }
    parse_v1(&line)
}

fn parse_v1(line: &[u8]) -> Result<Option<IpAddr>, ProxyError> {
    let line = std::str::from_utf8(line)
        .map_err(|_| ProxyError::Malformed)?
        .trim_end_matches("\r\n");
    let words: Vec<&str> = line.split(' ').collect();
    match words.as_slice() {
        ["PROXY", "UNKNOWN", ..] => Ok(None),
        [
            "PROXY",
            family,
            source,
            destination,
            source_port,
            destination_port,
        ] => {
            let ports = [source_port, destination_port];
            if !ports
                .iter()
                .all(|p| p.bytes().all(|b| b.is_ascii_digit()) && p.parse::<u16>().is_ok())
            {
                return Err(ProxyError::Malformed);
            }
            let (source, destination): (IpAddr, IpAddr) = match *family {
                "TCP4" => (v4(source)?.into(), v4(destination)?.into()),
                "TCP6" => (v6(source)?.into(), v6(destination)?.into()),
                _ => return Err(ProxyError::Malformed),
            };
            let _ = destination;
            Ok(Some(source.to_canonical()))
        }
        _ => Err(ProxyError::Malformed),
    }
}

fn v4(text: &str) -> Result<Ipv4Addr, ProxyError> {
    text.parse().map_err(|_| ProxyError::Malformed)
}

fn v6(text: &str) -> Result<Ipv6Addr, ProxyError> {
    text.parse().map_err(|_| ProxyError::Malformed)
}

async fn read_v2<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Option<IpAddr>, ProxyError> {
    let version_command = stream.read_u8().await?;
    let family = stream.read_u8().await?;
    let length = usize::from(stream.read_u16().await?);
    if length > V2_MAX {
        return Err(ProxyError::Malformed);
    }
    let mut payload = vec![0u8; length];
    stream.read_exact(&mut payload).await?;
    parse_v2(version_command, family, &payload)
}

fn parse_v2(version_command: u8, family: u8, payload: &[u8]) -> Result<Option<IpAddr>, ProxyError> {
    match version_command {
        0x20 => return Ok(None),
        0x21 => {}
        _ => return Err(ProxyError::Malformed),
    }
    match family {
        // TCP over IPv4: source, destination, two ports.
        0x11 => match payload {
            [a, b, c, d, rest @ ..] if rest.len() >= 8 => {
                Ok(Some(Ipv4Addr::new(*a, *b, *c, *d).into()))
            }
            _ => Err(ProxyError::Malformed),
        },
        // TCP over IPv6.
        0x21 => {
            let source: [u8; 16] = payload
                .get(..16)
                .filter(|_| payload.len() >= 36)
                .and_then(|s| s.try_into().ok())
                .ok_or(ProxyError::Malformed)?;
            Ok(Some(IpAddr::from(source).to_canonical()))
        }
        _ => Err(ProxyError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    async fn read(bytes: &[u8]) -> (Result<Option<IpAddr>, ProxyError>, usize) {
        let mut stream = bytes;
        let got = read_header(&mut stream).await;
        (got, stream.len())
    }

    fn v2(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = V2_SIGNATURE.to_vec();
        bytes.extend([command, family]);
        bytes.extend((payload.len() as u16).to_be_bytes());
        bytes.extend(payload);
        bytes
    }

    #[tokio::test]
    async fn both_versions_give_the_client_and_leave_the_rest() {
        let v1 = b"PROXY TCP4 203.0.113.7 10.0.0.1 51234 8443\r\nrest";
        assert!(matches!(read(v1).await, (Ok(Some(a)), 4) if a.to_string() == "203.0.113.7"));
        let v1 = b"PROXY TCP6 ::ffff:203.0.113.7 ::1 1 2\r\nrest";
        assert!(matches!(read(v1).await, (Ok(Some(a)), 4) if a.to_string() == "203.0.113.7"));
        assert!(matches!(read(b"PROXY UNKNOWN\r\n").await, (Ok(None), 0)));
        let mut bytes = v2(0x21, 0x11, &[203, 0, 113, 7, 10, 0, 0, 1, 0, 1, 0, 2]);
        bytes.extend(b"rest");
        assert!(matches!(read(&bytes).await, (Ok(Some(a)), 4) if a.to_string() == "203.0.113.7"));
        let mut six = [0u8; 36];
        six[15] = 1;
        assert!(
            matches!(read(&v2(0x21, 0x21, &six)).await, (Ok(Some(a)), 0) if a.to_string() == "::1")
        );
        assert!(matches!(read(&v2(0x20, 0, &[])).await, (Ok(None), 0)));
    }

    #[tokio::test]
    async fn threat_24_what_is_no_header_is_an_error() {
        assert!(matches!(
            read(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03xx")
                .await
                .0,
            Err(ProxyError::Missing)
        ));
        for bad in [
            &b"PROXY TCP4 203.0.113.07 10.0.0.1 1 2\r\n"[..],
            b"PROXY TCP4 203.0.113.7 10.0.0.1 1 +2\r\n",
            b"PROXY TCP4 203.0.113.7 10.0.0.1 1 70000\r\n",
            b"PROXY TCP4 ::1 ::1 1 2\r\n",
            b"PROXY UDP4 203.0.113.7 10.0.0.1 1 2\r\n",
            b"PROXY TCP4 203.0.113.7  10.0.0.1 1 2\r\n",
        ] {
            assert!(
                matches!(read(bad).await.0, Err(ProxyError::Malformed)),
                "{}",
                bad.escape_ascii()
            );
        }
        let endless = [&b"PROXY TCP4 "[..], &[b'1'; 200]].concat();
        assert!(matches!(read(&endless).await.0, Err(ProxyError::Malformed)));
        assert!(matches!(
            read(&v2(0x21, 0x11, &[1, 2, 3])).await.0,
            Err(ProxyError::Malformed)
        ));
        assert!(matches!(
            read(&v2(0x31, 0x11, &[0; 12])).await.0,
            Err(ProxyError::Malformed)
        ));
        assert!(matches!(
            read(&v2(0x21, 0x11, &[0; 600])).await.0,
            Err(ProxyError::Malformed)
        ));
        assert!(matches!(
            read(b"PROXY TCP4 1.2").await.0,
            Err(ProxyError::Io(io::ErrorKind::UnexpectedEof))
        ));
    }

    proptest! {
        #[test]
        fn no_payload_makes_it_panic(command: u8, family: u8, payload in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = parse_v2(command, family, &payload);
            let _ = parse_v1(&payload);
        }
    }
}
