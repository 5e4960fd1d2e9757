//! Alerts that the gateway sends itself, for those without Prometheus: what holds is compared with
//! what the receiver was last told, and the difference goes out as one signed request. What cannot
//! be sent is not queued: the next request says what then holds. So a receiver that was away is told
//! how things stand, and never gets a storm.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, HeaderValue, USER_AGENT};
use http::{Method, Request, Uri};
use http_body_util::Full;
use tokio::sync::watch::Receiver;
use tokio::time::{Instant, interval, timeout};

use crate::clock::Timestamp;
use crate::message::DestinationName;
use crate::random::Random;
use crate::relay::client::Transport;
use crate::relay::request::{Outgoing, name};
use crate::relay::sign;
use crate::relay::target::Target;
use crate::rule::Destination;
use crate::secret::Secret;
use crate::settings::AlertSettings;
use crate::telemetry::{Metrics, ResultLabel};
use crate::watch::Watch;
use crate::watch::conditions::{self, CONDITIONS, Condition, Finding};
use crate::watch::snapshot::{History, Snapshot};

/// How often the gateway looks at itself.
pub const LOOK_EVERY: Duration = Duration::from_secs(15);

/// A condition that is gone must stay so for this long before it has ended: one that comes and goes
/// is told of once.
pub const END_AFTER: Duration = Duration::from_secs(300);

/// After a request that failed: so long, twice as long after the next, up to the most.
const PAUSE_MIN: Duration = Duration::from_secs(15);
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// Longest time for one request.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Alerts of one list in a request; what is more is counted only.
const LISTED: usize = 100;

/// What an alert is about: the place of its condition in the table, source, destination, subject.
type About = (usize, Option<String>, Option<String>, Option<String>);

/// A condition that holds, or did a moment ago.
#[derive(Clone, Debug)]
struct Holding {
    since: Timestamp,
    seen: Timestamp,
    detail: String,
}

/// An alert as the receiver knows it.
#[derive(Clone, Debug)]
struct Told {
    since: Timestamp,
    detail: String,
    at: Timestamp,
}

/// What holds, and what the receiver was told of it.
#[derive(Debug, Default)]
pub struct Board {
    history: Arc<Mutex<History>>,
    holding: BTreeMap<About, Holding>,
    told: BTreeMap<About, Told>,
}

/// A request that is to go out, and what the receiver then knows.
#[derive(Debug)]
pub struct Message {
    pub body: serde_json::Value,
    begun: Vec<(About, Told)>,
    ended: Vec<About>,
}

impl Board {
    /// With what was seen before.
    fn remembering(history: Arc<Mutex<History>>) -> Self {
        Board {
            history,
            ..Board::default()
        }
    }

    /// Takes note of how things stand.
    pub fn look(&mut self, settings: &AlertSettings, now: &Snapshot) {
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        history.add(now);
        let found = conditions::judge(&settings.thresholds, now, &history);
        drop(history);
        for (at, finding) in found {
            let Finding {
                source,
                destination,
                subject,
                detail,
            } = finding;
            let about = (at, source, destination, subject);
            let holding = self.holding.entry(about).or_insert_with(|| Holding {
                since: now.at,
                seen: now.at,
                detail: String::new(),
            });
            holding.seen = now.at;
            holding.detail = detail;
        }
        // One that was told of ends later than one that never counted.
        let told = &self.told;
        self.holding.retain(|about, holding| {
            // A clock that goes back keeps nothing open, or unsaid, until it is there again.
            holding.seen = holding.seen.min(now.at);
            holding.since = holding.since.min(now.at);
            let patience = match told.contains_key(about) {
                true => END_AFTER,
                false => Duration::ZERO,
            };
            now.at.since(holding.seen) <= patience
        });
    }

