//! Fetched keys, kept by name. What a key is, the caller knows: this keeps parsed values of any kind.
//!
//! What must hold, whoever calls: one fetch per name at a time; a name that failed is left alone for
//! a while; names that nobody has seen succeed, which a stranger can make up, are few in a minute;
//! and keys that are over are used on only while their provider cannot be asked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::{Clock, Timestamp};
use crate::remote::budget::Budget;
use crate::remote::{Ask, Outbound, RemoteAnswer, RemoteFault};
use crate::telemetry::{Metrics, ResultLabel};

/// Names that are remembered. Beyond, the one that was unused longest leaves.
pub const NAMES_MAX: usize = 1000;

/// Fetches in a minute, over all hosts of one domain, for names that never gave keys.
pub const UNKNOWN_PER_MINUTE: u32 = 20;

/// Keys are kept at least so long, and not asked for again before.
pub const LIFE_MIN: Duration = Duration::from_secs(60);

/// How long keys that are over may be used while they cannot be fetched anew.
pub const GRACE: Duration = Duration::from_secs(24 * 3600);

/// After a failure the name is left alone: so long, twice as long after the next, up to the most.
pub const PAUSE_MIN: Duration = Duration::from_secs(5);
pub const PAUSE_MAX: Duration = Duration::from_secs(300);

/// How long fetched keys may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    ttl: Duration,
    grace: Duration,
}

