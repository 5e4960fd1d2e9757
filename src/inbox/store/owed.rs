//! Deliveries that are open: owed ones, ordered by when they fall due, and dead letters. Only
//! where they lie and how they stand, never a body; under a hundred bytes each.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::iter::Peekable;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::vec::IntoIter;

use hashbrown::HashTable;

use super::order::Orders;
use super::record::{Delivery, Order, Place};
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

#[derive(Default)]
struct Table {
    slots: Slots,
    /// By segment, so that none of them grows large: what is accepted together lies together.
    by_place: BTreeMap<u32, HashTable<u32>>,
    /// By number of the lane: when, and which. A leased delivery stands here with the end of
    /// its lease. Of those in order with each other, only the one whose turn it is.
    due: Vec<BTreeSet<(Timestamp, Place)>>,
    orders: Orders,
    leases: HashMap<Place, Granted>,
    /// By number of the lane.
    figures: Vec<Figures>,
    next_grant: u64,
}

/// What is open of a lane.
#[derive(Default)]
struct Figures {
    owed: usize,
    dead: usize,
    /// How many of the owed are so since when.
    since: BTreeMap<Timestamp, u32>,
}

impl Figures {
    fn oldest(&self) -> Option<Timestamp> {
        self.since.first_key_value().map(|(since, _)| *since)
    }
}

/// An [`Open`], packed.
#[derive(Clone, Copy)]
struct Slot {
    place: Place,
    tag: u64,
    since: Timestamp,
    due: Timestamp,
    /// Segment 0: none.
    last: Place,
    attempts: u32,
    round: u32,
    lane: u32,
    dead: bool,
    ordered: bool,
    used: bool,
    /// The writer is about to change it: not to be leased until it has.
    held: bool,
}

/// Slots by number, in pieces: none of them ever moves.
#[derive(Default)]
struct Slots {
    pieces: Vec<Vec<Slot>>,
    free: Vec<u32>,
}

const PIECE: usize = 1 << 10;

impl Slots {
    fn get(&self, number: u32) -> Option<&Slot> {
        let number = number as usize;
        self.pieces.get(number / PIECE)?.get(number % PIECE)
    }

    fn get_mut(&mut self, number: u32) -> Option<&mut Slot> {
        let number = number as usize;
        self.pieces.get_mut(number / PIECE)?.get_mut(number % PIECE)
    }

    fn used(&self) -> impl Iterator<Item = &Slot> {
        self.pieces.iter().flatten().filter(|s| s.used)
    }

    fn add(&mut self, slot: Slot) -> u32 {
        if let Some(number) = self.free.pop() {
            if let Some(old) = self.get_mut(number) {
                *old = slot;
            }
            return number;
        }
        if self.pieces.last().is_none_or(|piece| piece.len() == PIECE) {
            self.pieces.push(Vec::with_capacity(PIECE));
        }
        let before = (self.pieces.len() - 1) * PIECE;
        let Some(piece) = self.pieces.last_mut() else {
            return u32::MAX;
        };
        piece.push(slot);
        // 2^32 slots would be 300 GB.
        u32::try_from(before + piece.len() - 1).unwrap_or(u32::MAX)
    }

    fn remove(&mut self, number: u32) {
        if let Some(slot) = self.get_mut(number) {
            slot.used = false;
            self.free.push(number);
        }
    }
}

impl Slot {
    fn new(open: Open) -> Self {
        let d = open.delivery;
        Slot {
            place: open.place,
            tag: open.tag,
            since: d.since,
            due: d.due,
            last: d.last.unwrap_or(Place {
                segment: 0,
                offset: 0,
            }),
            attempts: d.attempts,
            round: d.round,
            lane: open.lane,
            ordered: open.order.is_some(),
            dead: d.state == State::Dead,
            used: true,
            held: false,
        }
    }

    fn open(&self, orders: &Orders) -> Open {
        let delivery = Delivery {
            state: if self.dead { State::Dead } else { State::Owed },
            attempts: self.attempts,
            round: self.round,
            since: self.since,
            due: self.due,
            last: (self.last.segment != 0).then_some(self.last),
        };
        Open {
            place: self.place,
            tag: self.tag,
            lane: self.lane,
            order: if self.ordered {
                orders.of(self.place)
            } else {
                None
            },
            delivery,
        }
    }
}

/// The order that a delivery stands in, if it does: owed, or dead and held.
fn member(open: &Open) -> Option<Order> {
    let order = open.order?;
    match open.delivery.state {
        State::Owed => Some(order),
        State::Dead => order.hold.then_some(order),
        State::Delivered | State::Discarded | State::Filtered | State::Superseded => None,
    }
}

