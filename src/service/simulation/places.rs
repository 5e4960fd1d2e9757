//! Applications without sockets: how they are at present, and what they see.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::BodyExt;
use tokio::time::sleep;

use crate::inbox::store::{Pending, Response};
use crate::message::{DestinationName, EventId, LaneName, SourceName};
use crate::relay::AttemptError;
use crate::relay::client::{Answered, Transport};
use crate::relay::request::{Outgoing, name};
use crate::relay::target::Target;
use crate::rule::Rate;
use crate::rule::relay::Overtaken;
use crate::service::simulation::sources::{CONCURRENCY, destination_of_port};
use crate::service::simulation::world::{World, fault, millis, say, secs};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    Well,
    Slow(Duration),
    Says(u16),
    /// With `Retry-After` in seconds.
    Busy(u16, u8),
    /// A status after a while.
    Late(Duration, u16),
    /// Nobody listens, or the name is gone.
    Dead(AttemptError),
    /// A partition: nothing comes back.
    Silent,
    Panics,
}

/// One application, as one lane leads to it.
#[derive(Default)]
pub struct Place {
    pub rate: Option<Rate>,
    /// How it is for a while; else well.
    pub spell: Option<Mood>,
    under_way: usize,
    /// In the present process: when requests came within the last period.
    recent: VecDeque<Duration>,
    recent_of: usize,
    seen: BTreeMap<EventId, Vec<Seen>>,
}

/// One request.
struct Seen {
    process: usize,
    /// What the gateway heard.
    heard: Option<u16>,
    redrives: u32,
    jumps: usize,
}

#[derive(Default)]
pub struct Places {
    pub all: BTreeMap<LaneName, Place>,
    /// Now and then something else happens than what the spell says.
    pub glitches: bool,
}

impl Places {
    pub fn heard(&self, lane: &LaneName, event: EventId, fits: impl Fn(u16) -> bool) -> bool {
        let seen = self.all.get(lane).and_then(|place| place.seen.get(&event));
        let mut heard = seen.into_iter().flatten().filter_map(|seen| seen.heard);
        heard.any(fits)
    }

    /// Requests that are under way at present.
    pub fn under_way(&self) -> usize {
        self.all.values().map(|place| place.under_way).sum()
    }
}

/// The way there from one process.
pub struct Way {
    pub world: Arc<World>,
    pub process: usize,
}

/// Counts a request for as long as it is under way.
struct UnderWay<'w>(&'w Way, LaneName);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut places = self.0.world.places();
        places.all.entry(self.1.clone()).or_default().under_way -= 1;
    }
}

/// A request as the application reads it.
struct Arrived {
    lane: LaneName,
    event: EventId,
    callback: Option<usize>,
    /// The event that is said to have overtaken it.
    overtaken_by: Option<EventId>,
    verified: String,
}

/// Which of an event's requests it is.
type Nth = usize;

impl Way {
    async fn read(&self, to: &Target, request: Outgoing) -> Arrived {
        let (head, body) = request.into_parts();
        let field = |name: &str| {
            head.headers
                .get(name)
                .map(|v| v.to_str().unwrap().to_owned())
        };
        let source = SourceName::new(&field(name::SOURCE).unwrap());
        let body: Bytes = body.collect().await.unwrap().to_bytes();
        let destination = DestinationName::new(destination_of_port(to.address.port));
        Arrived {
            lane: LaneName::new(&source, &destination),
            event: field(name::EVENT).unwrap().parse().unwrap(),
            callback: self.world.model().genuine(&source, &body),
            overtaken_by: field(name::SUPERSEDED_BY).map(|by| by.parse().unwrap()),
            verified: field(name::VERIFIED).unwrap_or_default(),
        }
    }

    /// Everything that can be seen to be wrong with a request when it comes.
    fn check(&self, arrived: &Arrived) -> u32 {
        let world = &*self.world;
        let (lane, id) = (&arrived.lane, arrived.event);
        let Some(n) = arrived.callback else {
            fault!(world, "{lane}: {id} has bytes that nobody signed");
            return 0;
        };
        if !arrived.verified.starts_with("hmac-") {
            fault!(world, "{lane}: {id} was verified by {:?}", arrived.verified);
        }
        let mut model = world.model();
        if model
            .events
            .get(&id)
            .is_some_and(|event| event.callback != n)
        {
            fault!(world, "{lane}: {id} came with the bytes of callback {n}");
        }
        let mut all = model.deliveries.range(id..=id.of_delivery(7));
        let delivery = all.find(|(_, delivery)| delivery.lane == *lane);
        let delivery = delivery.map(|(id, _)| *id);
        let Some(delivery) = delivery else { return 0 };
        let policy = model.policies[&lane.source].overtaken;
        let doings = model.doings(delivery);
        doings.requests += 1;
        if doings.requests > doings.leases {
            fault!(world, "{lane}: {id} was sent without a lease");
        }
        let marked = arrived.overtaken_by.is_some();
        let redriven = doings.redrives > 0;
        match policy.filter(|_| doings.overtaken) {
            Some(Overtaken::Skip) if !redriven => fault!(world, "{lane}: {id} was overtaken"),
            Some(Overtaken::Mark) if !marked => fault!(world, "{lane}: {id} is not marked"),
            _ => {}
        }
        doings.redrives
    }

