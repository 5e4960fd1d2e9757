//! What happens to a delivery after it was accepted: the end of a lease, a redrive, a discard. Each
//! is one record in the journal.

use super::owed::{Granted, Open};
use super::queue::{Outcome, Reply, answer};
use super::record::{FRAME_HEAD, FrameHead, Happened, Kind, Place, Step};
use super::shared::Stepped;
use super::writer::Writer;
use super::{Attempt, Lease, Next, Operated, State, StoreError, Unavailable};
use crate::clock::Timestamp;
use crate::message::EventId;

/// Longer texts are cut: they are for people.
const TEXT_MAX: usize = 4096;
/// What a step takes at most.
const STEP_MAX: u32 = (FRAME_HEAD + 128 + 2 * TEXT_MAX) as u32;

impl Writer {
    pub(super) fn settle(
        &mut self,
        lease: Lease,
        mut attempt: Attempt,
        next: Next,
        reply: Reply<()>,
    ) {
        let (open, granted) = match self.stands(lease.id) {
            Ok(Some(found)) => found,
            Ok(None) => return answer(reply, Err(StoreError::LeaseLost)),
            Err(e) => return answer(reply, Err(e)),
        };
        let holds =
            open.delivery.state == State::Owed && granted.is_some_and(|g| g.grant == lease.grant);
        cut(&mut attempt.error);
        let mut after = open;
        after.delivery.attempts = after.delivery.attempts.saturating_add(1);
        let at = self.shared.clock.now();
        if !holds {
            let reason = self.reason_of(&open);
            let step = Step {
                happened: Happened::LateAttempt(attempt),
                at,
                reason,
                delivery: after.delivery,
            };
            self.step(open, after, granted, &step);
            self.group
                .outcomes
                .push(Outcome::Settle(reply, Err(StoreError::LeaseLost)));
            return;
        }
        let reason = match next {
            Next::Delivered => {
                after.delivery.state = State::Delivered;
                attempt.error.clone()
            }
            Next::Retry { at } => {
                after.delivery.round = after.delivery.round.saturating_add(1);
                after.delivery.due = at;
                attempt.error.clone()
            }
            Next::Dead { mut reason } => {
                after.delivery.state = State::Dead;
                cut(&mut reason);
                reason
            }
        };
        let step = Step {
            happened: Happened::Attempt(attempt),
            at,
            reason,
            delivery: after.delivery,
        };
        self.step(open, after, None, &step);
        self.group.outcomes.push(Outcome::Settle(reply, Ok(())));
    }

    pub(super) fn redrive(&mut self, id: EventId, now: Timestamp, reply: Reply<Operated>) {
        let (open, granted) = match self.stands(id) {
            Ok(Some(found)) => found,
            Ok(None) => return answer(reply, Ok(Operated::NotFound)),
            Err(e) => return answer(reply, Err(e)),
        };
        let mut after = open;
        after.delivery.due = now;
        let reason = match open.delivery.state {
            // Due at once; its policy goes on where it is, and so does an attempt under way.
            State::Owed => self.reason_of(&open),
            State::Delivered | State::Dead | State::Discarded => {
                after.delivery.state = State::Owed;
                after.delivery.round = 0;
                after.delivery.since = now;
                String::new()
            }
        };
        let step = Step {
            happened: Happened::Redriven,
            at: now,
            reason,
            delivery: after.delivery,
        };
        self.step(open, after, granted, &step);
        self.group
            .outcomes
            .push(Outcome::Operate(reply, Operated::Done));
    }

