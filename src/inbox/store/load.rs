//! Taking in an event that another store has accepted, with all that happened to it there.

use super::StoreError;
use super::owed::Open;
use super::queue::{Answered, Heard, Offer, Outcome, Reply, answer};
use super::record::{Delivery, Place, Step};
use super::writer::Writer;
use crate::message::EventId;

/// Such an event, and its steps, oldest first.
pub struct Loaded {
    pub offer: Box<Offer>,
    pub steps: Vec<Step>,
}

impl Writer {
    /// Accepts it as if it had just come, unless it is there, and writes its steps behind it. One
    /// that is there gets the steps that it has not: an earlier import may have been cut off.
    pub(super) fn load(&mut self, loaded: Loaded, reply: Reply<Heard>) {
        let Loaded { offer, steps } = loaded;
        let (source, received_at) = (offer.row.source, offer.row.received_at);
        let answered = match self.place(&offer) {
            Ok(answered) => answered,
            Err(e) => return answer(reply, Err(e)),
        };
        let written = match answered {
            Answered::New(id) | Answered::Conflict { id, .. } => {
                // It is in this group only: nobody else knows yet how it stands.
                let open = Open {
                    place: Place::of(id),
                    tag: id.tag,
                    source,
                    delivery: Delivery::fresh(received_at),
                };
                self.group.staged.insert(open.place, (open, None));
                self.load_steps(id, &steps)
            }
            Answered::Duplicate(place) => self.load_missing(place, &steps),
        };
        match written {
            Ok(()) => {
                let heard = Heard { answered, offer };
                self.group.outcomes.push(Outcome::Accept(reply, heard));
            }
            Err(e) => answer(reply, Err(e)),
        }
    }

    fn load_missing(&mut self, place: Place, steps: &[Step]) -> Result<(), StoreError> {
        // Twice in one file: the first has brought everything.
        if self.in_group(place) {
            return Ok(());
        }
        let Some(id) = self.tag_at(place).map(|tag| place.with_tag(tag)) else {
            return Ok(());
        };
        let Some((open, _)) = self.stands(id)? else {
            return Ok(());
        };
        let there = self.steps_there(&open, steps.len());
        let (same, missing) = steps.split_at_checked(there).unwrap_or((steps, &[]));
        let goes_on = same.last().map_or(open.delivery.last.is_none(), |step| {
            let last = open.delivery.last;
            open.delivery
                == Delivery {
                    last,
                    ..step.delivery
                }
        });
        self.shared.owed.release([place]);
        match goes_on {
            true => self.load_steps(id, missing),
            false => Ok(()),
        }
    }

    fn steps_there(&self, open: &Open, most: usize) -> usize {
        let mut count = 0;
        let mut at = open.delivery.last;
        while let Some(place) = at {
            count += 1;
            let step = self.shared.step(place).ok().flatten();
            at = step.and_then(|step| step.delivery.last.filter(|before| *before < place));
            if count > most {
                break;
            }
        }
        count
    }

    fn load_steps(&mut self, id: EventId, steps: &[Step]) -> Result<(), StoreError> {
        for step in steps {
            let Some((open, granted)) = self.stands(id)? else {
                return Ok(());
            };
            let mut step = step.clone();
            step.delivery.last = open.delivery.last;
            let after = Open {
                delivery: step.delivery,
                ..open
            };
            self.step(open, after, granted, &step);
        }
        Ok(())
    }
}
