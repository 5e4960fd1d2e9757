//! What happens to a delivery after it was accepted: the end of a lease, a redrive, a discard. Each
//! is one record in the journal.

use super::Response;
use super::owed::{Granted, Open};
use super::queue::{Asked, Outcome, Reply, answer};
use super::record::{
    Conflicts, FRAME_HEAD, FrameHead, Happened, Kind, Place, Step, Word, frame_span,
};
use super::shared::Stepped;
use super::writer::Writer;
use super::{
    Attempt, Deed, DeedKind, Expected, Lease, Next, Operated, Operation, State, StoreError,
    Unavailable,
};
use crate::clock::Timestamp;
use crate::message::{EventId, LaneName};

/// Longer texts are cut: they are for people.
const TEXT_MAX: usize = 4096;
/// What a step takes at most, without an answer of the destination.
const STEP_MAX: u32 = (FRAME_HEAD + 128 + 2 * TEXT_MAX) as u32;
/// What an entry of the audit takes at most.
const WORD_MAX: u32 = (FRAME_HEAD + 512 + 3 * TEXT_MAX) as u32;
/// What is kept of an answer at most, over all.
const RESPONSE_MAX: usize = 24 << 10;

impl Writer {
    pub(super) fn settle(
        &mut self,
        lease: Lease,
        mut attempt: Attempt,
        next: Next,
        reply: Reply<()>,
    ) {
        let said = self.cut_attempt(&mut attempt);
        let (open, granted) = match self.stands_for(lease.id, said) {
            Ok(Some(found)) => found,
            Ok(None) => return answer(reply, Err(StoreError::LeaseLost)),
            Err(e) => return answer(reply, Err(e)),
        };
        let holds =
            open.delivery.state == State::Owed && granted.is_some_and(|g| g.grant == lease.grant);
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

    /// As much of an attempt as is kept; how many bytes of it are the answer.
    pub(super) fn cut_attempt(&self, attempt: &mut Attempt) -> usize {
        cut(&mut attempt.error);
        let said = attempt.response.as_ref().map_or(0, response_bytes);
        // Where space is short, that it was delivered is worth more than what was answered; and a
        // test's segment is not larger than an answer.
        let room = self.shared.room.above_low_water() && said <= self.file_bytes as usize / 8;
        if said <= RESPONSE_MAX && room {
            return said;
        }
        attempt.response = None;
        0
    }

    /// The lease ends without an attempt: a later event says it all.
    pub(super) fn supersede(&mut self, lease: Lease, by: EventId, reply: Reply<()>) {
        let (open, granted) = match self.stands(lease.id) {
            Ok(Some(found)) => found,
            Ok(None) => return answer(reply, Err(StoreError::LeaseLost)),
            Err(e) => return answer(reply, Err(e)),
        };
        let holds =
            open.delivery.state == State::Owed && granted.is_some_and(|g| g.grant == lease.grant);
        if !holds {
            // Nothing was done under it, so there is nothing to write down.
            if !self.group.staged.contains_key(&open.place) {
                self.shared.owed.release([open.place]);
            }
            return answer(reply, Err(StoreError::LeaseLost));
        }
        let mut after = open;
        after.delivery.state = State::Superseded;
        let step = Step {
            happened: Happened::Superseded,
            at: self.shared.clock.now(),
            reason: by.to_string(),
            delivery: after.delivery,
        };
        self.step(open, after, None, &step);
        self.group.outcomes.push(Outcome::Settle(reply, Ok(())));
    }

    /// An operator's word, and its entry in the audit, in one group.
    pub(super) fn operate(&mut self, asked: Asked, reply: Reply<Operated>) {
        let Asked {
            id,
            word,
            now,
            by,
            expected,
        } = asked;
        // Both fit into one segment, or neither is begun.
        if by.is_some() && !self.fits(STEP_MAX + WORD_MAX, 0) {
            self.commit();
            if let Err(why) = self.rotate(true) {
                return answer(reply, Err(StoreError::Unavailable(why)));
            }
        }
        let (kind, detail) = match &word {
            Operation::Redrive => (DeedKind::Redrive, String::new()),
            Operation::Discard { reason } => (DeedKind::Discard, reason.clone()),
        };
        let done = match self.unexpected(id, expected) {
            Ok(None) => match word {
                Operation::Redrive => self.redrive(id, now),
                Operation::Discard { reason } => self.discard(id, now, reason),
            },
            Ok(Some(unexpected)) => Ok(unexpected),
            Err(e) => Err(e),
        };
        let operated = match done {
            Ok(operated) => operated,
            Err(e) => return answer(reply, Err(e)),
        };
        if let Some(by) = by {
            let lane = self.lane_of(id);
            let deed = Deed {
                at: now,
                by,
                kind,
                source: lane.as_ref().map(|lane| lane.source.clone()),
                destination: lane.map(|lane| lane.destination),
                event: Some(id),
                detail,
                count: u64::from(operated == Operated::Done),
                outcome: operated.as_str().to_owned(),
            };
            self.new_word(deed);
        }
        // Told with the group, since what it speaks of may be in it.
        self.group.outcomes.push(Outcome::Operate(reply, operated));
    }

    fn lane_of(&self, id: EventId) -> Option<LaneName> {
        let place = Place::of(id);
        let staged = self.group.staged.get(&place).map(|(open, _)| open.lane);
        let number = match staged {
            Some(number) => number,
            None => self.shared.find(place).ok().flatten()?.lane,
        };
        self.shared.lanes.name(number)
    }

    /// An entry of the audit by itself; a pause or its end among them.
    pub(super) fn record(&mut self, deed: Deed, reply: Reply<u64>) {
        match self.room_for_words(1) {
            Ok(()) => {
                let number = self.new_word(deed);
                self.group.outcomes.push(Outcome::Record(reply, number));
            }
            Err(e) => answer(reply, Err(e)),
        }
    }

    pub(super) fn room_for_words(&mut self, words: u32) -> Result<(), StoreError> {
        if self.shared.failed() {
            return Err(StoreError::Unavailable(Unavailable::WriteFailed));
        }
        if !self.fits(words * WORD_MAX, 0) {
            self.commit();
            self.rotate(true).map_err(StoreError::Unavailable)?;
        }
        Ok(())
    }

    fn new_word(&mut self, deed: Deed) -> u64 {
        let number = self.next_number();
        self.cut_word(number, deed);
        number
    }

    /// The number of the next entry of the audit.
    pub(super) fn next_number(&self) -> u64 {
        let words = self.group.words.iter();
        let in_group = words.map(|(_, word)| word.number.saturating_add(1));
        let next = self.shared.words.next_number();
        in_group.max().unwrap_or(0).max(next)
    }

    /// Writes a deed down, as much of it as is kept.
    pub(super) fn cut_word(&mut self, number: u64, mut deed: Deed) {
        for text in [&mut deed.by, &mut deed.detail, &mut deed.outcome] {
            cut(text);
        }
        self.word(Word { number, deed });
    }

    /// Writes a deed down, where it was found to fit.
    pub(super) fn word(&mut self, word: Word) {
        // Texts were cut: it always encodes.
        let payload = word.encode().unwrap_or_default();
        let head = FrameHead {
            length: u32::try_from(payload.len()).unwrap_or(u32::MAX),
            payload_crc: crc32fast::hash(&payload),
            kind: Kind::Word,
            first_of_commit: self.group.bytes.is_empty(),
            conflicts: Conflicts::default(),
            subject: None,
        };
        let place = self.append(&head, &payload);
        self.group.words.push((place, word));
    }

    /// What is to be said of a delivery that does not stand as expected. Nobody else steps it
    /// between this look and the step that follows.
    fn unexpected(
        &mut self,
        id: EventId,
        expected: Option<Expected>,
    ) -> Result<Option<Operated>, StoreError> {
        let Some(expected) = expected else {
            return Ok(None);
        };
        let Some((open, _)) = self.stands(id)? else {
            return Ok(Some(Operated::NotFound));
        };
        if !self.group.staged.contains_key(&open.place) {
            self.shared.owed.release([open.place]);
        }
        let (state, attempts) = (open.delivery.state, open.delivery.attempts);
        let other = !expected.is(state, attempts);
        Ok(other.then_some(Operated::NotApplicable(state)))
    }

    fn redrive(&mut self, id: EventId, now: Timestamp) -> Result<Operated, StoreError> {
        let Some((open, granted)) = self.stands(id)? else {
            return Ok(Operated::NotFound);
        };
        let mut after = open;
        after.delivery.due = now;
        let reason = match open.delivery.state {
            // Due at once; its policy goes on where it is, and so does an attempt under way.
            State::Owed => self.reason_of(&open),
            State::Delivered
            | State::Dead
            | State::Discarded
            | State::Filtered
            | State::Superseded => {
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
        Ok(Operated::Done)
    }

    fn discard(
        &mut self,
        id: EventId,
        now: Timestamp,
        mut reason: String,
    ) -> Result<Operated, StoreError> {
        let Some((open, _)) = self.stands(id)? else {
            return Ok(Operated::NotFound);
        };
        match open.delivery.state {
            State::Owed | State::Dead => {}
            ended @ (State::Delivered | State::Discarded | State::Filtered | State::Superseded) => {
                return Ok(Operated::NotApplicable(ended));
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
        Ok(Operated::Done)
    }

    /// Another step fits, also one with an answer, and leaves what is kept back for those that must
    /// be written down.
    pub(super) fn fits_step(&self, step: &Step) -> bool {
        let said = step.attempt().and_then(|attempt| attempt.response.as_ref());
        self.fits(step_span(said.map_or(0, response_bytes)), self.reserve())
    }

    /// This entry of the audit fits.
    pub(super) fn fits_word(&self, word: &Word) -> bool {
        let length = word.encode().map_or(0, |payload| payload.len());
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        frame_span(length).is_some_and(|span| self.fits(span, 0))
    }

    /// How a delivery stands, with what this group has done to it, and its lease. It is held: to
    /// be stepped or released. Before that there is room for a step in the segment.
    pub(super) fn stands(
        &mut self,
        id: EventId,
    ) -> Result<Option<(Open, Option<Granted>)>, StoreError> {
        self.stands_for(id, 0)
    }

    /// A step with an answer of so many bytes fits into the segment without another commit.
    pub(super) fn fits_answer(&self, answer: usize) -> bool {
        self.fits(step_span(answer), 0)
    }

    /// As `stands`, before a step with an answer of so many bytes.
    pub(super) fn stands_for(
        &mut self,
        id: EventId,
        answer: usize,
    ) -> Result<Option<(Open, Option<Granted>)>, StoreError> {
        if self.shared.failed() {
            return Err(StoreError::Unavailable(Unavailable::WriteFailed));
        }
        if !self.fits(step_span(answer), 0) {
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
            conflicts: Conflicts::default(),
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

/// What a step with an answer of so many bytes takes at most.
fn step_span(answer: usize) -> u32 {
    STEP_MAX.saturating_add(u32::try_from(answer).unwrap_or(u32::MAX))
}

fn response_bytes(response: &Response) -> usize {
    let fields = response.headers.iter();
    let fields: usize = fields
        .map(|(name, value)| name.len() + value.len() + 8)
        .sum();
    fields + response.body.len() + 16
}

pub(super) fn cut(text: &mut String) {
    if text.len() > TEXT_MAX {
        let end = (0..=TEXT_MAX)
            .rev()
            .find(|end| text.is_char_boundary(*end))
            .unwrap_or(0);
        text.truncate(end);
    }
}