    /// What is to be said now; none when the receiver knows it all.
    pub fn message(&self, settings: &AlertSettings, now: Timestamp) -> Option<Message> {
        let counts = |about: &About, holding: &Holding| {
            let hold = condition(about).map_or(Duration::ZERO, |c| c.hold);
            self.told.contains_key(about) || now.since(holding.since) >= hold
        };
        let firing: Vec<(&About, &Holding)> = self
            .holding
            .iter()
            .filter(|(about, holding)| counts(about, holding))
            .collect();
        let mut begun = Vec::new();
        let mut again = false;
        for (about, holding) in &firing {
            let known = self.told.get(*about);
            again |= known.is_some_and(|told| now.since(told.at) >= settings.repeat);
            let told = Told {
                since: holding.since,
                detail: holding.detail.clone(),
                at: now,
            };
            begun.push(((*about).clone(), told, known.is_none()));
        }
        let ended: Vec<About> = self
            .told
            .keys()
            .filter(|about| !self.holding.contains_key(*about))
            .cloned()
            .collect();
        let any_new = begun.iter().any(|(_, _, new)| *new);
        if !any_new && !again && ended.is_empty() {
            return None;
        }
        let list = |all: Vec<serde_json::Value>| -> Vec<serde_json::Value> {
            all.into_iter().take(LISTED).collect()
        };
        let new = begun.iter().filter(|(_, _, new)| *new);
        let data = serde_json::json!({
            "version": env!("CARGO_PKG_VERSION"),
            "begun": list(new.map(|(about, told, _)| shown(about, told)).collect()),
            "ended": list(ended.iter().filter_map(|a| Some(shown(a, self.told.get(a)?))).collect()),
            "firing": list(begun.iter().map(|(about, told, _)| shown(about, told)).collect()),
            "firing_count": begun.len(),
        });
        let body = serde_json::json!({
            "type": "callseal.alerts",
            "timestamp": now.to_string(),
            "data": data,
        });
        let begun = begun.into_iter().map(|(about, told, _)| (about, told));
        Some(Message {
            body,
            begun: begun.collect(),
            ended,
        })
    }

    /// The receiver has it.
    pub fn told(&mut self, message: Message) {
        self.told.extend(message.begun);
        for about in message.ended {
            self.told.remove(&about);
        }
    }
}

fn condition(about: &About) -> Option<&'static Condition> {
    CONDITIONS.get(about.0)
}

fn shown(about: &About, told: &Told) -> serde_json::Value {
    let (_, source, destination, subject) = about;
    let condition = condition(about);
    let alert = condition.map_or("", |c| c.alert);
    serde_json::json!({
        "alert": condition.map_or("", |c| c.code),
        "severity": condition.map_or("", |c| c.severity.as_str()),
        "summary": condition.map_or("", |c| c.summary),
        "source": source,
        "destination": destination,
        "subject": subject,
        "since": told.since.to_string(),
        "detail": told.detail,
        "runbook": runbook(alert),
    })
}

/// Where it is written what to do.
pub fn runbook(alert: &str) -> String {
    format!("docs/operations.md#{}", alert.to_ascii_lowercase())
}

/// Sends what is to be said to one receiver.
pub struct Pusher {
    see: Box<dyn Fn() -> Snapshot + Send + Sync>,
    past: Arc<Mutex<History>>,
    random: Arc<dyn Random>,
    metrics: Metrics,
    transport: Arc<dyn Transport>,
    settings: AlertSettings,
    key: Option<Secret>,
    target: Target,
}

impl Pusher {
    pub fn new(
        watch: Arc<Watch>,
        transport: Arc<dyn Transport>,
        settings: AlertSettings,
        key: Option<Secret>,
    ) -> Self {
        let random = watch.shared.random.clone();
        let metrics = watch.shared.metrics.clone();
        let past = watch.past.clone();
        let see = move || watch.snapshot();
        let pusher = Pusher::seeing(see, random, metrics, transport, settings, key);
        Pusher { past, ..pusher }
    }

