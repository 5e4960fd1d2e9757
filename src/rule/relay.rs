//! Where the events of a source go, and how.

use std::time::Duration;

use crate::message::DestinationName;
use crate::rule::when::When;
use crate::rule::{Rate, Template};
use crate::secret::SecretRef;

/// Destinations of one source at most: the delivery's number is in the low three bits of its id.
pub const MOST_DESTINATIONS: usize = 8;

/// `[relay]`: all destinations of a source, and what holds for them together.
#[derive(Clone, Debug)]
pub struct RelayRule {
    /// The destination of `forward`, called `main`.
    pub main: Destination,
    /// Those of `[[relay.to]]`, at most seven, with names of their own.
    pub more: Vec<Destination>,
    /// Pass the query on as it came, also what nobody has signed.
    pub query_as_received: bool,
    /// Later events overtake earlier ones.
    pub supersede: Option<SupersedeRule>,
}

/// Of the events about the same, which is the latest, and what becomes of the others.
#[derive(Clone, Debug)]
pub struct SupersedeRule {
    /// A number or an RFC 3339 time. Signed.
    pub by: Template,
    /// What events are about. Signed.
    pub key: Template,
    pub then: Overtaken,
}

/// What becomes of a delivery whose event was overtaken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overtaken {
    /// It is sent, and says which event overtook its own.
    #[default]
    Mark,
    /// It is not sent.
    Skip,
}

impl RelayRule {
    /// Every destination, `main` first, in the order of the file.
    pub fn destinations(&self) -> impl Iterator<Item = &Destination> {
        std::iter::once(&self.main).chain(&self.more)
    }

    pub fn destination(&self, name: &DestinationName) -> Option<&Destination> {
        self.destinations().find(|to| to.name == *name)
    }
}

/// One destination: an application, and how deliveries go there. Each has its own deliveries,
/// attempts, retries and limits; one that fails does not hold another.
#[derive(Clone, Debug)]
pub struct Destination {
    pub name: DestinationName,
    pub forward: Address,
    /// Longest time for one attempt, from connecting to the end of the answer.
    pub timeout: Duration,
    /// Attempts under way at once.
    pub concurrency: usize,
    /// Attempts begun in any such period, over all cores. None: as many as `concurrency` allows.
    pub rate: Option<Rate>,
    pub retry: RetryPolicy,
    /// Key of the Standard Webhooks signature on the hop to the application.
    pub sign_with: Option<SecretRef>,
    /// Which events go there; what does not fit is kept and acknowledged, and never sent.
    /// None: every one.
    pub when: Option<When>,
    /// Deliveries with the same value go out one after the other, as the events were accepted.
    /// None, or an event without the value: in no order.
    pub order_by: Option<Template>,
    pub on_dead: OnDead,
}

/// What becomes of the deliveries behind a dead letter with the same value of `order_by`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDead {
    /// They go on without it.
    #[default]
    Continue,
    /// They wait until it is redriven and delivered, or discarded.
    Hold,
}

/// Where requests go: scheme, host, port and path of an application.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    pub https: bool,
    /// Host name or address, without brackets.
    pub host: String,
    pub port: u16,
    /// Path, and the destination's own query if it has one. Begins with `/`.
    pub path: String,
    /// Host header: host, and the port where it is not the scheme's own.
    pub authority: String,
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.path)
    }
}

/// When to try again. The n-th pause (from 0) is `first × factor^n`, at most `max`; with full
/// jitter the real pause is drawn evenly from zero to that.
#[derive(Clone, Debug, PartialEq)]
pub struct RetryPolicy {
    pub first: Duration,
    pub factor: f64,
    pub max: Duration,
    /// Counted from the moment of acceptance (or of the last redrive).
    pub give_up_after: Duration,
    pub jitter: Jitter,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jitter {
    Full,
    None,
}
