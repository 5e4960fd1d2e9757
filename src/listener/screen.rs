//! Looks at the raw bytes of a connection before hyper does, for what hyper accepts or mends in
//! silence and a gateway must refuse: both framings at once, a repeated Content-Length, bare line
//! feeds (HTTP/1.1), and floods of control frames (HTTP/2). Pure: bytes in, verdicts out.

use std::collections::VecDeque;

/// What is wrong with the framing of a request. RFC 9112 §6.1 and §6.3 name these as the means of
/// request smuggling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FramingFault {
    /// Transfer-Encoding beside Content-Length.
    BothLengths,
    ContentLengthRepeated,
    ContentLengthMalformed,
    /// Any Transfer-Encoding but the one word `chunked`.
    TransferEncoding,
    /// A header line that ends in LF without CR.
    BareLineFeed,
    /// A header line that begins with white space.
    FoldedLine,
    /// A request after one whose end only hyper knows.
    AfterChunked,
    /// A `#` in the request target: hyper cuts the target there, so that what is matched, signed
    /// and passed on would not be what was sent.
    Fragment,
}

impl FramingFault {
    pub fn code(self) -> &'static str {
        match self {
            FramingFault::BothLengths => "both_lengths",
            FramingFault::ContentLengthRepeated => "content_length_repeated",
            FramingFault::ContentLengthMalformed => "content_length_malformed",
            FramingFault::TransferEncoding => "transfer_encoding",
            FramingFault::BareLineFeed => "bare_line_feed",
            FramingFault::FoldedLine => "folded_line",
            FramingFault::AfterChunked => "after_chunked",
            FramingFault::Fragment => "fragment",
        }
    }
}

/// What the head of one HTTP/1.1 request said about its framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Framing {
    pub fault: Option<FramingFault>,
    /// The body is chunked: this must be the last request of its connection, since the screen does
    /// not follow chunks.
    pub chunked: bool,
}

#[derive(Debug)]
enum Stage {
    /// Collecting a head; `scanned` bytes are known not to hold its end.
    Head { scanned: usize },
    /// Skipping a body of known length.
    Body { left: u64 },
    /// The end of the body is not followed: chunked, faulty, or a head beyond hyper's own limit.
    Blind,
}

/// Follows the requests of one HTTP/1.1 connection.
#[derive(Debug)]
pub struct HeadScreen {
    stage: Stage,
    head: Vec<u8>,
    limit: usize,
    verdicts: VecDeque<Framing>,
}

impl HeadScreen {
    /// `limit`: bytes of a head beyond which hyper answers 431 by itself.
    pub fn new(limit: usize) -> Self {
        HeadScreen {
            stage: Stage::Head { scanned: 0 },
            head: Vec::new(),
            limit,
            verdicts: VecDeque::new(),
        }
    }

    /// True while a head has begun and not ended: the time in which it must be done is running.
    pub fn in_head(&self) -> bool {
        matches!(self.stage, Stage::Head { .. }) && !self.head.is_empty()
    }

    /// The verdict on the next request that hyper hands over.
    pub fn next_verdict(&mut self) -> Framing {
        self.verdicts.pop_front().unwrap_or(Framing {
            fault: Some(FramingFault::AfterChunked),
            chunked: true,
        })
    }

    /// Takes the bytes that hyper is about to read.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match self.stage {
                Stage::Blind => return,
                Stage::Body { left } => {
                    let skip = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    bytes = bytes.get(skip..).unwrap_or_default();
                    let left = left - skip as u64;
                    self.stage = if left == 0 {
                        Stage::Head { scanned: 0 }
                    } else {
                        Stage::Body { left }
                    };
                }
                Stage::Head { scanned } => bytes = self.feed_head(bytes, scanned),
            }
        }
    }

    /// Returns what lies behind the head, if the head ended here.
    fn feed_head<'b>(&mut self, mut bytes: &'b [u8], scanned: usize) -> &'b [u8] {
        if self.head.is_empty() {
            // Empty lines before a request line are to be ignored (RFC 9112 §2.2).
            while let Some((b'\r' | b'\n', rest)) = bytes.split_first() {
                bytes = rest;
            }
        }
        let had = self.head.len();
        self.head.extend_from_slice(bytes);
        // The end may straddle two reads: look again at the last three bytes.
        let from = scanned.saturating_sub(3);
        let Some(end) = self
            .head
            .get(from..)
            .and_then(end_of_head)
            .map(|at| from + at)
        else {
            self.stage = Stage::Head {
                scanned: self.head.len(),
            };
            if self.head.len() > self.limit {
                self.head = Vec::new();
                self.stage = Stage::Blind;
            }
            return &[];
        };
        let (framing, length) = inspect(self.head.get(..end).unwrap_or_default());
        self.stage = match (framing.fault, framing.chunked, length) {
            (Some(_), _, _) | (None, true, _) => Stage::Blind,
            (None, false, Some(left)) if left > 0 => Stage::Body { left },
            (None, false, _) => Stage::Head { scanned: 0 },
        };
        self.verdicts.push_back(framing);
        self.head.clear();
        bytes.get(end.saturating_sub(had)..).unwrap_or_default()
    }
}

