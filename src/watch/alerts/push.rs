//! Sends what is to be said to the receiver that the settings name: another one, another key and
//! other thresholds are taken while the gateway runs.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, HeaderValue, USER_AGENT};
use http::{Method, Request, Uri};
use http_body_util::Full;
use tokio::sync::watch::Receiver;
use tokio::time::{Instant, interval, timeout};

use super::Board;
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
use crate::watch::snapshot::{History, Snapshot};

/// How often the gateway looks at itself.
pub const LOOK_EVERY: Duration = Duration::from_secs(15);

/// After a request that failed: so long, twice as long after the next, up to the most.
const PAUSE_MIN: Duration = Duration::from_secs(15);
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// Longest time for one request.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Where alerts go, when they are sent, and what they are signed with.
#[derive(Debug)]
pub struct Wanted {
    pub settings: AlertSettings,
    pub key: Option<Secret>,
}

/// Both are ours: nothing is told by how long it takes.
impl PartialEq for Wanted {
    fn eq(&self, other: &Self) -> bool {
        let key = self.key.as_ref().map(Secret::expose);
        self.settings == other.settings && key == other.key.as_ref().map(Secret::expose)
    }
}

/// Sends what is to be said to whom the settings name at present.
pub struct Pusher {
    see: Box<dyn Fn() -> Snapshot + Send + Sync>,
    past: Arc<Mutex<History>>,
    random: Arc<dyn Random>,
    metrics: Metrics,
    transport: Arc<dyn Transport>,
    wanted: Receiver<Option<Arc<Wanted>>>,
}

/// One receiver, what it was told, and what of it did not arrive.
struct Desk {
    wanted: Arc<Wanted>,
    target: Target,
    board: Board,
    pause: Duration,
    not_before: Instant,
    /// The same words under the same id: a receiver that took them and did not say so knows them.
    unsaid: Option<(Option<serde_json::Value>, String)>,
}

fn target(wanted: &Wanted) -> Target {
    let name = DestinationName::new("alerts");
    Target::new(&Destination::new(name, wanted.settings.url.clone()), None)
}

impl Desk {
    fn new(wanted: Arc<Wanted>, past: Arc<Mutex<History>>) -> Self {
        Desk {
            target: target(&wanted),
            wanted,
            board: Board::remembering(past),
            pause: PAUSE_MIN,
            not_before: Instant::now(),
            unsaid: None,
        }
    }

    /// Other settings. A receiver that stays keeps what it was told, so that it hears nothing twice;
    /// another one is told of everything that holds. Since when that is, and what could not be sent
    /// yet, is kept either way.
    fn go_by(&mut self, wanted: Arc<Wanted>) {
        if Arc::ptr_eq(&self.wanted, &wanted) {
            return;
        }
        if self.wanted.settings.url != wanted.settings.url {
            self.board.nobody_knows();
            self.unsaid = None;
            self.target = target(&wanted);
        }
        // What was in the way may be mended.
        self.pause = PAUSE_MIN;
        self.not_before = Instant::now();
        self.wanted = wanted;
    }
}

impl Pusher {
    pub fn new(
        watch: Arc<Watch>,
        transport: Arc<dyn Transport>,
        wanted: Receiver<Option<Arc<Wanted>>>,
    ) -> Self {
        let random = watch.shared.random.clone();
        let metrics = watch.shared.metrics.clone();
        let past = watch.past.clone();
        let see = move || watch.snapshot();
        let pusher = Pusher::seeing(see, random, metrics, transport, wanted);
        Pusher { past, ..pusher }
    }