    pub(super) fn discard(
        &mut self,
        id: EventId,
        now: Timestamp,
        mut reason: String,
        reply: Reply<Operated>,
    ) {
        let open = match self.stands(id) {
            Ok(Some((open, _))) => open,
            Ok(None) => return answer(reply, Ok(Operated::NotFound)),
            Err(e) => return answer(reply, Err(e)),
        };
        match open.delivery.state {
            State::Owed | State::Dead => {}
            ended @ (State::Delivered | State::Discarded) => {
                // Told with the group, since what it speaks of may be in it.
                self.group
                    .outcomes
                    .push(Outcome::Operate(reply, Operated::NotApplicable(ended)));
                return;
            }
        }
        let mut after = open;
        after.delivery.state = State::Discarded;
        cut(&mut reason);
        let step = Step {
            happened: Happened::Discarded,
            at: now,
            reason,
            delivery: after.delivery,
        };
        self.step(open, after, None, &step);
        self.group
            .outcomes
            .push(Outcome::Operate(reply, Operated::Done));
    }

    /// Another step fits, and leaves what is kept back for those that must be written down.
    pub(super) fn fits_step(&self) -> bool {
        self.fits(STEP_MAX, self.reserve())
    }

    /// How a delivery stands, with what this group has done to it, and its lease. It is held: to
    /// be stepped or released. Before that there is room for a step in the segment.
    pub(super) fn stands(
        &mut self,
        id: EventId,
    ) -> Result<Option<(Open, Option<Granted>)>, StoreError> {
        if self.shared.failed() {
            return Err(StoreError::Unavailable(Unavailable::WriteFailed));
        }
        if !self.fits(STEP_MAX, 0) {
            self.commit();
            self.rotate(true).map_err(StoreError::Unavailable)?;
        }
        let place = Place::of(id);
        if let Some((open, granted)) = self.group.staged.get(&place) {
            return Ok((open.tag == id.tag).then_some((*open, *granted)));
        }
        if let Some((open, granted)) = self.shared.owed.hold(place) {
            if open.tag == id.tag {
                return Ok(Some((open, granted)));
            }
            self.shared.owed.release([place]);
            return Ok(None);
        }
        // It has ended: the rare case that asks the index.
        Ok(self.shared.open_of(id)?.map(|open| (open, None)))
    }

    /// Writes a step down. `granted`: the lease that goes on.
    pub(super) fn step(
        &mut self,
        before: Open,
        mut after: Open,
        granted: Option<Granted>,
        step: &Step,
    ) {
        // Texts were cut: it always encodes, and within STEP_MAX.
        let payload = step.encode().unwrap_or_default();
        let head = FrameHead {
            length: u32::try_from(payload.len()).unwrap_or(u32::MAX),
            payload_crc: crc32fast::hash(&payload),
            kind: Kind::Step,
            first_of_commit: self.group.bytes.is_empty(),
            subject: Some(before.place.with_tag(before.tag)),
        };
        after.delivery.last = Some(self.append(&head, &payload));
        self.group.staged.insert(after.place, (after, granted));
        self.group.steps.push(Stepped {
            open: after,
            was: before.delivery.state,
            keep_lease: granted.is_some(),
        });
    }

    /// Why it is as it is, which a step that changes nothing of that repeats.
    fn reason_of(&self, open: &Open) -> String {
        let Some(last) = open.delivery.last else {
            return String::new();
        };
        // A step of this very group is not on disk yet.
        if let Some(step) = self.step_in_group(last) {
            return step.reason;
        }
        self.shared
            .step(last)
            .ok()
            .flatten()
            .map(|step| step.reason)
            .unwrap_or_default()
    }

    fn step_in_group(&self, place: Place) -> Option<Step> {
        if place.segment != self.file.number() {
            return None;
        }
        let at = place.offset.checked_sub(self.head)? as usize;
        let bytes = self.group.bytes.get(at..)?;
        let head = FrameHead::decode(bytes, self.file.header.mark, place.offset)?;
        Step::decode(bytes.get(FRAME_HEAD..FRAME_HEAD + head.length as usize)?)
    }
}

fn cut(text: &mut String) {
    if text.len() > TEXT_MAX {
        let end = (0..=TEXT_MAX)
            .rev()
            .find(|end| text.is_char_boundary(*end))
            .unwrap_or(0);
        text.truncate(end);
    }
}
