//! Fetched keys, kept by name. What a key is, the caller knows: this keeps parsed values of any kind.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, Timestamp};
use crate::remote::{Ask, Outbound, RemoteAnswer, RemoteFault};
use crate::telemetry::Metrics;

/// How long fetched keys may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    ttl: Duration,
    grace: Duration,
}

impl Life {
    /// From the rule. A shorter `max-age` of the answer counts instead; never less than a minute.
    pub fn of(ttl: Duration) -> Self {
        Life {
            ttl,
            grace: Duration::from_secs(24 * 3600),
        }
    }

    /// Not used after its end, also when it cannot be fetched anew.
    #[must_use]
    pub fn without_grace(self) -> Self {
        Life {
            grace: Duration::ZERO,
            ..self
        }
    }
}

impl From<Duration> for Life {
    fn from(ttl: Duration) -> Self {
        Life::of(ttl)
    }
}

/// What is there under a name.
#[derive(Debug)]
pub enum Lookup<K> {
    Fresh(Arc<K>),
    /// Usable, but should be fetched anew in the background.
    Stale(Arc<K>),
    /// Failed a moment ago: fetching now would send nothing.
    Failed(RemoteFault),
    /// Nothing, or what was there is over: fetch it.
    Absent,
}

/// Keys that cannot be fetched anew and will end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiring {
    pub name: String,
    pub host: String,
    /// From then on they are not used any more.
    pub ends: Timestamp,
    /// Why the last try failed.
    pub fault: RemoteFault,
}

pub struct KeyCache<K> {
    metrics: Metrics,
    kind: PhantomData<K>,
}

impl<K: Send + Sync + 'static> KeyCache<K> {
    pub fn new(metrics: Metrics) -> Self {
        KeyCache {
            metrics,
            kind: PhantomData,
        }
    }

    pub fn lookup(&self, _name: &str, _now: Timestamp) -> Lookup<K> {
        Lookup::Absent
    }

    pub async fn fetch(
        &self,
        _name: &str,
        ask: &dyn Ask,
        request: &Outbound,
        _life: impl Into<Life>,
        _clock: &dyn Clock,
        parse: impl FnOnce(&RemoteAnswer) -> Result<K, String> + Send,
    ) -> Result<Arc<K>, RemoteFault> {
        let _ = &self.metrics;
        let answer = ask.ask(request).await?;
        parse(&answer)
            .map(Arc::new)
            .map_err(|why| RemoteFault::Unusable { why })
    }

    pub fn expiring(&self, _now: Timestamp) -> Vec<Expiring> {
        Vec::new()
    }
}