impl Life {
    /// From the rule. A shorter `max-age` of the answer counts instead; never less than
    /// [`LIFE_MIN`].
    pub fn of(ttl: Duration) -> Self {
        Life { ttl, grace: GRACE }
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
    /// Nothing to do: young enough, or being fetched anew by someone already.
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

/// Keys by name. Shared by all cores.
pub struct KeyCache<K> {
    inside: Mutex<Inside<K>>,
    unknown: Budget,
    metrics: Metrics,
}

struct Inside<K> {
    names: HashMap<String, Entry<K>>,
    /// Counts uses, so that the one unused longest is found whatever the clock does.
    uses: u64,
}

struct Entry<K> {
    host: String,
    held: Option<Held<K>>,
    failed: Option<Failed>,
    /// Fetches that ended: who waited for one sees that it did.
    ended: u64,
    used: u64,
    /// Held by whoever fetches. Its other owners wait, so that the entry must stay.
    turn: Arc<tokio::sync::Mutex<()>>,
}

struct Held<K> {
    keys: Arc<K>,
    at: Timestamp,
    life: Life,
}

struct Failed {
    fault: RemoteFault,
    at: Timestamp,
    pause: Duration,
}

impl<K> Held<K> {
    /// The clock was set back behind the moment of the fetch: nobody knows how old this is.
    fn undated(&self, now: Timestamp) -> bool {
        self.at > now.plus(LIFE_MIN)
    }

    fn fresh(&self, now: Timestamp) -> bool {
        !self.undated(now) && now.since(self.at) < self.life.ttl * 4 / 5
    }

    fn alive(&self, now: Timestamp) -> bool {
        now.since(self.at) < self.life.ttl
    }

    /// May be used where the provider was asked and gave nothing better.
    fn at_a_pinch(&self, now: Timestamp) -> bool {
        now.since(self.at) < self.life.ttl.saturating_add(self.life.grace)
    }

    fn ends(&self) -> Timestamp {
        self.at.plus(self.life.ttl.saturating_add(self.life.grace))
    }
}

impl<K> Entry<K> {
    /// The failure after which nothing is to be sent yet.
    fn pausing(&self, now: Timestamp) -> Option<&Failed> {
        let failed = self.failed.as_ref()?;
        // The distance, so that a clock that is set back does not make the pause longer.
        (now.distance(failed.at) < failed.pause).then_some(failed)
    }

    fn under_way(&self) -> bool {
        self.turn.try_lock().is_err()
    }

    fn at_a_pinch(&self, now: Timestamp) -> Option<Arc<K>> {
        let held = self.held.as_ref().filter(|held| held.at_a_pinch(now))?;
        Some(held.keys.clone())
    }
}

/// Who wants to fetch, and how things stood then.
struct Ticket {
    turn: Arc<tokio::sync::Mutex<()>>,
    ended: u64,
    /// It made the entry, and has paid for that.
    paid: bool,
}

impl<K: Send + Sync + 'static> KeyCache<K> {
    pub fn new(metrics: Metrics) -> Self {
        KeyCache {
            inside: Mutex::new(Inside {
                names: HashMap::new(),
                uses: 0,
            }),
            unknown: Budget::new(UNKNOWN_PER_MINUTE),
            metrics,
        }
    }

    /// What is there now. Never waits.
    pub fn lookup(&self, name: &str, now: Timestamp) -> Lookup<K> {
        let mut inside = self.inside();
        let Some(entry) = inside.used(name) else {
            return Lookup::Absent;
        };
        let pausing = entry.pausing(now);
        match &entry.held {
            Some(held) if held.fresh(now) || (held.alive(now) && entry.under_way()) => {
                Lookup::Fresh(held.keys.clone())
            }
            Some(held) if held.alive(now) => Lookup::Stale(held.keys.clone()),
            Some(held) if held.at_a_pinch(now) && pausing.is_some() => {
                Lookup::Stale(held.keys.clone())
            }
            Some(_) | None => match pausing {
                Some(failed) => Lookup::Failed(failed.fault.clone()),
                None => Lookup::Absent,
            },
        }
    }

    /// Fetches the keys and keeps them under `name`. Callers of one name share one request; one
    /// that stops waiting leaves the others theirs.
    ///
    /// Also asks when the keys that are there are fresh, for a caller who misses one among them,
    /// but not within [`LIFE_MIN`] of the last time: then the keys that are there come back. They
    /// come back as well when the fetch fails and they may still be used. `parse` sees answers of
    /// status 200 only; its complaint must not quote them.
    pub async fn fetch(
        &self,
        name: &str,
        ask: &dyn Ask,
        request: &Outbound,
        life: impl Into<Life> + Send,
        clock: &dyn Clock,
        parse: impl FnOnce(&RemoteAnswer) -> Result<K, String> + Send,
    ) -> Result<Arc<K>, RemoteFault> {
        let life = life.into();
        let host = request.host.as_str();
        let ticket = self
            .enter(name, host, clock.now())
            .inspect_err(|fault| self.count(fault.code()))?;
        let _turn = ticket.turn.lock().await;
        if let Some(known) = self.settled(name, host, &ticket, clock.now()) {
            return known;
        }
        let answered = ask.ask(request).await;
        let fetched = answered.and_then(|answer| match answer.status {
            200 => parse(&answer)
                .map(|keys| (keys, answer.max_age))
                .map_err(|why| RemoteFault::Unusable { why }),
            status => Err(RemoteFault::Status { status }),
        });
        self.end(name, host, fetched, life, clock.now())
    }

    /// Keys whose last fetch failed and that are still used, for the alarm.
    pub fn expiring(&self, now: Timestamp) -> Vec<Expiring> {
        let inside = self.inside();
        let failing = inside.names.iter().filter_map(|(name, entry)| {
            let held = entry.held.as_ref().filter(|held| held.at_a_pinch(now))?;
            Some(Expiring {
                name: name.clone(),
                host: entry.host.clone(),
                ends: held.ends(),
                fault: entry.failed.as_ref()?.fault.clone(),
            })
        });
        let mut failing: Vec<_> = failing.collect();
        failing.sort_by(|a, b| (a.ends, &a.name).cmp(&(b.ends, &b.name)));
        failing
    }

    /// Why keys that are there could not be fetched anew the last time.
    pub fn fault(&self, name: &str) -> Option<RemoteFault> {
        let mut inside = self.inside();
        Some(inside.used(name)?.failed.as_ref()?.fault.clone())
    }

    /// Names that are remembered, with keys or without.
    pub fn len(&self) -> usize {
        self.inside().names.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn enter(&self, name: &str, host: &str, now: Timestamp) -> Result<Ticket, RemoteFault> {
        let mut inside = self.inside();
        if let Some(entry) = inside.used(name) {
            return Ok(Ticket {
                turn: entry.turn.clone(),
                ended: entry.ended,
                paid: false,
            });
        }
        if !self.unknown.take(domain(host), now) {
            return Err(RemoteFault::RateLimited);
        }
        inside.make_room();
        let entry = inside.add(name, host);
        Ok(Ticket {
            turn: entry.turn.clone(),
            ended: entry.ended,
            paid: true,
        })
    }

    /// With the turn in hand: what there is to say without asking.
    fn settled(
        &self,
        name: &str,
        host: &str,
        ticket: &Ticket,
        now: Timestamp,
    ) -> Option<Result<Arc<K>, RemoteFault>> {
        let mut inside = self.inside();
        let entry = inside.used(name)?;
        if let Some(failed) = entry.pausing(now) {
            let fault = match entry.ended == ticket.ended {
                true => RemoteFault::RecentlyFailed,
                // This is the fetch that we waited for.
                false => failed.fault.clone(),
            };
            return Some(entry.at_a_pinch(now).ok_or(fault));
        }
        match &entry.held {
            Some(held) if !held.undated(now) && now.since(held.at) < LIFE_MIN => {
                Some(Ok(held.keys.clone()))
            }
            Some(_) => None,
            None => {
                let may = ticket.paid || self.unknown.take(domain(host), now);
                (!may).then_some(Err(RemoteFault::RateLimited))
            }
        }
    }

    fn end(
        &self,
        name: &str,
        host: &str,
        fetched: Result<(K, Option<Duration>), RemoteFault>,
        life: Life,
        now: Timestamp,
    ) -> Result<Arc<K>, RemoteFault> {
        let result = fetched.as_ref().err().map_or("fetched", RemoteFault::code);
        self.count(result);
        let mut inside = self.inside();
        let entry = inside.add(name, host);
        entry.ended += 1;
        match fetched {
            Ok((keys, max_age)) => {
                let ttl = max_age.map_or(life.ttl, |age| age.min(life.ttl));
                let ttl = ttl.max(LIFE_MIN);
                let keys = Arc::new(keys);
                entry.failed = None;
                entry.held = Some(Held {
                    keys: keys.clone(),
                    at: now,
                    life: Life { ttl, ..life },
                });
                Ok(keys)
            }
            Err(fault) => {
                let before = entry.failed.as_ref().map(|failed| failed.pause);
                let pause = before.map_or(PAUSE_MIN, |pause| (pause * 2).min(PAUSE_MAX));
                entry.failed = Some(Failed {
                    fault: fault.clone(),
                    at: now,
                    pause,
                });
                // The name may be a stranger's word; the host is one that a rule pins.
                let reason = fault.code();
                match entry.at_a_pinch(now) {
                    Some(keys) => {
                        let ends = entry.held.as_ref().map(Held::ends).unwrap_or_default();
                        tracing::warn!(
                            host, reason, until = %ends,
                            "keys cannot be fetched anew; those at hand are used on: {fault}"
                        );
                        Ok(keys)
                    }
                    None => {
                        entry.held = None;
                        tracing::warn!(host, reason, "keys cannot be fetched: {fault}");
                        Err(fault)
                    }
                }
            }
        }
    }

    fn count(&self, result: &'static str) {
        let counted = &self.metrics.key_fetches;
        counted.get_or_create(&ResultLabel { result }).inc();
    }

    fn inside(&self) -> MutexGuard<'_, Inside<K>> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K> Inside<K> {
    fn used(&mut self, name: &str) -> Option<&mut Entry<K>> {
        self.uses += 1;
        let entry = self.names.get_mut(name)?;
        entry.used = self.uses;
        Some(entry)
    }

    fn add(&mut self, name: &str, host: &str) -> &mut Entry<K> {
        self.uses += 1;
        let used = self.uses;
        self.names.entry(name.to_owned()).or_insert_with(|| Entry {
            host: host.to_owned(),
            held: None,
            failed: None,
            ended: 0,
            used,
            turn: Arc::default(),
        })
    }

    /// Names without keys leave first: a stranger can make them up.
    fn make_room(&mut self) {
        if self.names.len() < NAMES_MAX {
            return;
        }
        let idle = |entry: &Entry<K>| Arc::strong_count(&entry.turn) == 1;
        let leaving = self
            .names
            .iter()
            .filter(|(_, entry)| idle(entry))
            .min_by_key(|(_, entry)| (entry.held.is_some(), entry.used))
            .map(|(name, _)| name.clone());
        if let Some(name) = leaving {
            self.names.remove(&name);
        }
    }
}

/// The last two labels: where a pattern leaves a label open, a stranger has as many hosts as he
/// likes, but one domain.
fn domain(host: &str) -> &str {
    let at = host.rmatch_indices('.').nth(1).map_or(0, |(at, _)| at + 1);
    host.get(at..).unwrap_or(host)
}
