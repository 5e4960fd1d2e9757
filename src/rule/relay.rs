//! Where the events of a source go, and how.

use std::path::PathBuf;
use std::time::Duration;

use crate::message::DestinationName;
use crate::rule::address::Addresses;
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
    /// Attempts under way at once, at most.
    pub concurrency: usize,
    /// How many of these there are follows how the destination is doing; false: always all of them.
    pub adaptive: bool,
    /// Attempts begun in any such period, over all cores. None: as many as `concurrency` allows.
    pub rate: Option<Rate>,
    pub retry: RetryPolicy,
    /// When a destination that fails is left alone. None: never.
    pub breaker: Option<BreakerRule>,
    pub http2: Http2,
    /// Which addresses its name may lead to.
    pub addresses: Addresses,
    /// Trust and certificate of its own, where it is https. None: the machine's roots.
    pub tls: Option<TlsFiles>,
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

impl Destination {
    /// A destination with nothing but its address said.
    pub fn new(name: DestinationName, forward: Address) -> Self {
        Destination {
            name,
            forward,
            timeout: Duration::from_secs(10),
            concurrency: 16,
            adaptive: true,
            rate: None,
            retry: RetryPolicy::default(),
            breaker: Some(BreakerRule::default()),
            http2: Http2::default(),
            addresses: Addresses::default(),
            tls: None,
            sign_with: None,
            when: None,
            order_by: None,
            on_dead: OnDead::default(),
        }
    }

    /// Every secret and file that it names.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretRef> {
        let tls = self.tls.iter().flat_map(|files| {
            let identity = files.identity.iter().flat_map(|(cert, key)| [cert, key]);
            files.ca.iter().chain(identity)
        });
        self.sign_with.iter().chain(tls)
    }
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

/// Where requests go: scheme, host (or socket), port and path of an application.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    pub https: bool,
    /// Host name or address, without brackets; `localhost` for a socket.
    pub host: String,
    pub port: u16,
    /// Path, and the destination's own query if it has one. Begins with `/`.
    pub path: String,
    /// Host header: host, and the port where it is not the scheme's own.
    pub authority: String,
    /// The Unix socket that takes the place of host and port.
    pub socket: Option<PathBuf>,
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(socket) = &self.socket {
            return write!(f, "unix:{}:{}", socket.display(), self.path);
        }
        let scheme = if self.https { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.path)
    }
}

/// When to try again.
///
/// Without a list the n-th pause (from 0) is `first × factor^n`, at most `max`. With full jitter the
/// real pause is drawn evenly from zero to that.
#[derive(Clone, Debug, PartialEq)]
pub struct RetryPolicy {
    pub first: Duration,
    pub factor: f64,
    pub max: Duration,
    /// The pauses one by one, in place of those that grow. Empty: they grow.
    pub after: Vec<Duration>,
    /// What comes when the list is at its end.
    pub then: Then,
    /// Counted from the moment of acceptance (or of the last redrive). Time in which the breaker
    /// holds the destination's deliveries back does not count.
    pub give_up_after: Duration,
    pub jitter: Jitter,
    /// What certain statuses mean, from the first to the last of each, both included. The narrowest
    /// that fits counts; never a 2xx, which is always taken.
    pub on_status: Vec<(u16, u16, OnStatus)>,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        RetryPolicy {
            first: Duration::from_secs(5),
            factor: 2.0,
            max: Duration::from_secs(3600),
            after: Vec::new(),
            then: Then::default(),
            give_up_after: Duration::from_secs(72 * 3600),
            jitter: Jitter::Full,
            on_status: Vec::new(),
        }
    }
}

impl RetryPolicy {
    /// What the rule says of this status, if it says anything.
    pub fn on_status(&self, status: u16) -> Option<OnStatus> {
        let fits = self
            .on_status
            .iter()
            .filter(|(from, to, _)| (*from..=*to).contains(&status));
        fits.min_by_key(|(from, to, _)| to - from)
            .map(|(_, _, then)| *then)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jitter {
    Full,
    None,
}

/// What comes after the last pause of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Then {
    /// That pause again, until the time is up.
    #[default]
    Repeat,
    /// A dead letter.
    Dead,
}

/// What an answer with a certain status leads to. That it was taken only a 2xx can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnStatus {
    /// Another attempt when the policy says.
    Retry,
    /// Another attempt after this time; later where the answer itself asks for it.
    RetryAfter(Duration),
    /// A dead letter at once.
    Dead,
}

/// When deliveries to a destination that fails are held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerRule {
    /// So many failures in a row, of as many deliveries, and most of the latest results among them.
    pub failures: u32,
    /// The first pause; each further one is twice as long.
    pub first: Duration,
    /// The longest pause.
    pub max: Duration,
}

impl Default for BreakerRule {
    fn default() -> Self {
        BreakerRule {
            failures: 5,
            first: Duration::from_secs(5),
            max: Duration::from_secs(60),
        }
    }
}

/// Whether HTTP/2 is spoken with a destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Http2 {
    /// Where both sides agree on it in the TLS handshake.
    #[default]
    Alpn,
    Never,
    /// From the first byte on, without TLS: the destination is known to speak it.
    PriorKnowledge,
}

/// Where trust in a destination, and what we show it, lie.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TlsFiles {
    /// PEM: whom the destination's certificate must lead to, in place of the machine's roots.
    pub ca: Option<SecretRef>,
    /// PEM: our certificate with its chain, and its key.
    pub identity: Option<(SecretRef, SecretRef)>,
    /// The name that the certificate must bear, where it is not the host of the address.
    pub server_name: Option<String>,
}
