//! Taking in an event that another store has accepted, with all that happened to it there, and what
//! operators did there.

use super::owed::Open;
use super::queue::{Answered, Heard, Offer, Outcome, Reply, answer};
use super::record::{Conflicts, Delivery, Place, Step, Word};
use super::segment::MetaRead;
use super::shared::{NewRow, reading};
use super::steps::cut;
use super::writer::{Placed, Writer};
use super::{Deed, StoreError, Unavailable};
use crate::message::EventId;

/// Such an event.
pub struct Loaded {
    pub offer: Box<Offer>,
    /// Which of its keys were taken by another content there, and by which event.
    pub conflicts: Conflicts,
    pub conflict_of: Option<EventId>,
    /// Its deliveries, in the offer's order.
    pub deliveries: Vec<LoadedDelivery>,
}

#[derive(Clone)]
pub struct LoadedDelivery {
    pub destination: String,
    /// What happened to it, oldest first.
    pub steps: Vec<Step>,
}

impl Writer {
    /// Accepts it as if it had just come, unless it is there, and writes its steps behind it. One
    /// that is there gets the steps that it has not: an earlier import may have been cut off.
    pub(super) fn load(&mut self, loaded: Loaded, reply: Reply<Heard>) {
        let Loaded {
            offer,
            conflicts,
            conflict_of,
            deliveries,
        } = loaded;
        let placed = self.place(&offer, |writer, offer| {
            writer.judge_loaded(offer, conflicts, conflict_of)
        });
        let placed = match placed {
            Ok(placed) => placed,
            Err(e) => return answer(reply, Err(e)),
        };
        let (answered, written) = match placed {
            Placed::New(answered) => (answered, self.load_new(answered, &offer, &deliveries)),
            Placed::Known(place, answered) => (answered, self.load_missing(place, &deliveries)),
        };
        match written {
            Ok(()) => {
                let heard = Heard { answered, offer };
                self.group.outcomes.push(Outcome::Accept(reply, heard));
            }
            Err(e) => answer(reply, Err(e)),
        }
    }

    fn load_new(
        &mut self,
        answered: Answered,
        offer: &Offer,
        deliveries: &[LoadedDelivery],
    ) -> Result<(), StoreError> {
        let (Answered::New(id) | Answered::Conflict { id, .. }) = answered else {
            return Ok(());
        };
        // It is in this group only: nobody else knows yet how it stands.
        for (number, row) in (0..).zip(&offer.rows) {
            let open = fresh(id.of_delivery(number), row);
            self.group.staged.insert(open.place, (open, None));
        }
        for (number, delivery) in (0..).zip(deliveries) {
            self.load_steps(id.of_delivery(number), &delivery.steps)?;
        }
        Ok(())
    }

    fn load_missing(
        &mut self,
        place: Place,
        deliveries: &[LoadedDelivery],
    ) -> Result<(), StoreError> {
        // Twice in one file: the first has brought everything.
        if self.in_group(place) {
            return Ok(());
        }
        let Some(file) = self.shared.catalog.file(place.segment) else {
            return Ok(());
        };
        let meta = match file.read_meta(place.offset).map_err(reading)? {
            MetaRead::Good(meta, _) => meta,
            MetaRead::Damaged | MetaRead::NoEvent => return Ok(()),
        };
        for (number, planned) in (0..).zip(&meta.deliveries) {
            let same = |other: &&LoadedDelivery| other.destination == planned.destination;
            if let Some(delivery) = deliveries.iter().find(same) {
                let id = place.with_tag(meta.tag).of_delivery(number);
                self.load_missing_steps(id, &delivery.steps)?;
            }
        }
        Ok(())
    }

    fn load_missing_steps(&mut self, id: EventId, steps: &[Step]) -> Result<(), StoreError> {
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
        self.shared.owed.release([open.place]);
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
            let mut step = step.clone();
            cut(&mut step.reason);
            let attempt = step.happened.attempt_mut();
            let said = attempt.map_or(0, |attempt| self.cut_attempt(attempt));
            // What is in the group may be this very event: without it there is nothing to tell.
            if !self.fits_answer(said) && !self.commit() {
                return Err(StoreError::Unavailable(Unavailable::WriteFailed));
            }
            let Some((open, granted)) = self.stands_for(id, said)? else {
                return Ok(());
            };
            step.delivery.last = open.delivery.last;
            let after = Open {
                delivery: step.delivery,
                ..open
            };
            self.step(open, after, granted, &step);
        }
        Ok(())
    }

    /// Writes down what an operator did in another store, under its number there, or the next one
    /// here where that is taken, and what is said `after` it, in one commit. The later one stands
    /// first: cut off between them, what was paused here is still paused.
    pub(super) fn load_word(&mut self, word: Word, after: Option<Deed>, reply: Reply<u64>) {
        if let Err(e) = self.room_for_words(1 + u32::from(after.is_some())) {
            return answer(reply, Err(e));
        }
        let number = self.next_number().max(word.number);
        if let Some(after) = after {
            self.cut_word(number.saturating_add(1), after);
        }
        self.cut_word(number, word.deed);
        self.group.outcomes.push(Outcome::Record(reply, number));
    }
}

/// How a delivery stands that has just been accepted.
fn fresh(id: EventId, row: &NewRow) -> Open {
    Open {
        place: Place::of(id),
        tag: id.tag,
        lane: row.row.lane,
        order: row.order,
        delivery: Delivery::fresh(row.row.stands.state, row.row.received_at),
    }
}