    /// In one process nothing comes a second time after it was taken.
    fn check_again(&self, arrived: &Arrived, redrives: u32) -> Nth {
        let world = &*self.world;
        let (lane, id) = (&arrived.lane, arrived.event);
        let jumps = world.clock.jumps();
        let mut places = world.places();
        let place = places.all.entry(lane.clone()).or_default();
        let seen = place.seen.entry(id).or_default();
        let again = seen.iter().any(|before| {
            let taken = before.heard.is_some_and(|status| status < 300);
            let same = before.process == self.process && before.redrives == redrives;
            // A lease runs out when the clock goes ahead in the middle of it.
            taken && same && before.jumps == jumps
        });
        seen.push(Seen {
            process: self.process,
            heard: None,
            redrives,
            jumps,
        });
        let nth = seen.len() - 1;
        drop(places);
        if again {
            fault!(world, "{lane}: {id} came again after it was taken");
        }
        nth
    }

    fn enter(&self, arrived: &Arrived) -> (Mood, Nth, UnderWay<'_>) {
        let world = &*self.world;
        let redrives = self.check(arrived);
        let nth = self.check_again(arrived, redrives);
        let mut places = world.places();
        let glitches = places.glitches;
        let place = places.all.entry(arrived.lane.clone()).or_default();
        place.under_way += 1;
        let many = place.under_way > CONCURRENCY;
        let mut exceeded = false;
        if place.recent_of != self.process {
            (place.recent_of, place.recent) = (self.process, VecDeque::new());
        }
        if let Some(rate) = place.rate {
            let now = world.elapsed();
            place.recent.retain(|at| now - *at < rate.period);
            place.recent.push_back(now);
            exceeded = place.recent.len() > rate.count.get() as usize;
        }
        let spell = place.spell.unwrap_or(Mood::Well);
        drop(places);
        let lane = &arrived.lane;
        if exceeded {
            fault!(world, "{lane}: its rate was exceeded");
        }
        if many {
            fault!(world, "{lane}: too many requests at once");
        }
        let mood = match glitches && world.dice.one_in(6) {
            true => self.glitch(),
            false => spell,
        };
        (mood, nth, UnderWay(self, lane.clone()))
    }

    fn glitch(&self) -> Mood {
        self.world.dice.one_of(&[
            Mood::Says(500),
            Mood::Says(503),
            Mood::Says(404),
            Mood::Says(302),
            Mood::Says(410),
            Mood::Busy(429, 3),
            Mood::Busy(503, 7),
            Mood::Late(millis(2500), 200),
            Mood::Late(millis(2500), 503),
            Mood::Dead(AttemptError::ConnectRefused),
            Mood::Dead(AttemptError::ClosedEarly),
            Mood::Silent,
            Mood::Panics,
        ])
    }

    async fn serve(&self, mood: Mood, event: EventId) -> Result<Answered, AttemptError> {
        sleep(millis(self.world.dice.from(0, 40))).await;
        let answered = |status: u16, retry_after: Option<u8>| {
            Ok(Answered {
                status: StatusCode::from_u16(status).unwrap(),
                retry_after: retry_after.map(|n| Bytes::from(n.to_string())),
                response: Response {
                    body: Bytes::from(format!("taken {event}")),
                    ..Response::default()
                },
            })
        };
        match mood {
            Mood::Well => answered(200, None),
            Mood::Slow(pause) => {
                sleep(pause).await;
                answered(200, None)
            }
            Mood::Says(status) => answered(status, None),
            Mood::Busy(status, seconds) => answered(status, Some(seconds)),
            Mood::Late(pause, status) => {
                sleep(pause).await;
                answered(status, None)
            }
            Mood::Dead(error) => Err(error),
            Mood::Silent => std::future::pending().await,
            // Without the hook, which would write it down a thousand times.
            Mood::Panics => std::panic::resume_unwind(Box::new("a transport that panics")),
        }
    }
}

impl Transport for Way {
    fn send<'a>(
        &'a self,
        to: &'a Target,
        request: Outgoing,
        _within: Duration,
    ) -> Pending<'a, Result<Answered, AttemptError>> {
        Box::pin(async move {
            let arrived = self.read(to, request).await;
            let (mood, nth, _under_way) = self.enter(&arrived);
            let result = self.serve(mood, arrived.event).await;
            let (lane, event) = (&arrived.lane, arrived.event);
            let heard = match &result {
                Ok(answered) => Some(answered.status.as_u16()),
                Err(_) => None,
            };
            say!(
                self.world,
                "{lane}: callback {:?} as {event}: {heard:?}",
                arrived.callback
            );
            let mut places = self.world.places();
            let seen = places.all.entry(lane.clone()).or_default();
            if let Some(seen) = seen.seen.entry(event).or_default().get_mut(nth) {
                seen.heard = heard;
            }
            result
        })
    }
}

/// How an application is for a while.
pub fn spell(world: &World) -> Option<Mood> {
    world.dice.one_of(&[
        None,
        None,
        Some(Mood::Dead(AttemptError::ConnectRefused)),
        Some(Mood::Dead(AttemptError::Dns)),
        Some(Mood::Dead(AttemptError::ConnectTimeout)),
        Some(Mood::Silent),
        Some(Mood::Slow(secs(4))),
        Some(Mood::Slow(millis(600))),
        Some(Mood::Says(500)),
        Some(Mood::Busy(503, 2)),
        Some(Mood::Busy(429, 5)),
    ])
}
