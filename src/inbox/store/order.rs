//! Deliveries that go out one after the other: those of a lane whose events have the same value.
//!
//! Only deliveries that are in an order are in here. Most are alone with their value, and then
//! cost two small entries.

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;

use super::record::{Order, Place};

/// Members of one order, by the place of their events: that is how they were accepted.
#[derive(Debug)]
enum Members {
    One(Place),
    Many(BTreeSet<Place>),
}

#[derive(Debug)]
struct Group {
    members: Members,
    /// Whose turn it is.
    current: Option<Place>,
}

/// The orders of all lanes. Whose turn it is, is decided by the table of what is owed, which knows
/// what is under way.
#[derive(Debug, Default)]
pub struct Orders {
    of: HashMap<Place, Order>,
    /// By lane and value.
    groups: HashMap<(u32, u64), Group>,
}

impl Orders {
    /// What a delivery is in order with.
    pub fn of(&self, place: Place) -> Option<Order> {
        self.of.get(&place).copied()
    }

    /// For as long as the delivery is open, also while it is a dead letter that holds nobody: it
    /// may be redriven.
    pub fn know(&mut self, place: Place, order: Order) {
        self.of.insert(place, order);
    }

    pub fn forget(&mut self, place: Place) {
        self.of.remove(&place);
    }

    pub fn enter(&mut self, lane: u32, place: Place, order: Order) {
        match self.groups.get_mut(&(lane, order.hash)) {
            None => {
                let group = Group {
                    members: Members::One(place),
                    current: None,
                };
                self.groups.insert((lane, order.hash), group);
            }
            Some(group) => match &mut group.members {
                Members::One(other) if *other == place => {}
                Members::One(other) => {
                    let both = BTreeSet::from([*other, place]);
                    group.members = Members::Many(both);
                }
                Members::Many(all) => {
                    all.insert(place);
                }
            },
        }
    }

    pub fn leave(&mut self, lane: u32, place: Place, order: Order) {
        let Some(group) = self.groups.get_mut(&(lane, order.hash)) else {
            return;
        };
        let empty = match &mut group.members {
            Members::One(other) => *other == place,
            Members::Many(all) => {
                all.remove(&place);
                all.is_empty()
            }
        };
        if empty {
            self.groups.remove(&(lane, order.hash));
        }
    }

    pub fn first(&self, lane: u32, order: Order) -> Option<Place> {
        match &self.groups.get(&(lane, order.hash))?.members {
            Members::One(place) => Some(*place),
            Members::Many(all) => all.first().copied(),
        }
    }

    /// Those that were accepted after a member, latest first.
    pub fn behind(&self, lane: u32, place: Place, order: Order) -> impl Iterator<Item = Place> {
        let group = self.groups.get(&(lane, order.hash));
        let all = group.and_then(|group| match &group.members {
            Members::One(_) => None,
            Members::Many(all) => Some(all),
        });
        let behind = all.map(|all| all.range((Bound::Excluded(place), Bound::Unbounded)));
        behind.into_iter().flatten().rev().copied()
    }

    /// Someone is in this order.
    pub fn any(&self, lane: u32, hash: u64) -> bool {
        self.groups.contains_key(&(lane, hash))
    }

    pub fn current(&self, lane: u32, order: Order) -> Option<Place> {
        self.groups.get(&(lane, order.hash))?.current
    }

    pub fn set_current(&mut self, lane: u32, order: Order, place: Option<Place>) {
        if let Some(group) = self.groups.get_mut(&(lane, order.hash)) {
            group.current = place;
        }
    }
}
