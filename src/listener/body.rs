//! The body of a request: read once, to a limit, within a time, counted against the budget.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;

use crate::listener::caps::BudgetShare;

/// A body that has not been read.
#[derive(Debug)]
pub struct Body {
    source: Source,
    share: BudgetShare,
    timeout: Duration,
}

#[derive(Debug)]
enum Source {
    Wire(hyper::body::Incoming),
    Whole(Bytes),
}

/// Why a body was not read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    TooLarge,
    TooSlow,
    /// The connection ended, or the framing broke.
    Broken,
    /// Too many bytes are held for other requests.
    NoRoom,
}

/// A body in memory, with the share of the budget that it holds until it is dropped.
#[derive(Debug)]
pub struct HeldBody {
    pub bytes: Bytes,
    pub share: BudgetShare,
}

impl Body {
    pub fn from_wire(body: hyper::body::Incoming, share: BudgetShare, timeout: Duration) -> Self {
        Body {
            source: Source::Wire(body),
            share,
            timeout,
        }
    }

    /// A body that is already whole.
    pub fn whole(bytes: impl Into<Bytes>, share: BudgetShare) -> Self {
        Body {
            source: Source::Whole(bytes.into()),
            share,
            timeout: Duration::ZERO,
        }
    }

    /// Reads all of it. `declared` is its Content-Length, if any. Room is taken as bytes arrive: if
    /// a mere promise took it, a few idle connections could promise all that there is away.
    /// Trailers are read over and ignored: nothing signed stands in them.
    pub async fn read(mut self, declared: Option<u64>, max: usize) -> Result<HeldBody, BodyError> {
        let fits = |length| usize::try_from(length).is_ok_and(|length| length <= max);
        if !declared.is_none_or(fits) {
            return Err(BodyError::TooLarge);
        }
        match self.source {
            Source::Whole(bytes) if bytes.len() > max => Err(BodyError::TooLarge),
            Source::Whole(bytes) => match self.share.grow_to(bytes.len()) {
                true => Ok(HeldBody {
                    bytes,
                    share: self.share,
                }),
                false => Err(BodyError::NoRoom),
            },
            Source::Wire(body) => {
                tokio::time::timeout(self.timeout, collect(body, max, self.share))
                    .await
                    .unwrap_or(Err(BodyError::TooSlow))
            }
        }
    }
}

async fn collect(
    mut body: hyper::body::Incoming,
    max: usize,
    mut share: BudgetShare,
) -> Result<HeldBody, BodyError> {
    // One frame is the usual case: its bytes are taken as they are.
    let mut first: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| BodyError::Broken)?.into_data() else {
            continue;
        };
        let have = first.as_ref().map_or(0, Bytes::len).max(rest.len());
        if have + data.len() > max {
            return Err(BodyError::TooLarge);
        }
        if !share.grow_to(have + data.len()) {
            return Err(BodyError::NoRoom);
        }
        match first.take() {
            None if rest.is_empty() => first = Some(data),
            None => rest.extend_from_slice(&data),
            Some(begin) => {
                rest.reserve(begin.len() + data.len());
                rest.extend_from_slice(&begin);
                rest.extend_from_slice(&data);
            }
        }
    }
    let bytes = first.unwrap_or_else(|| rest.freeze());
    Ok(HeldBody { bytes, share })
}
