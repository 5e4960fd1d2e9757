//! At the end: everything that was promised has come to be, and all of it for a reason.

use std::collections::BTreeMap;

use crate::inbox::store::{Row, State};
use crate::message::{EventId, LaneName};
use crate::rule::OnConflict;
use crate::service::simulation::callbacks::Kind;
use crate::service::simulation::model::{Event, Model};

impl Model {
    /// At the end: everything that was acknowledged is there, or what it was said to be is.
    pub fn check_acknowledged(&mut self) {
        let mut wrong = Vec::new();
        let of_callback: BTreeMap<usize, &Event> =
            self.events.values().map(|e| (e.callback, e)).collect();
        for n in &self.acknowledged {
            if of_callback.contains_key(n) {
                continue;
            }
            let own = &self.callbacks[*n];
            let policy = &self.policies[&own.source];
            let mut others = self.events.values().map(|e| &self.callbacks[e.callback]);
            let stands = others.any(|other| {
                let same_order = policy.business && other.order == own.order;
                let first_wins = policy.on_conflict == OnConflict::FirstWins;
                other.source == own.source && (same_order || first_wins && other.id == own.id)
            });
            if !stands {
                wrong.push(format!("callback {n} was acknowledged and is lost"));
            }
        }
        for (n, of) in &self.said {
            if !self.events.contains_key(of) {
                wrong.push(format!(
                    "callback {n} was said to be {of}, which is not there"
                ));
            }
        }
        for callback in &self.callbacks {
            let policy = &self.policies[&callback.source];
            let may_be_refused = callback.contested && policy.on_conflict == OnConflict::Reject;
            let heard = self.acknowledged.contains(&callback.number);
            if callback.kind == Kind::Genuine && !heard && !may_be_refused {
                wrong.push(format!("callback {} never heard success", callback.number));
            }
        }
        self.broken.extend(wrong);
    }

    /// At the end: every delivery has ended, and for a reason. `taken` and `refused_for_good`: what
    /// its application says.
    pub fn check_deliveries(
        &mut self,
        rows: &[Row],
        taken: impl Fn(&LaneName, EventId) -> bool,
        refused_for_good: impl Fn(&LaneName, EventId) -> bool,
    ) {
        let mut wrong = Vec::new();
        for row in rows {
            let Some(delivery) = self.deliveries.get(&row.id) else {
                continue;
            };
            let doings = self.doings.get(&row.id);
            let event = row.id.event();
            let right = match row.state {
                State::Owed => false,
                State::Delivered => taken(&delivery.lane, event),
                State::Dead => refused_for_good(&delivery.lane, event) && row.reason == "gone",
                State::Discarded => {
                    doings.is_some_and(|d| d.discards > 0) && !row.reason.is_empty()
                }
                State::Filtered => !delivery.wanted,
                State::Superseded => self.newer(&self.events[&event], &delivery.lane.destination),
            };
            if !right {
                let (id, state) = (row.id, row.state.as_str());
                wrong.push(format!(
                    "{id} ended as {state} ({}) for no reason",
                    row.reason
                ));
            }
        }
        self.broken.extend(wrong);
    }
}
