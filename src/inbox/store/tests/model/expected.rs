//! What a store must answer: a few lines over a list.

use super::super::*;

/// A delivery.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) id: EventId,
    pub(super) event: StoredEvent,
    pub(super) destination: DestinationName,
    pub(super) order: Option<PlannedOrder>,
    pub(super) state: State,
    pub(super) attempts: Vec<Attempt>,
    pub(super) round: u32,
    pub(super) since: Timestamp,
    pub(super) due: Timestamp,
    /// What the journal says of that: moments that a clock gone back has brought forward are not in
    /// it.
    pub(super) written: Timestamp,
    pub(super) reason: String,
    pub(super) lease: Option<Lease>,
}

impl Known {
    pub(super) fn lane(&self) -> LaneName {
        LaneName::new(&self.event.source, &self.destination)
    }

    pub(super) fn blocks(&self) -> bool {
        self.state == State::Owed
            || self.state == State::Dead && self.order.as_ref().is_some_and(|o| o.hold)
    }
}

/// What an event took.
#[derive(Clone, Debug)]
pub(super) struct Taken {
    pub(super) id: EventId,
    pub(super) claim: Claim,
    pub(super) conflicts: [bool; 2],
    pub(super) version: Option<EventVersion>,
    /// Where it goes.
    pub(super) wanted: Vec<DestinationName>,
}

pub(super) fn level(claim: &Claim, level: usize) -> Option<(Vec<u8>, [u8; 32])> {
    if level == 0 {
        return Some((claim.key.clone(), claim.body));
    }
    let business = claim.business.as_ref()?;
    Some((business.key.clone(), business.content))
}

#[derive(Default)]
pub(super) struct Model {
    /// Deliveries, in the order of their ids.
    pub(super) events: Vec<Known>,
    pub(super) taken: Vec<Taken>,
    pub(super) stale: Vec<Lease>,
    pub(super) deeds: Vec<Deed>,
    pub(super) paused: std::collections::HashSet<(SourceName, Option<DestinationName>)>,
}

impl Model {
    pub(super) fn of(&mut self, id: EventId) -> &mut Known {
        self.events.iter_mut().find(|k| k.id == id).unwrap()
    }

    /// What must come of an offer: it is known already, or it is accepted, with these of its keys
    /// in conflict and with whom.
    pub(super) fn judge(&self, claim: &Claim) -> Result<([bool; 2], Option<EventId>), Acceptance> {
        let mut conflicts = [false; 2];
        let mut of = None;
        for (n, taken) in conflicts.iter_mut().enumerate() {
            let Some((key, content)) = level(claim, n) else {
                continue;
            };
            let found = |conflict: bool, equal: bool| {
                let mut taken = self.taken.iter().rev();
                taken.find(|t| {
                    level(&t.claim, n).is_some_and(|(k, c)| {
                        k == key && t.conflicts[n] == conflict && (!equal || c == content)
                    })
                })
            };
            let holder = found(false, false);
            let equal = holder
                .filter(|t| level(&t.claim, n).is_some_and(|(_, c)| c == content))
                .or_else(|| found(true, true));
            match (equal, holder) {
                (Some(t), _) if of.is_none() => return Err(Acceptance::Duplicate(t.id)),
                (Some(_), _) => *taken = true,
                (None, None) => {}
                (None, Some(t)) => match claim.on_conflict {
                    OnConflict::FirstWins => return Err(Acceptance::Dropped { of: t.id }),
                    OnConflict::Reject => return Err(Acceptance::Refused { of: t.id }),
                    OnConflict::KeepBoth => {
                        *taken = true;
                        of = of.or(Some(t.id));
                    }
                },
            }
        }
        Ok((conflicts, of))
    }

    pub(super) fn turn(&self, known: &Known) -> bool {
        let Some(order) = &known.order else {
            return true;
        };
        let mut group = self.events.iter().filter(|other| {
            other.lane() == known.lane()
                && other.blocks()
                && other.order.as_ref().is_some_and(|o| o.value == order.value)
        });
        let leased = group.clone().find(|other| other.lease.is_some());
        leased
            .or_else(|| group.next())
            .is_some_and(|first| first.id == known.id)
    }

    pub(super) fn due(&self, lane: &LaneName, now: Timestamp) -> Vec<(Timestamp, EventId)> {
        let whole = (lane.source.clone(), None);
        let one = (lane.source.clone(), Some(lane.destination.clone()));
        if self.paused.contains(&whole) || self.paused.contains(&one) {
            return Vec::new();
        }
        let mut due: Vec<_> = self
            .events
            .iter()
            .filter(|k| k.lane() == *lane && k.state == State::Owed && self.turn(k))
            .map(|k| (k.lease.as_ref().map_or(k.due, |l| l.until), k.id))
            .filter(|(when, _)| *when <= now)
            .collect();
        due.sort();
        due
    }

    /// The latest about the same: of two with one stamp the first that was accepted.
    pub(super) fn overtaken(&self, id: EventId) -> Option<EventId> {
        let own = self.taken.iter().find(|t| t.id == id.event())?;
        let version = own.version.as_ref()?;
        let to = &self.events.iter().find(|k| k.id == id)?.destination;
        let same = self.taken.iter().filter_map(|t| {
            let other = t.version.as_ref()?;
            (other.key == version.key && t.wanted.contains(to))
                .then_some((other.stamp, std::cmp::Reverse(t.id)))
        });
        let (stamp, latest) = same.max()?;
        (stamp > version.stamp).then_some(latest.0)
    }

    pub(super) fn rows(&self, filter: &Filter) -> Vec<Row> {
        let rows = self.events.iter().map(|k| Row {
            id: k.id,
            source: k.event.source.clone(),
            destination: k.destination.clone(),
            provider: k.event.provider.clone(),
            event_key: k.event.event_key.clone(),
            event_type: k.event.event_type.clone(),
            received_at: k.event.received_at,
            state: k.state,
            attempts: k.attempts.len() as u32,
            due: (k.state == State::Owed).then_some(k.due),
            reason: k.reason.clone(),
            conflict: k.event.conflict_of.is_some(),
            body_bytes: k.event.body.len() as u32,
            payment: k.event.payment.clone(),
        });
        let mut rows: Vec<Row> = rows
            .filter(|row| {
                filter.source.as_ref().is_none_or(|s| *s == row.source)
                    && filter
                        .destination
                        .as_ref()
                        .is_none_or(|d| *d == row.destination)
                    && filter.state.is_none_or(|s| s == row.state)
                    && filter
                        .event_type
                        .as_ref()
                        .is_none_or(|t| *t == row.event_type)
                    && filter
                        .event_key
                        .as_ref()
                        .is_none_or(|k| *k == row.event_key)
                    && filter.order.as_ref().is_none_or(|order| {
                        let paid = row.payment.as_ref();
                        paid.and_then(|paid| paid.order.as_ref()) == Some(order)
                    })
                    && filter.reason.as_ref().is_none_or(|r| *r == row.reason)
                    && filter.text.as_ref().is_none_or(|t| {
                        row.event_key.contains(t)
                            || row.event_type.contains(t)
                            || row.reason.contains(t)
                            || row.id.to_string().contains(t)
                    })
                    && filter.from.is_none_or(|from| row.received_at >= from)
                    && filter.to.is_none_or(|to| row.received_at < to)
            })
            .collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.id));
        rows
    }
}
