//! Open deliveries, packed: under a hundred bytes each, and none of them ever moves.

use super::State;
use super::order::Orders;
use super::owed::Open;
use super::record::{Delivery, Place};
use crate::clock::Timestamp;

/// An [`Open`], packed.
#[derive(Clone, Copy)]
pub(super) struct Slot {
    pub(super) place: Place,
    pub(super) tag: u64,
    pub(super) since: Timestamp,
    pub(super) due: Timestamp,
    /// Segment 0: none.
    pub(super) last: Place,
    pub(super) attempts: u32,
    pub(super) round: u32,
    pub(super) lane: u32,
    pub(super) dead: bool,
    pub(super) ordered: bool,
    pub(super) used: bool,
    /// The writer is about to change it: not to be leased until it has.
    pub(super) held: bool,
}

/// Slots by number, in pieces: none of them ever moves.
#[derive(Default)]
pub(super) struct Slots {
    pieces: Vec<Vec<Slot>>,
    free: Vec<u32>,
}

const PIECE: usize = 1 << 10;

impl Slots {
    pub(super) fn get(&self, number: u32) -> Option<&Slot> {
        let number = number as usize;
        self.pieces.get(number / PIECE)?.get(number % PIECE)
    }

    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut Slot> {
        let number = number as usize;
        self.pieces.get_mut(number / PIECE)?.get_mut(number % PIECE)
    }

    /// Some of them, used or not; none behind the last.
    pub(super) fn piece(&self, number: usize) -> Option<&[Slot]> {
        self.pieces.get(number).map(Vec::as_slice)
    }

    pub(super) fn used(&self) -> impl Iterator<Item = &Slot> {
        self.pieces.iter().flatten().filter(|s| s.used)
    }

    pub(super) fn add(&mut self, slot: Slot) -> u32 {
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

    pub(super) fn remove(&mut self, number: u32) {
        if let Some(slot) = self.get_mut(number) {
            slot.used = false;
            self.free.push(number);
        }
    }
}

impl Slot {
    pub(super) fn new(open: Open) -> Self {
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

    pub(super) fn open(&self, orders: &Orders) -> Open {
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