    fn seeing(
        see: impl Fn() -> Snapshot + Send + Sync + 'static,
        random: Arc<dyn Random>,
        metrics: Metrics,
        transport: Arc<dyn Transport>,
        settings: AlertSettings,
        key: Option<Secret>,
    ) -> Self {
        let to = Destination::new(DestinationName::new("alerts"), settings.url.clone());
        let target = Target::new(&to, None);
        Pusher {
            see: Box::new(see),
            past: Arc::default(),
            random,
            metrics,
            transport,
            settings,
            key,
            target,
        }
    }

    /// Looks and tells until `stop` becomes true.
    pub async fn run(self, mut stop: Receiver<bool>) {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => {}
            () = self.work() => {}
        }
    }

    async fn work(&self) {
        let mut board = Board::remembering(self.past.clone());
        let mut look = interval(LOOK_EVERY);
        let mut pause = PAUSE_MIN;
        let mut not_before = Instant::now();
        // The same words under the same id: a receiver that took them and did not say so knows them.
        let mut id: Option<(Option<serde_json::Value>, String)> = None;
        loop {
            look.tick().await;
            let now = (self.see)();
            board.look(&self.settings, &now);
            if Instant::now() < not_before {
                continue;
            }
            let Some(message) = board.message(&self.settings, now.at) else {
                continue;
            };
            let data = message.body.get("data").cloned();
            let same = id.take().filter(|(said, _)| *said == data);
            let named = same.map(|(_, name)| name).unwrap_or_else(|| {
                let random = &self.random;
                format!("alr_{:016x}{:016x}", random.next_u64(), random.next_u64())
            });
            let sent = self.send(&named, now.at, &message.body).await;
            let result = if sent.is_ok() { "sent" } else { "failed" };
            let counted = &self.metrics.alerts;
            counted.get_or_create(&ResultLabel { result }).inc();
            match sent {
                Ok(()) => {
                    board.told(message);
                    pause = PAUSE_MIN;
                }
                Err(why) => {
                    tracing::warn!(
                        reason = why,
                        "an alert could not be sent: it is tried again"
                    );
                    id = Some((data, named));
                    not_before = Instant::now() + pause;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    async fn send(
        &self,
        id: &str,
        at: Timestamp,
        body: &serde_json::Value,
    ) -> Result<(), &'static str> {
        let body = Bytes::from(body.to_string());
        let request = self.request(id, at, body).ok_or("unsendable")?;
        let sent = self.transport.send(&self.target, request, TIMEOUT);
        match timeout(TIMEOUT, sent).await {
            Err(_) => Err("timeout"),
            Ok(Err(error)) => Err(error.code()),
            Ok(Ok(answered)) if answered.status.is_success() => Ok(()),
            Ok(Ok(_)) => Err("status"),
        }
    }

    /// As the relay's own requests, with the three fields of Standard Webhooks.
    fn request(&self, id: &str, at: Timestamp, body: Bytes) -> Option<Outgoing> {
        let mut request = Request::new(Full::new(body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.settings.url.path.parse::<Uri>().ok()?;
        let fields = request.headers_mut();
        let text = |text: String| HeaderValue::try_from(text).ok();
        fields.insert(HOST, text(self.settings.url.authority.clone())?);
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        fields.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        let agent = concat!("callseal/", env!("CARGO_PKG_VERSION"));
        fields.insert(USER_AGENT, HeaderValue::from_static(agent));
        let field = HeaderName::from_static;
        fields.insert(field(name::WEBHOOK_ID), text(id.to_owned())?);
        let seconds = at.as_secs().to_string();
        fields.insert(field(name::WEBHOOK_TIMESTAMP), text(seconds)?);
        if let Some(key) = &self.key {
            let signature = sign::signature(key, id, at, &body);
            fields.insert(field(name::WEBHOOK_SIGNATURE), text(signature)?);
        }
        Some(request)
    }
}

#[cfg(test)]
mod tests;