    fn seeing(
        see: impl Fn() -> Snapshot + Send + Sync + 'static,
        random: Arc<dyn Random>,
        metrics: Metrics,
        transport: Arc<dyn Transport>,
        wanted: Receiver<Option<Arc<Wanted>>>,
    ) -> Self {
        Pusher {
            see: Box::new(see),
            past: Arc::default(),
            random,
            metrics,
            transport,
            wanted,
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
        let mut wanted = self.wanted.clone();
        let mut desk: Option<Desk> = None;
        let mut look = interval(LOOK_EVERY);
        loop {
            let now = wanted.borrow_and_update().clone();
            let Some(now) = now else {
                // Whoever names a receiver later is told as after a first start: nobody looks meanwhile.
                desk = None;
                let past = self.past.lock();
                past.unwrap_or_else(PoisonError::into_inner).forget();
                changed(&mut wanted).await;
                look.reset_immediately();
                continue;
            };
            let desk = desk.get_or_insert_with(|| Desk::new(now.clone(), self.past.clone()));
            desk.go_by(now);
            tokio::select! {
                biased;
                // A request is not broken off: what the old receiver took, it was told.
                () = changed(&mut wanted) => look.reset_immediately(),
                _ = look.tick() => self.look(desk).await,
            }
        }
    }

    async fn look(&self, desk: &mut Desk) {
        let now = (self.see)();
        desk.board.look(&desk.wanted.settings, &now);
        if Instant::now() < desk.not_before {
            return;
        }
        let Some(message) = desk.board.message(&desk.wanted.settings, now.at) else {
            return;
        };
        let data = message.body.get("data").cloned();
        let same = desk.unsaid.take().filter(|(said, _)| *said == data);
        let named = same.map(|(_, name)| name).unwrap_or_else(|| {
            let random = &self.random;
            format!("alr_{:016x}{:016x}", random.next_u64(), random.next_u64())
        });
        let sent = self.send(desk, &named, now.at, &message.body).await;
        let result = if sent.is_ok() { "sent" } else { "failed" };
        let counted = &self.metrics.alerts;
        counted.get_or_create(&ResultLabel { result }).inc();
        match sent {
            Ok(()) => {
                desk.board.told(message);
                desk.pause = PAUSE_MIN;
            }
            Err(why) => {
                tracing::warn!(
                    reason = why,
                    "an alert could not be sent: it is tried again"
                );
                desk.unsaid = Some((data, named));
                desk.not_before = Instant::now() + desk.pause;
                desk.pause = (desk.pause * 2).min(PAUSE_MAX);
            }
        }
    }

    async fn send(
        &self,
        desk: &Desk,
        id: &str,
        at: Timestamp,
        body: &serde_json::Value,
    ) -> Result<(), &'static str> {
        let body = Bytes::from(body.to_string());
        let request = request(&desk.wanted, id, at, body).ok_or("unsendable")?;
        let sent = self.transport.send(&desk.target, request, TIMEOUT);
        match timeout(TIMEOUT, sent).await {
            Err(_) => Err("timeout"),
            Ok(Err(error)) => Err(error.code()),
            Ok(Ok(answered)) if answered.status.is_success() => Ok(()),
            Ok(Ok(_)) => Err("status"),
        }
    }
}

/// Returns when there are other settings; never where nobody is left to change them.
async fn changed(wanted: &mut Receiver<Option<Arc<Wanted>>>) {
    if wanted.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// As the relay's own requests, with the three fields of Standard Webhooks.
fn request(wanted: &Wanted, id: &str, at: Timestamp, body: Bytes) -> Option<Outgoing> {
    let url = &wanted.settings.url;
    let mut request = Request::new(Full::new(body.clone()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = url.path.parse::<Uri>().ok()?;
    let fields = request.headers_mut();
    let text = |text: String| HeaderValue::try_from(text).ok();
    fields.insert(HOST, text(url.authority.clone())?);
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    fields.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    let agent = concat!("callseal/", env!("CARGO_PKG_VERSION"));
    fields.insert(USER_AGENT, HeaderValue::from_static(agent));
    let field = HeaderName::from_static;
    fields.insert(field(name::WEBHOOK_ID), text(id.to_owned())?);
    let seconds = at.as_secs().to_string();
    fields.insert(field(name::WEBHOOK_TIMESTAMP), text(seconds)?);
    if let Some(key) = &wanted.key {
        let signature = sign::signature(key, id, at, &body);
        fields.insert(field(name::WEBHOOK_SIGNATURE), text(signature)?);
    }
    Some(request)
}

#[cfg(test)]
mod tests;