/// The length of the head with its empty line, if it is all there. A line may end in a bare LF
/// here: hyper takes it for a line end, so the screen must too, to see it and refuse it.
fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(lf) = bytes.get(at..)?.iter().position(|b| *b == b'\n') {
        let after = at + lf + 1;
        match bytes.get(after..) {
            Some([b'\n', ..]) => return Some(after + 1),
            Some([b'\r', b'\n', ..]) => return Some(after + 2),
            Some(_) | None => at = after,
        }
    }
    None
}

fn inspect(head: &[u8]) -> (Framing, Option<u64>) {
    let mut length: Option<u64> = None;
    let (mut lengths, mut encodings, mut fault) = (0, 0, None);
    let lines = head
        .strip_suffix(b"\n")
        .unwrap_or(head)
        .split(|b| *b == b'\n');
    for (number, line) in lines.enumerate() {
        let Some(line) = line.strip_suffix(b"\r") else {
            fault = fault.or(Some(FramingFault::BareLineFeed));
            continue;
        };
        if number == 0 && line.contains(&b'#') {
            fault = fault.or(Some(FramingFault::Fragment));
        }
        if number > 0 && matches!(line.first(), Some(b' ' | b'\t')) {
            fault = fault.or(Some(FramingFault::FoldedLine));
        }
        let Some(colon) = line.iter().position(|b| *b == b':') else {
            continue;
        };
        if number == 0 {
            continue;
        }
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        if name.eq_ignore_ascii_case(b"content-length") {
            lengths += 1;
            length = decimal(value);
            if length.is_none() {
                fault = fault.or(Some(FramingFault::ContentLengthMalformed));
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            encodings += 1;
            if !value.eq_ignore_ascii_case(b"chunked") {
                fault = fault.or(Some(FramingFault::TransferEncoding));
            }
        }
    }
    if lengths > 1 {
        fault = fault.or(Some(FramingFault::ContentLengthRepeated));
    }
    if encodings > 1 {
        fault = fault.or(Some(FramingFault::TransferEncoding));
    }
    if lengths > 0 && encodings > 0 {
        fault = Some(FramingFault::BothLengths);
    }
    (
        Framing {
            fault,
            chunked: encodings > 0,
        },
        length,
    )
}

/// Digits and nothing else: no sign, no list, no white space inside.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Counts the control frames of an HTTP/2 connection against the requests on it. h2 limits resets,
/// CONTINUATION and settings by itself; it answers any number of PINGs (100,000 were not cut).
#[derive(Debug)]
pub struct FrameScreen {
    /// Bytes of the preface still to come (RFC 9113 §3.4: 24 bytes).
    preface: usize,
    header: Vec<u8>,
    payload: usize,
    control: u64,
    requests: u64,
}

/// Control frames that a connection may send besides those for its requests.
const FREE_CONTROL_FRAMES: u64 = 200;
/// Control frames (acknowledgements, window updates, pings) that a request may cause.
const CONTROL_FRAMES_PER_REQUEST: u64 = 100;

impl Default for FrameScreen {
    fn default() -> Self {
        FrameScreen {
            preface: 24,
            header: Vec::with_capacity(9),
            payload: 0,
            control: 0,
            requests: 0,
        }
    }
}

impl FrameScreen {
    /// Takes the bytes that h2 is about to read; false when the connection must be cut.
    #[must_use]
    pub fn feed(&mut self, mut bytes: &[u8]) -> bool {
        loop {
            let skip = self.preface.min(bytes.len());
            self.preface -= skip;
            bytes = bytes.get(skip..).unwrap_or_default();
            let skip = self.payload.min(bytes.len());
            self.payload -= skip;
            bytes = bytes.get(skip..).unwrap_or_default();
            let want = 9 - self.header.len();
            let (now, later) = bytes.split_at(want.min(bytes.len()));
            self.header.extend_from_slice(now);
            bytes = later;
            let &[a, b, c, kind, flags, ..] = self.header.as_slice() else {
                return true;
            };
            if self.header.len() < 9 {
                return true;
            }
            self.header.clear();
            self.payload = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
            match kind {
                0x1 => self.requests += 1,
                // An empty DATA frame that ends nothing is a flood too (CVE-2019-9518).
                0x0 if self.payload == 0 && flags & 1 == 0 => self.control += 1,
                0x0 => {}
                _ => self.control += 1,
            }
            let allowed =
                FREE_CONTROL_FRAMES + CONTROL_FRAMES_PER_REQUEST.saturating_mul(self.requests);
            if self.control > allowed {
                return false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn verdicts(chunks: &[&[u8]]) -> Vec<Framing> {
        let mut screen = HeadScreen::new(16 * 1024);
        for chunk in chunks {
            screen.feed(chunk);
        }
        screen.verdicts.into()
    }

    const FINE: Framing = Framing {
        fault: None,
        chunked: false,
    };

    #[test]
    fn keep_alive_and_pipelined_requests_are_followed() {
        let two = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n";
        assert_eq!(verdicts(&[two]), [FINE, FINE]);
        let bytewise: Vec<&[u8]> = two.chunks(1).collect();
        assert_eq!(verdicts(&bytewise), [FINE, FINE]);
    }

    #[test]
    fn threat_20_framing_faults_are_seen() {
        let cases: &[(&str, FramingFault)] = &[
            (
                "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
                FramingFault::BothLengths,
            ),
            (
                "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
                FramingFault::BothLengths,
            ),
            (
                "Content-Length: 4\r\nContent-Length: 4\r\n",
                FramingFault::ContentLengthRepeated,
            ),
            (
                "Content-Length: +4\r\n",
                FramingFault::ContentLengthMalformed,
            ),
            (
                "Content-Length: 4, 4\r\n",
                FramingFault::ContentLengthMalformed,
            ),
            (
                "Transfer-Encoding: identity, chunked\r\n",
                FramingFault::TransferEncoding,
            ),
            (
                "Transfer-Encoding: xchunked\r\n",
                FramingFault::TransferEncoding,
            ),
            (
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                FramingFault::TransferEncoding,
            ),
            ("X: y\nContent-Length: 4\r\n", FramingFault::BareLineFeed),
            ("X: y\r\n folded\r\n", FramingFault::FoldedLine),
        ];
        for (lines, fault) in cases {
            let request = format!("POST / HTTP/1.1\r\nHost: x\r\n{lines}\r\nbody");
            assert_eq!(
                verdicts(&[request.as_bytes()])[0].fault,
                Some(*fault),
                "{lines:?}"
            );
            let bytewise: Vec<&[u8]> = request.as_bytes().chunks(1).collect();
            assert_eq!(
                verdicts(&bytewise)[0].fault,
                Some(*fault),
                "{lines:?} byte by byte"
            );
        }
        let fragment = b"POST /a#b HTTP/1.1\r\nHost: x\r\n\r\n";
        assert_eq!(verdicts(&[fragment])[0].fault, Some(FramingFault::Fragment));
        let lf_end = b"POST / HTTP/1.1\r\nHost: x\r\n\nbody";
        assert_eq!(
            verdicts(&[lf_end])[0].fault,
            Some(FramingFault::BareLineFeed)
        );
    }

    #[test]
    fn a_request_behind_a_chunked_one_is_a_fault() {
        let mut screen = HeadScreen::new(1024);
        screen.feed(
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        );
        assert_eq!(
            screen.next_verdict(),
            Framing {
                fault: None,
                chunked: true
            }
        );
        assert_eq!(
            screen.next_verdict().fault,
            Some(FramingFault::AfterChunked)
        );
    }

    #[test]
    fn the_head_is_known_to_be_under_way() {
        let mut screen = HeadScreen::new(1024);
        assert!(!screen.in_head());
        screen.feed(b"GET /");
        assert!(screen.in_head());
        screen.feed(b" HTTP/1.1\r\n\r\n");
        assert!(!screen.in_head());
    }

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let len = payload.len();
        let mut f = vec![
            (len >> 16) as u8,
            (len >> 8) as u8,
            len as u8,
            kind,
            0,
            0,
            0,
            0,
            0,
        ];
        f.extend_from_slice(payload);
        f
    }

    #[test]
    fn threat_19_a_ping_flood_is_cut_and_an_honest_connection_is_not() {
        let mut screen = FrameScreen::default();
        assert!(screen.feed(&[0; 24]));
        let honest: Vec<u8> = [
            frame(4, &[0; 6]),
            frame(1, &[0; 40]),
            frame(0, &[0; 500]),
            frame(8, &[0; 4]),
        ]
        .concat();
        for _ in 0..1000 {
            for piece in honest.chunks(7) {
                assert!(screen.feed(piece));
            }
        }
        let mut flood = FrameScreen::default();
        assert!(flood.feed(&[0; 24]));
        let pings = (0..1000)
            .take_while(|_| flood.feed(&frame(6, &[0; 8])))
            .count();
        assert_eq!(pings as u64, FREE_CONTROL_FRAMES);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_and_cuts_do_not_matter(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b':'), Just(b' '), any::<u8>()], 0..300),
            cut in 0usize..300,
        ) {
            let (a, b) = bytes.split_at(cut.min(bytes.len()));
            prop_assert_eq!(verdicts(&[&bytes]), verdicts(&[a, b]));
            let mut frames = FrameScreen::default();
            let _ = frames.feed(&bytes);
        }
    }
}