/// Places are numbered by us: nobody outside can make them collide.
fn hash(place: Place) -> u64 {
    let both = (u64::from(place.segment) << 32) | u64::from(place.offset);
    both.wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .rotate_left(29)
        .wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

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
        let mut places = Vec::new();
        for (_, place) in due.range(..=(now, LAST)) {
            if places.len() == max {
                break;
            }
            if table.slot(*place).is_some_and(|slot| !slot.held) {
                places.push(*place);
            }
        }
        places
            .into_iter()
            .filter_map(|place| table.grant(place, until))
            .collect()
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
        table.due.get(lane as usize)?.first().map(|(when, _)| *when)
    }

    /// Some of a lane wait in this order.
    pub fn in_order(&self, lane: u32, hash: u64) -> bool {
        self.table().orders.any(lane, hash)
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

const LAST: Place = Place {
    segment: u32::MAX,
    offset: u32::MAX,
};

impl Table {
    fn find(&self, place: Place) -> Option<u32> {
        self.by_place
            .get(&place.segment)?
            .find(hash(place), |slot| {
                self.slots.get(*slot).is_some_and(|s| s.place == place)
            })
            .copied()
    }

    fn slot(&self, place: Place) -> Option<&Slot> {
        self.slots.get(self.find(place)?)
    }

    fn open(&self, place: Place) -> Option<Open> {
        self.slot(place).map(|slot| slot.open(&self.orders))
    }

    fn slot_mut(&mut self, place: Place) -> Option<&mut Slot> {
        let slot = self.find(place)?;
        self.slots.get_mut(slot)
    }

    /// When it can be given out: the end of its lease, or when it is due.
    fn when(&self, open: &Open) -> Timestamp {
        self.leases
            .get(&open.place)
            .map_or(open.delivery.due, |lease| lease.until)
    }

    fn put(&mut self, open: Open) {
        if let Some(order) = open.order {
            self.orders.know(open.place, order);
        }
        if let Some(slot) = self.find(open.place) {
            let old = self.slots.get(slot).copied();
            let old = old.map(|old| old.open(&self.orders));
            // One that stays in its order keeps its place there, and its turn.
            let stays = old.filter(|old| member(old).is_some() && member(old) == member(&open));
            match (stays, old) {
                (Some(old), _) => self.unturn(&old),
                (None, Some(old)) => self.uncount(&old),
                (None, None) => {}
            }
            if let Some(entry) = self.slots.get_mut(slot) {
                *entry = Slot::new(open);
            }
            if stays.is_some() {
                return self.return_turn(&open);
            }
            self.count(&open);
        } else {
            self.add(&open);
        }
    }

    /// One that is not there.
    fn add(&mut self, open: &Open) {
        let number = self.slots.add(Slot::new(*open));
        let slots = &self.slots;
        self.by_place
            .entry(open.place.segment)
            .or_default()
            .insert_unique(hash(open.place), number, |number| {
                slots.get(*number).map_or(0, |s| hash(s.place))
            });
        self.count(open);
    }

    fn remove(&mut self, place: Place) {
        let Some(slot) = self.find(place) else { return };
        if let Some(old) = self.slots.get(slot).copied() {
            self.uncount(&old.open(&self.orders));
        }
        self.orders.forget(place);
        self.leases.remove(&place);
        if let Some(segment) = self.by_place.get_mut(&place.segment) {
            if let Ok(entry) = segment.find_entry(hash(place), |s| *s == slot) {
                entry.remove();
            }
            if segment.is_empty() {
                self.by_place.remove(&place.segment);
            }
        }
        self.slots.remove(slot);
        if self.by_place.is_empty() {
            // An outage is over: give back what the backlog took.
            self.slots = Slots::default();
            self.orders = Orders::default();
        }
    }

    /// Into the order of dueness and the figures.
    fn count(&mut self, open: &Open) {
        match open.delivery.state {
            State::Owed => {
                self.owe(open);
                match open.order {
                    None => self.wait(open),
                    Some(order) => {
                        self.orders.enter(open.lane, open.place, order);
                        self.turn(open.lane, order);
                    }
                }
            }
            State::Dead => {
                self.dead(open.lane, 1);
                // One that holds stays in the order, and is never due.
                if let Some(order) = open.order.filter(|order| order.hold) {
                    self.orders.enter(open.lane, open.place, order);
                    self.turn(open.lane, order);
                }
            }
            State::Delivered | State::Discarded | State::Filtered | State::Superseded => {}
        }
    }

    /// Into the order of dueness.
    fn wait(&mut self, open: &Open) {
        let when = self.when(open);
        let lane = open.lane as usize;
        if self.due.len() <= lane {
            self.due.resize_with(lane + 1, BTreeSet::new);
        }
        if let Some(due) = self.due.get_mut(lane) {
            due.insert((when, open.place));
        }
    }

    fn unwait(&mut self, open: &Open) {
        let when = self.when(open);
        if let Some(due) = self.due.get_mut(open.lane as usize) {
            due.remove(&(when, open.place));
        }
    }

    /// Whose turn it is among those that are in order with each other: the first that was accepted.
    /// One that is under way keeps its turn, whatever was redriven before it.
    fn turn(&mut self, lane: u32, order: Order) {
        let now = self.orders.current(lane, order);
        if now.is_some_and(|place| self.leases.contains_key(&place)) {
            return;
        }
        let first = self.orders.first(lane, order);
        if first == now {
            return;
        }
        if let Some(open) = now.and_then(|place| self.open(place)) {
            self.unwait(&open);
        }
        self.orders.set_current(lane, order, first);
        if let Some(open) = first.and_then(|place| self.open(place))
            && open.delivery.state == State::Owed
        {
            self.wait(&open);
        }
    }

    /// A member is about to stand otherwise: out of the order of dueness and the figures.
    fn unturn(&mut self, old: &Open) {
        match old.delivery.state {
            State::Owed => self.owe_no_more(old),
            _ => self.dead(old.lane, -1),
        }
        if old.delivery.state == State::Owed
            && old
                .order
                .is_some_and(|order| self.orders.current(old.lane, order) == Some(old.place))
        {
            self.unwait(old);
        }
    }

    /// The member stands as it does from now on.
    fn return_turn(&mut self, open: &Open) {
        let Some(order) = open.order else { return };
        match open.delivery.state {
            State::Owed => {
                self.owe(open);
                if self.orders.current(open.lane, order) == Some(open.place) {
                    self.wait(open);
                }
            }
            _ => self.dead(open.lane, 1),
        }
        self.turn(open.lane, order);
    }

    /// Out of the order that it is in, and on to the next.
    fn step_out(&mut self, open: &Open, order: Order) {
        if self.orders.current(open.lane, order) == Some(open.place) {
            self.unwait(open);
            self.orders.set_current(open.lane, order, None);
        }
        self.orders.leave(open.lane, open.place, order);
        self.turn(open.lane, order);
    }

    fn uncount(&mut self, open: &Open) {
        match open.delivery.state {
            State::Owed => {
                self.owe_no_more(open);
                match open.order {
                    None => self.unwait(open),
                    Some(order) => self.step_out(open, order),
                }
            }
            State::Dead => {
                self.dead(open.lane, -1);
                if let Some(order) = open.order.filter(|order| order.hold) {
                    self.step_out(open, order);
                }
            }
            State::Delivered | State::Discarded | State::Filtered | State::Superseded => {}
        }
    }

    fn grant(&mut self, place: Place, until: Timestamp) -> Option<Lease> {
        let open = self.open(place)?;
        let before = self.when(&open);
        let due = self.due.get_mut(open.lane as usize)?;
        due.remove(&(before, place));
        due.insert((until, place));
        let grant = self.next_grant;
        self.next_grant = self.next_grant.wrapping_add(1);
        self.leases.insert(place, Granted { grant, until });
        Some(Lease {
            id: place.with_tag(open.tag),
            attempt: open.delivery.attempts.saturating_add(1),
            round: open.delivery.round,
            since: open.delivery.since,
            until,
            grant,
        })
    }

    fn end_lease(&mut self, place: Place) {
        let Some(lease) = self.leases.remove(&place) else {
            return;
        };
        let Some(open) = self.open(place) else {
            return;
        };
        if open.delivery.state == State::Owed
            && let Some(due) = self.due.get_mut(open.lane as usize)
        {
            due.remove(&(lease.until, place));
            due.insert((open.delivery.due, place));
        }
        if let Some(order) = open.order {
            self.turn(open.lane, order);
        }
    }

    /// Lanes come from configuration: there are few of them.
    fn figures(&mut self, lane: u32) -> Option<&mut Figures> {
        let lane = lane as usize;
        if self.figures.len() <= lane {
            self.figures.resize_with(lane + 1, Figures::default);
        }
        self.figures.get_mut(lane)
    }

    fn owe(&mut self, open: &Open) {
        if let Some(figures) = self.figures(open.lane) {
            figures.owed += 1;
            *figures.since.entry(open.delivery.since).or_default() += 1;
        }
    }

    fn owe_no_more(&mut self, open: &Open) {
        let since = open.delivery.since;
        let Some(figures) = self.figures(open.lane) else {
            return;
        };
        figures.owed -= 1;
        if let Some(count) = figures.since.get_mut(&since) {
            *count -= 1;
            if *count == 0 {
                figures.since.remove(&since);
            }
        }
    }

    fn dead(&mut self, lane: u32, by: isize) {
        if let Some(figures) = self.figures(lane) {
            figures.dead = figures.dead.saturating_add_signed(by);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
