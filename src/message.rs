//! The words that every stage speaks: event ids, source names, headers, a request as it came.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;

use crate::clock::Timestamp;

/// Names an event for ever. It carries where the event lies in the journal (segment and byte
/// offset), so that finding it needs no look-up, and a random tag, so that an id from another
/// store does not fit here. Ids order as the events were accepted.
///
/// Written `evt_` and 26 characters of lower-case Crockford base 32 (digits, and letters without
/// i, l, o, u), which sort as the ids do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId {
    pub segment: u32,
    pub offset: u32,
    pub tag: u64,
}

/// Deliveries of one event at most. Records lie on multiples of this in the journal, so that the
/// low bits of an offset are free: they number the deliveries of the event that lies there.
pub const DELIVERIES: u32 = 8;

const CROCKFORD: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

impl EventId {
    /// The id of the event that this is a delivery of; the first delivery has the event's own.
    pub fn event(self) -> EventId {
        EventId {
            offset: self.offset & !(DELIVERIES - 1),
            ..self
        }
    }

    /// Which delivery of its event this is, from 0.
    pub fn delivery(self) -> u32 {
        self.offset & (DELIVERIES - 1)
    }

    /// The id of a delivery of the same event; `number` is below [`DELIVERIES`].
    pub fn of_delivery(self, number: u32) -> EventId {
        EventId {
            offset: self.event().offset | (number & (DELIVERIES - 1)),
            ..self
        }
    }

    fn as_u128(self) -> u128 {
        (u128::from(self.segment) << 96) | (u128::from(self.offset) << 64) | u128::from(self.tag)
    }

    fn from_u128(value: u128) -> Self {
        EventId {
            segment: (value >> 96) as u32,
            offset: (value >> 64) as u32,
            tag: value as u64,
        }
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.as_u128();
        f.write_str("evt_")?;
        for place in (0..26).rev() {
            let digit = ((value >> (place * 5)) & 31) as usize;
            let letter = CROCKFORD.get(digit).copied().unwrap_or(b'0');
            fmt::Write::write_char(f, letter as char)?;
        }
        Ok(())
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not an event id.
#[derive(Debug, PartialEq, Eq)]
pub struct BadEventId;

impl fmt::Display for BadEventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an event id: it is `evt_` and 26 characters from 0-9 a-z without i l o u")
    }
}

impl std::error::Error for BadEventId {}

impl FromStr for EventId {
    type Err = BadEventId;

    fn from_str(text: &str) -> Result<Self, BadEventId> {
        let digits = text.strip_prefix("evt_").ok_or(BadEventId)?;
        if digits.len() != 26 {
            return Err(BadEventId);
        }
        let mut value: u128 = 0;
        for (place, letter) in digits.bytes().enumerate() {
            let digit = CROCKFORD
                .iter()
                .position(|c| *c == letter)
                .ok_or(BadEventId)?;
            // 26 digits are 130 bits: the first may only use three of its five.
            if place == 0 && digit > 7 {
                return Err(BadEventId);
            }
            value = (value << 5) | digit as u128;
        }
        Ok(EventId::from_u128(value))
    }
}

/// The name of a source: the name of its rule file without `.toml`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceName(Arc<str>);

impl SourceName {
    pub fn new(name: &str) -> Self {
        SourceName(Arc::from(name))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// The name of a destination within its source.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DestinationName(Arc<str>);

impl DestinationName {
    /// The destination of a source's `forward`.
    pub const MAIN: &'static str = "main";

    pub fn new(name: &str) -> Self {
        DestinationName(Arc::from(name))
    }

    pub fn main() -> Self {
        DestinationName::new(Self::MAIN)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn is_main(&self) -> bool {
        &*self.0 == Self::MAIN
    }
}

impl fmt::Display for DestinationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DestinationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// One queue of deliveries: those of one source to one destination.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneName {
    pub source: SourceName,
    pub destination: DestinationName,
}

impl LaneName {
    pub fn new(source: &SourceName, destination: &DestinationName) -> Self {
        LaneName {
            source: source.clone(),
            destination: destination.clone(),
        }
    }

    pub fn main(source: &SourceName) -> Self {
        LaneName::new(source, &DestinationName::main())
    }
}

/// `shop`, or `shop to ledger`.
impl fmt::Display for LaneName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.destination.is_main() {
            return f.write_str(self.source.as_str());
        }
        write!(f, "{} to {}", self.source, self.destination)
    }
}

