//! The table of open deliveries: by place, by when they fall due, and whose turn it is among those
//! in order with each other.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use hashbrown::HashTable;

use super::order::Orders;
use super::owed::{Granted, Open};
use super::record::{Order, Place};
use super::slots::{Slot, Slots};
use super::{Lease, State};
use crate::clock::Timestamp;

#[derive(Default)]
pub(super) struct Table {
    pub(super) slots: Slots,
    /// By segment, so that none of them grows large: what is accepted together lies together.
    pub(super) by_place: BTreeMap<u32, HashTable<u32>>,
    /// By number of the lane: when, and which. A leased delivery stands here with the end of
    /// its lease. Of those in order with each other, only the one whose turn it is.
    pub(super) due: Vec<Due>,
    pub(super) orders: Orders,
    pub(super) leases: HashMap<Place, Granted>,
    /// By number of the lane.
    pub(super) figures: Vec<Figures>,
    pub(super) next_grant: u64,
}

/// What is open of a lane.
#[derive(Default)]
pub(super) struct Figures {
    pub(super) owed: usize,
    pub(super) dead: usize,
    /// How many of the owed are so since when.
    pub(super) since: BTreeMap<Timestamp, u32>,
}

impl Figures {
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        self.since.first_key_value().map(|(since, _)| *since)
    }
}

/// What a lane owes, by when it can be given out. Apart: what was never tried, and what was.
#[derive(Default)]
pub(super) struct Due {
    pub(super) fresh: BTreeSet<(Timestamp, Place)>,
    pub(super) again: BTreeSet<(Timestamp, Place)>,
}

impl Due {
    fn of(&mut self, open: &Open) -> &mut BTreeSet<(Timestamp, Place)> {
        match open.delivery.attempts {
            0 => &mut self.fresh,
            _ => &mut self.again,
        }
    }

    pub(super) fn first(&self) -> Option<Timestamp> {
        let firsts = [self.fresh.first(), self.again.first()];
        firsts.into_iter().flatten().map(|(when, _)| *when).min()
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

impl Table {
    pub(super) fn find(&self, place: Place) -> Option<u32> {
        self.by_place
            .get(&place.segment)?
            .find(hash(place), |slot| {
                self.slots.get(*slot).is_some_and(|s| s.place == place)
            })
            .copied()
    }

    pub(super) fn slot(&self, place: Place) -> Option<&Slot> {
        self.slots.get(self.find(place)?)
    }

    pub(super) fn open(&self, place: Place) -> Option<Open> {
        self.slot(place).map(|slot| slot.open(&self.orders))
    }

    pub(super) fn slot_mut(&mut self, place: Place) -> Option<&mut Slot> {
        let slot = self.find(place)?;
        self.slots.get_mut(slot)
    }

    /// When it can be given out: the end of its lease, or when it is due.
    pub(super) fn when(&self, open: &Open) -> Timestamp {
        self.leases
            .get(&open.place)
            .map_or(open.delivery.due, |lease| lease.until)
    }

    pub(super) fn put(&mut self, open: Open) {
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
    pub(super) fn add(&mut self, open: &Open) {
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

    pub(super) fn remove(&mut self, place: Place) {
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
    pub(super) fn count(&mut self, open: &Open) {
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
    pub(super) fn wait(&mut self, open: &Open) {
        let when = self.when(open);
        let lane = open.lane as usize;
        if self.due.len() <= lane {
            self.due.resize_with(lane + 1, Due::default);
        }
        if let Some(due) = self.due.get_mut(lane) {
            due.of(open).insert((when, open.place));
        }
    }

    pub(super) fn unwait(&mut self, open: &Open) {
        let when = self.when(open);
        if let Some(due) = self.due.get_mut(open.lane as usize) {
            due.of(open).remove(&(when, open.place));
        }
    }

    /// Whose turn it is among those that are in order with each other: the first that was accepted.
    /// One that is under way keeps its turn, whatever was redriven before it.
    pub(super) fn turn(&mut self, lane: u32, order: Order) {
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
    pub(super) fn unturn(&mut self, old: &Open) {
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
    pub(super) fn return_turn(&mut self, open: &Open) {
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
    pub(super) fn step_out(&mut self, open: &Open, order: Order) {
        if self.orders.current(open.lane, order) == Some(open.place) {
            self.unwait(open);
            self.orders.set_current(open.lane, order, None);
        }
        self.orders.leave(open.lane, open.place, order);
        self.turn(open.lane, order);
    }

    pub(super) fn uncount(&mut self, open: &Open) {
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

    /// The first of these that the writer has no hand on.
    pub(super) fn free<'a>(
        &self,
        places: impl Iterator<Item = &'a (Timestamp, Place)>,
        max: usize,
    ) -> Vec<Place> {
        let free = |place: &Place| self.slot(*place).is_some_and(|slot| !slot.held);
        places
            .map(|(_, place)| *place)
            .filter(free)
            .take(max)
            .collect()
    }

    pub(super) fn grant_all(&mut self, places: Vec<Place>, until: Timestamp) -> Vec<Lease> {
        places
            .into_iter()
            .filter_map(|place| self.grant(place, until))
            .collect()
    }

    pub(super) fn grant(&mut self, place: Place, until: Timestamp) -> Option<Lease> {
        let open = self.open(place)?;
        let before = self.when(&open);
        let due = self.due.get_mut(open.lane as usize)?.of(&open);
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

    pub(super) fn end_lease(&mut self, place: Place) {
        let Some(lease) = self.leases.remove(&place) else {
            return;
        };
        let Some(open) = self.open(place) else {
            return;
        };
        if open.delivery.state == State::Owed
            && let Some(due) = self.due.get_mut(open.lane as usize)
        {
            let due = due.of(&open);
            due.remove(&(lease.until, place));
            due.insert((open.delivery.due, place));
        }
        if let Some(order) = open.order {
            self.turn(open.lane, order);
        }
    }

    /// Of one piece of the slots; none when there are no more pieces.
    pub(super) fn clock_went_back(
        &mut self,
        piece: usize,
        now: Timestamp,
        by: Duration,
    ) -> Option<usize> {
        let earlier = |attempts: u32, due: Timestamp| match attempts {
            0 => now,
            _ => due.minus(by).max(now),
        };
        let late = |slot: &&Slot| {
            let open = slot.used && !slot.dead && !slot.held;
            open && slot.due > now && earlier(slot.attempts, slot.due) < slot.due
        };
        let slots = self.slots.piece(piece)?;
        let late: Vec<Place> = slots.iter().filter(late).map(|slot| slot.place).collect();
        for place in &late {
            let Some(mut open) = self.open(*place) else {
                continue;
            };
            // One that is not its order's turn stands nowhere among the due ones.
            let waits = open
                .order
                .is_none_or(|order| self.orders.current(open.lane, order) == Some(open.place));
            if waits {
                self.unwait(&open);
            }
            open.delivery.due = earlier(open.delivery.attempts, open.delivery.due);
            if let Some(slot) = self.slot_mut(open.place) {
                slot.due = open.delivery.due;
            }
            if waits {
                self.wait(&open);
            }
        }
        Some(late.len())
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
