//! Captured requests: read from a file as they were on the wire, and written so.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::message::{Headers, RawRequest};

/// Why a file is no request.
#[derive(Debug, PartialEq, Eq)]
pub struct NoRequest(pub &'static str);

/// A file, or standard input for `-`.
pub fn bytes(path: &Path) -> std::io::Result<Vec<u8>> {
    if path.as_os_str() != "-" {
        return std::fs::read(path);
    }
    let mut bytes = Vec::new();
    std::io::stdin().lock().read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Request line, header fields, a blank line, and the body as it is. Lines may end with LF alone.
pub fn parse(raw: &[u8], now: Timestamp) -> Result<RawRequest, NoRequest> {
    let mut rest = raw;
    let first = line(&mut rest).ok_or(NoRequest("there is no request line"))?;
    let first = std::str::from_utf8(first).map_err(|_| NoRequest(FIRST))?;
    let mut words = first.split_ascii_whitespace();
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Err(NoRequest(FIRST));
    };
    if !words
        .next()
        .is_none_or(|version| version.starts_with("HTTP/"))
    {
        return Err(NoRequest(FIRST));
    }
    let method = method.parse().map_err(|_| NoRequest(FIRST))?;
    let mut headers = Headers::new();
    loop {
        let field = line(&mut rest).ok_or(NoRequest("no blank line ends the header"))?;
        if field.is_empty() {
            break;
        }
        let (name, value) = header(field)?;
        headers.push(name, value);
    }
    let (path, query) = path_and_query(target);
    Ok(RawRequest {
        method,
        path,
        query,
        headers,
        body: Bytes::copy_from_slice(rest),
        peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
        received_at: now,
    })
}

const FIRST: &str = "the first line must be like: POST /path HTTP/1.1 (for a body alone, give --header, \
                     --path or --method)";

/// `Name: value`; the name in lower case.
pub fn header(field: &[u8]) -> Result<(String, Vec<u8>), NoRequest> {
    const BAD: NoRequest = NoRequest("a header field must be like: Name: value");
    let at = field.iter().position(|byte| *byte == b':').ok_or(BAD)?;
    let name = field.get(..at).unwrap_or_default();
    let name = http::HeaderName::from_bytes(name).map_err(|_| BAD)?;
    let value = field.get(at + 1..).unwrap_or_default().trim_ascii();
    Ok((name.as_str().to_owned(), value.to_vec()))
}

/// What stands on a request line; a whole address loses its scheme and host.
pub fn path_and_query(target: &str) -> (String, Option<String>) {
    let target = match target.split_once("://") {
        Some((_, rest)) => rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/"),
        None => target,
    };
    match target.split_once('?') {
        Some((path, query)) => (path.to_owned(), Some(query.to_owned())),
        None => (target.to_owned(), None),
    }
}

fn line<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = rest.iter().position(|byte| *byte == b'\n')?;
    let (line, after) = rest.split_at_checked(end)?;
    *rest = after.get(1..).unwrap_or_default();
    Some(line.strip_suffix(b"\r").unwrap_or(line))
}

/// The request as it would be sent.
pub fn written(request: &RawRequest, host: &str) -> Vec<u8> {
    let mut out = format!(
        "{} {} HTTP/1.1\r\nhost: {host}\r\n",
        request.method,
        request.target()
    )
    .into_bytes();
    for (name, value) in request.headers.iter() {
        if name != b"host" && name != b"content-length" {
            out.extend_from_slice(name);
            out.extend_from_slice(b": ");
            out.extend_from_slice(value);
            out.extend_from_slice(b"\r\n");
        }
    }
    out.extend_from_slice(format!("content-length: {}\r\n\r\n", request.body.len()).as_bytes());
    out.extend_from_slice(&request.body);
    out
}

/// The request as a line for a shell.
pub fn curl(request: &RawRequest, base: &str, ca: Option<&Path>) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "'\\''"));
    let ca = ca.map_or_else(String::new, |ca| {
        format!(" --cacert {}", quoted(&ca.display().to_string()))
    });
    let mut line = format!(
        "curl -i{ca} -X {} {}",
        request.method,
        quoted(&format!("{base}{}", request.target()))
    );
    for (name, value) in request.headers.iter() {
        if name == b"host" || name == b"content-length" {
            continue;
        }
        let field = format!(
            "{}: {}",
            String::from_utf8_lossy(name),
            String::from_utf8_lossy(value)
        );
        line.push_str(&format!(" \\\n  -H {}", quoted(&field)));
    }
    match std::str::from_utf8(&request.body) {
        Ok(body) if !body.contains('\0') => {
            line.push_str(&format!(" \\\n  --data-binary {}", quoted(body)));
            line
        }
        _ => {
            let body = data_encoding::BASE64.encode(&request.body);
            format!("printf %s {body} | base64 -d | {line} \\\n  --data-binary @-")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_byte_for_byte() {
        let raw = b"POST /a/b?x=1 HTTP/1.1\r\nHost: h\r\nX-Sig:  v \r\n\r\n{\"a\":1}\r\n\n";
        let request = parse(raw, Timestamp::from_secs(1)).unwrap();
        assert_eq!(
            (request.path.as_str(), request.query.as_deref()),
            ("/a/b", Some("x=1"))
        );
        assert_eq!(request.headers.only("x-sig"), Some(&b"v"[..]));
        assert_eq!(request.body.as_ref(), b"{\"a\":1}\r\n\n");
        let lf = b"PUT /a HTTP/1.1\nA: b\n\nbody";
        assert_eq!(
            parse(lf, Timestamp::from_secs(1)).unwrap().body.as_ref(),
            b"body"
        );
    }

    #[test]
    fn what_is_written_is_read_again() {
        let raw = b"POST /a?b HTTP/1.1\r\nhost: h\r\nx: y\r\ncontent-length: 3\r\n\r\n\x00\xff\n";
        let request = parse(raw, Timestamp::from_secs(1)).unwrap();
        assert_eq!(written(&request, "h"), raw);
        assert!(curl(&request, "https://h", None).contains("base64 -d"));
    }

    #[test]
    fn what_is_none_is_refused() {
        for bad in [
            "",
            "{\"a\":1}",
            "POST\n\n",
            "POST / HTTP/1.1\nx\n\n",
            "POST / HTTP/1.1\nx: y\n",
        ] {
            assert!(
                parse(bad.as_bytes(), Timestamp::from_secs(1)).is_err(),
                "{bad}"
            );
        }
    }
}
