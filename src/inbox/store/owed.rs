//! Deliveries that are open: owed ones, ordered by when they fall due, and dead letters. Only
//! where they lie and how they stand, never a body; under a hundred bytes each.

use std::iter::Peekable;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::vec::IntoIter;

use super::record::{Delivery, Order, Place};
use super::table::{Figures, Table};
use super::{LaneStats, Lease, Picked, State};
use crate::clock::Timestamp;
use crate::message::EventId;

/// An open delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    pub place: Place,
    pub tag: u64,
    /// Number of the lane in the store's list of names.
    pub lane: u32,
    /// What it goes out in order with.
    pub order: Option<Order>,
    pub delivery: Delivery,
}

/// A lease that was given out and not yet ended. Leases are in memory only: after a crash all that
/// was under way is due again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    pub grant: u64,
    pub until: Timestamp,
}

/// All open deliveries. The lock is held for short moments only, never over a disk access.
pub struct Owed(Mutex<Table>);

impl Owed {
    /// `first_grant`: random, so that a lease of an earlier process fits none of this one's.
    pub fn new(first_grant: u64) -> Self {
        Owed(Mutex::new(Table {
            next_grant: first_grant,
            ..Table::default()
        }))
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds, or replaces without touching a lease.
    pub fn put(&self, opens: impl IntoIterator<Item = Open>) {
        let mut table = self.table();
        for open in opens {
            table.put(open);
        }
    }

    /// Adds deliveries of events that have just been accepted: nobody can have known their places.
    pub fn add(&self, opens: impl IntoIterator<Item = Open>) {
        let mut table = self.table();
        for open in opens {
            if let Some(order) = open.order {
                table.orders.know(open.place, order);
            }
            table.add(&open);
        }
    }

    pub fn get(&self, place: Place) -> Option<Open> {
        let table = self.table();
        table.open(place)
    }

    /// Of many places, in their order.
    pub fn get_all(
        &self,
        places: impl Iterator<Item = Place>,
    ) -> Peekable<IntoIter<(Place, Option<Open>)>> {
        let table = self.table();
        let all: Vec<_> = places.map(|place| (place, table.open(place))).collect();
        all.into_iter().peekable()
    }

    /// For a writer that is about to change it: how it stands, and its lease. Nobody is given it
    /// until [`Owed::change`] or [`Owed::release`].
    pub fn hold(&self, place: Place) -> Option<(Open, Option<Granted>)> {
        let mut table = self.table();
        let lease = table.leases.get(&place).copied();
        let slot = table.slot_mut(place)?;
        slot.held = true;
        Some((table.open(place)?, lease))
    }

    /// What was held is as it was.
    pub fn release(&self, places: impl IntoIterator<Item = Place>) {
        let mut table = self.table();
        for place in places {
            if let Some(slot) = table.slot_mut(place) {
                slot.held = false;
            }
        }
    }

    /// Writes down how deliveries stand from now on; those that are no longer open leave. The
    /// lease ends where `keep_lease` is false.
    pub fn change(&self, changes: impl IntoIterator<Item = (Open, bool)>) {
        let mut table = self.table();
        for (open, keep_lease) in changes {
            if !keep_lease {
                table.end_lease(open.place);
            }
            match open.delivery.state {
                State::Owed | State::Dead => table.put(open),
                State::Delivered | State::Discarded | State::Filtered | State::Superseded => {
                    table.remove(open.place)
                }
            }
        }
    }

    /// Forgets what lies in segments that are gone (dead letters).
    pub fn forget(&self, gone: impl Fn(u32) -> bool) {
        let mut table = self.table();
        let places: Vec<Place> = table
            .slots
            .used()
            .filter(|s| gone(s.place.segment))
            .map(|s| s.place)
            .collect();
        for place in places {
            table.end_lease(place);
            table.remove(place);
        }
    }

    /// Gives out up to `max` deliveries that are due. `tag`, `attempt` and the rest of a lease
    /// come from the table; no disk is asked.
    pub fn lease(&self, lane: u32, now: Timestamp, until: Timestamp, max: usize) -> Vec<Lease> {
        let mut table = self.table();
        let Some(due) = table.due.get(lane as usize) else {
            return Vec::new();
        };
        let mut fresh = due.fresh.range(..=(now, LAST)).peekable();
        let mut again = due.again.range(..=(now, LAST)).peekable();
        // The earlier of both, again and again.
        let earliest = std::iter::from_fn(|| match (fresh.peek(), again.peek()) {
            (Some(one), Some(other)) if other < one => again.next(),
            (Some(_), _) => fresh.next(),
            (None, _) => again.next(),
        });
        let places = table.free(earliest, max);
        table.grant_all(places, until)
    }

    /// As `lease`, of what was never tried; first what is due from a part of the time between the
    /// earliest and now on.
    pub fn lease_fresh(
        &self,
        lane: u32,
        now: Timestamp,
        until: Timestamp,
        max: usize,
        from: f64,
    ) -> Vec<Lease> {
        let mut table = self.table();
        let Some(due) = table.due.get(lane as usize) else {
            return Vec::new();
        };
        let Some((first, _)) = due.fresh.first().filter(|(first, _)| *first <= now) else {
            return Vec::new();
        };
        let from = first.plus(now.since(*first).mul_f64(from.clamp(0.0, 1.0)));
        let later = due.fresh.range((from, FIRST)..=(now, LAST));
        let places = table.free(later.chain(due.fresh.range(..(from, FIRST))), max);
        table.grant_all(places, until)
    }

    /// As `lease`, of one delivery.
    pub fn lease_one(&self, id: EventId, now: Timestamp, until: Timestamp) -> Picked {
        let mut table = self.table();
        let place = Place::of(id);
        let Some(open) = table.open(place).filter(|open| open.tag == id.tag) else {
            return Picked::NotNow;
        };
        if table.leases.get(&place).is_some_and(|l| l.until > now) {
            return Picked::UnderWay;
        }
        let turn = open
            .order
            .is_none_or(|order| table.orders.current(open.lane, order) == Some(place));
        let held = table.slot(place).is_none_or(|slot| slot.held);
        let owed = open.delivery.state == State::Owed;
        if !owed || held || !turn || table.when(&open) > now {
            return Picked::NotNow;
        }
        table
            .grant(place, until)
            .map_or(Picked::NotNow, Picked::Leased)
    }

    pub fn next_due(&self, lane: u32) -> Option<Timestamp> {
        let table = self.table();
        table.due.get(lane as usize)?.first()
    }

    /// What is due later than `now` is due earlier by `by`, and now if it was never tried: how many
    /// of one piece of the table, counted from 0; none behind the last. What a writer has its hand
    /// on is left.
    pub fn clock_went_back(&self, piece: usize, now: Timestamp, by: Duration) -> Option<usize> {
        self.table().clock_went_back(piece, now, by)
    }

    /// Some of a lane wait in this order.
    pub fn in_order(&self, lane: u32, hash: u64) -> bool {
        self.table().orders.any(lane, hash)
    }

    /// A dead letter of this segment holds one that is owed: until it is redriven or discarded.
    pub fn holds(&self, segment: u32) -> bool {
        let table = self.table();
        let Some(there) = table.by_place.get(&segment) else {
            return false;
        };
        let mut dead = there
            .iter()
            .filter_map(|number| table.slots.get(*number))
            .filter(|slot| slot.dead && slot.ordered);
        dead.any(|slot| {
            let order = table.orders.of(slot.place).filter(|order| order.hold);
            order.is_some_and(|order| {
                let mut behind = table.orders.behind(slot.lane, slot.place, order);
                behind.any(|place| table.slot(place).is_some_and(|slot| !slot.dead))
            })
        })
    }

    /// How many are owed, how many are dead, and since when the oldest of the owed is.
    pub fn figures(&self) -> (usize, usize, Option<Timestamp>) {
        let table = self.table();
        let lanes = &table.figures;
        (
            lanes.iter().map(|lane| lane.owed).sum(),
            lanes.iter().map(|lane| lane.dead).sum(),
            lanes.iter().filter_map(Figures::oldest).min(),
        )
    }

    /// The same of one lane.
    pub fn lane_figures(&self, lane: u32) -> LaneStats {
        let table = self.table();
        let figures = table.figures.get(lane as usize);
        figures.map_or_else(LaneStats::default, |figures| LaneStats {
            owed: figures.owed as u64,
            dead: figures.dead as u64,
            oldest_owed: figures.oldest(),
        })
    }

    /// The places of all owed deliveries, in no order: to count them per segment after a start.
    pub fn all(&self) -> Vec<Open> {
        let table = self.table();
        let used = table.slots.used();
        used.map(|slot| slot.open(&table.orders)).collect()
    }
}

const FIRST: Place = Place {
    segment: 0,
    offset: 0,
};

const LAST: Place = Place {
    segment: u32::MAX,
    offset: u32::MAX,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inbox::store::slots::Slot;

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    fn open(offset: u32, due: u64) -> Open {
        let delivery = Delivery {
            due: at(due),
            ..Delivery::fresh(State::Owed, at(due))
        };
        Open {
            place: Place { segment: 1, offset },
            tag: 5,
            lane: 0,
            order: None,
            delivery,
        }
    }

    fn offsets(leases: &[Lease]) -> Vec<u32> {
        leases.iter().map(|l| l.id.offset).collect()
    }

    #[test]
    fn a_slot_stays_small() {
        assert!(size_of::<Slot>() <= 56, "{}", size_of::<Slot>());
    }

    #[test]
    fn leases_go_out_earliest_first_and_only_once() {
        let owed = Owed::new(9);
        owed.put([open(24, 3), open(8, 2), open(16, 2), open(32, 99)]);
        assert_eq!(owed.next_due(0), Some(at(2)));
        assert_eq!(offsets(&owed.lease(0, at(5), at(10), 2)), [8, 16]);
        assert_eq!(offsets(&owed.lease(0, at(5), at(10), 9)), [24]);
        assert_eq!(owed.lease(0, at(5), at(10), 9), []);
        assert_eq!(owed.lease(1, at(5), at(10), 9), []);
        assert_eq!(owed.next_due(0), Some(at(10)));
        // Run out: given out again, under another grant.
        let again = owed.lease(0, at(10), at(20), 1);
        assert_eq!(offsets(&again), [8]);
        assert_eq!(again[0].grant, 12);
    }

    #[test]
    fn what_is_held_is_not_given_out() {
        let owed = Owed::new(0);
        owed.put([open(8, 1), open(16, 1)]);
        let lease = owed.lease(0, at(1), at(2), 1).remove(0);
        let (held, granted) = owed
            .hold(Place {
                segment: 1,
                offset: 8,
            })
            .unwrap();
        assert_eq!(granted.unwrap().grant, lease.grant);
        // Its lease has run out, but the writer has it.
        assert_eq!(offsets(&owed.lease(0, at(3), at(9), 9)), [16]);
        assert_eq!(owed.next_due(0), Some(at(2)), "early, never late");
        owed.release([held.place]);
        assert_eq!(offsets(&owed.lease(0, at(3), at(9), 9)), [8]);
        let (mut held, _) = owed.hold(held.place).unwrap();
        held.delivery.state = State::Delivered;
        owed.change([(held, false)]);
        assert_eq!(owed.get(held.place), None);
        assert_eq!(owed.figures().0, 1);
    }

    #[test]
    fn the_oldest_is_known_and_the_list_of_it_stays_short() {
        let owed = Owed::new(0);
        owed.put([open(8, 1)]);
        for n in 2..5000u32 {
            owed.put([open(8 * n, u64::from(n))]);
            let mut done = open(8 * n, u64::from(n));
            done.delivery.state = State::Delivered;
            owed.change([(done, false)]);
        }
        assert_eq!(owed.figures(), (1, 0, Some(at(1))));
        assert!(owed.table().figures[0].since.len() < 2000);
        let mut dead = open(8, 1);
        dead.delivery.state = State::Dead;
        owed.change([(dead, false)]);
        assert_eq!(owed.figures(), (0, 1, None));
        assert_eq!(owed.next_due(0), None);
        owed.forget(|segment| segment == 1);
        assert_eq!(owed.figures(), (0, 0, None));
    }
}