/// Header fields as received: names in lower case (they are case-insensitive, RFC 9110 §5.1),
/// values byte for byte, repeated fields kept apart and in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(Bytes, Bytes)>);

impl Headers {
    pub fn new() -> Self {
        Headers::default()
    }

    pub fn with_capacity(fields: usize) -> Self {
        Headers(Vec::with_capacity(fields))
    }

    /// Adds one field. The name must already be in lower case.
    pub fn push(&mut self, name: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.0.push((name.into(), value.into()));
    }

    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter().map(|(n, v)| (n.as_ref(), v.as_ref()))
    }

    /// All values of a field, in order. `name` in lower case.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.0
            .iter()
            .filter(move |(n, _)| n.as_ref() == name.as_bytes())
            .map(|(_, v)| v.as_ref())
    }

    /// The value of a field that stands exactly once; none when it is missing or repeated.
    pub fn only(&self, name: &str) -> Option<&[u8]> {
        let mut found = self.0.iter().filter(|(n, _)| n.as_ref() == name.as_bytes());
        let first = found.next()?;
        found.next().is_none().then_some(first.1.as_ref())
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes of all names and values.
    pub fn bytes(&self) -> usize {
        self.0.iter().map(|(n, v)| n.len() + v.len()).sum()
    }
}

impl<N: Into<Bytes>, V: Into<Bytes>> FromIterator<(N, V)> for Headers {
    fn from_iter<T: IntoIterator<Item = (N, V)>>(fields: T) -> Self {
        Headers(
            fields
                .into_iter()
                .map(|(n, v)| (n.into(), v.into()))
                .collect(),
        )
    }
}

/// A request exactly as it came, with its whole body. It says nothing about who sent it.
#[derive(Clone, Debug)]
pub struct RawRequest {
    /// As on the wire, e.g. `POST`.
    pub method: http::Method,
    /// The path as on the wire, without the query; never decoded, never normalised.
    pub path: String,
    /// The query as on the wire, without the question mark; none when there is no `?`.
    pub query: Option<String>,
    pub headers: Headers,
    pub body: Bytes,
    /// The sender: the TCP peer, or what a trusted proxy said of it. IPv4-mapped is IPv4.
    pub peer: IpAddr,
    pub received_at: Timestamp,
}

impl RawRequest {
    /// Path and query as on the wire.
    pub fn target(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        }
    }
}

/// What the provider hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: http::StatusCode,
    /// Lower-case names. Content-Length is added by the listener.
    pub headers: Headers,
    pub body: Bytes,
}

impl Answer {
    pub fn empty(status: http::StatusCode) -> Self {
        Answer {
            status,
            headers: Headers::new(),
            body: Bytes::new(),
        }
    }

    pub fn text(status: http::StatusCode, body: impl Into<Bytes>) -> Self {
        let mut headers = Headers::with_capacity(1);
        headers.push("content-type", "text/plain; charset=utf-8");
        Answer {
            status,
            headers,
            body: body.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_ids_round_trip_and_sort_as_text() {
        let a = EventId {
            segment: 1,
            offset: 64,
            tag: u64::MAX,
        };
        let b = EventId {
            segment: 1,
            offset: 72,
            tag: 0,
        };
        let c = EventId {
            segment: u32::MAX,
            offset: u32::MAX,
            tag: u64::MAX,
        };
        for id in [a, b, c] {
            assert_eq!(id.to_string().parse::<EventId>(), Ok(id));
        }
        assert!(a < b && a.to_string() < b.to_string());
        assert!(b < c && b.to_string() < c.to_string());
    }

    #[test]
    fn what_is_no_event_id_is_refused() {
        for text in [
            "",
            "evt_",
            "evt_0",
            "evt_zzzzzzzzzzzzzzzzzzzzzzzzzz",
            "0000000000000000000000000000",
        ] {
            assert_eq!(text.parse::<EventId>(), Err(BadEventId), "{text}");
        }
    }

    #[test]
    fn only_wants_exactly_one() {
        let headers: Headers = [("a", "1"), ("b", "2"), ("b", "3")].into_iter().collect();
        assert_eq!(headers.only("a"), Some(&b"1"[..]));
        assert_eq!(headers.only("b"), None);
        assert_eq!(headers.only("c"), None);
        assert_eq!(headers.all("b").collect::<Vec<_>>(), [&b"2"[..], &b"3"[..]]);
    }
}
