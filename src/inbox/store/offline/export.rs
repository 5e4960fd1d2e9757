//! Everything that an open store knows of its events, as lines.

use std::io::{self, Write};

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use super::check::Progress;
use super::lines::{self, DeedLine, End, Event, FORMAT, Head, Record};
use crate::inbox::store::StoreError;
use crate::inbox::store::catalog::RowState;
use crate::inbox::store::embedded::Embedded;
use crate::inbox::store::record::{self, Kind, Place, Step};
use crate::inbox::store::segment::{Found, Walk};

/// What was written, and what could not be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    pub events: u64,
    /// Entries of the audit.
    pub deeds: u64,
    /// Stretches of the journal that cannot be read: what was recorded there is not in the export.
    pub damaged: u64,
}

#[derive(Debug)]
pub enum ExportError {
    Reading(StoreError),
    Writing(io::Error),
}

impl std::fmt::Display for ExportError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ExportError::Reading(e) => write!(f, "the store: {e}"),
            ExportError::Writing(e) => write!(f, "the export: {e}"),
        }
    }
}

impl std::error::Error for ExportError {}

fn reading(e: io::Error) -> ExportError {
    ExportError::Reading(crate::inbox::store::shared::reading(e))
}

impl Embedded {
    /// Writes every event, oldest first, and then the audit, oldest first. Nobody else may be using the store.
    pub fn export(
        &self,
        to: &mut dyn Write,
        say: &mut dyn FnMut(Progress),
    ) -> Result<Exported, ExportError> {
        let shared = &self.shared;
        let mut claim_keys = vec![HEXLOWER.encode(&shared.identity.key)];
        claim_keys.extend(self.former_keys.iter().map(|key| HEXLOWER.encode(key)));
        let head = Record::Head(Head {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            store: HEXLOWER.encode(&shared.identity.id),
            claim_keys,
        });
        line(to, &head)?;
        let mut exported = Exported {
            events: 0,
            deeds: 0,
            damaged: self.report().unreadable.len() as u64,
        };
        let mut sums = Sha256::new();
        let numbers: Vec<u32> = shared.catalog.lock().segments.keys().copied().collect();
        let of = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
        for (done, number) in (1..).zip(numbers) {
            self.export_segment(number, to, &mut sums, &mut exported)?;
            say(Progress { done, of });
        }
        self.export_deeds(to, &mut sums, &mut exported)?;
        let end = Record::End(End {
            events: exported.events,
            deeds: exported.deeds,
            sums: HEXLOWER.encode(&sums.finalize()),
        });
        line(to, &end)?;
        to.flush().map_err(ExportError::Writing)?;
        Ok(exported)
    }

    fn export_segment(
        &self,
        number: u32,
        to: &mut dyn Write,
        sums: &mut Sha256,
        exported: &mut Exported,
    ) -> Result<(), ExportError> {
        let Some(file) = self.shared.catalog.file(number) else {
            return Ok(());
        };
        let rows = self.shared.rows_of(number).map_err(ExportError::Reading)?;
        let mut walk = Walk::new(&file).map_err(reading)?;
        while let Some(found) = walk.next_found().map_err(reading)? {
            let (offset, head, payload) = match found {
                Found::Frame {
                    offset,
                    head,
                    payload,
                } => (offset, head, payload),
                Found::Gap(gap) => {
                    exported.damaged += u64::from(!gap.zeros);
                    continue;
                }
            };
            match head.kind {
                Kind::Accepted => {}
                Kind::Step | Kind::Word => continue,
            }
            let Some((meta, event)) = record::decode_accepted(&payload, head.subject) else {
                exported.damaged += 1;
                continue;
            };
            let place = Place {
                segment: number,
                offset,
            };
            let mut steps = Vec::with_capacity(meta.deliveries.len());
            for (delivery, _) in (offset..).zip(&meta.deliveries) {
                let row = rows
                    .binary_search_by_key(&delivery, |row| row.offset)
                    .ok()
                    .and_then(|at| rows.get(at));
                let (behind, whole) = self.steps_behind(row)?;
                exported.damaged += u64::from(!whole);
                steps.push(behind);
            }
            let id = place.with_tag(meta.tag);
            let event = Event::new(id, &meta, &event, head.conflicts, &steps);
            sums.update(line(to, &Record::Event(Box::new(event)))?);
            exported.events += 1;
        }
        Ok(())
    }

    fn export_deeds(
        &self,
        to: &mut dyn Write,
        sums: &mut Sha256,
        exported: &mut Exported,
    ) -> Result<(), ExportError> {
        let mut places = self.shared.words.all();
        places.reverse();
        for (number, place) in places {
            let word = self.shared.word(place).map_err(ExportError::Reading)?;
            match word.filter(|word| word.number == number) {
                Some(word) => {
                    let deed = Record::Deed(Box::new(DeedLine::new(&word)));
                    sums.update(line(to, &deed)?);
                    exported.deeds += 1;
                }
                None => exported.damaged += 1,
            }
        }
        Ok(())
    }

    /// Every step that led to how a delivery stands, oldest first; false when the last of them
    /// cannot be read.
    fn steps_behind(&self, row: Option<&RowState>) -> Result<(Vec<Step>, bool), ExportError> {
        let mut steps = Vec::new();
        let mut at = row.and_then(|row| row.stands.last);
        let whole = at.is_none();
        while let Some(place) = at {
            let step = self.shared.step(place).map_err(ExportError::Reading)?;
            let Some(mut step) = step else { break };
            at = step.delivery.last.take().filter(|before| *before < place);
            steps.push(step);
        }
        steps.reverse();
        let whole = whole || !steps.is_empty();
        Ok((steps, whole))
    }
}

fn line(to: &mut dyn Write, record: &Record) -> Result<[u8; 32], ExportError> {
    let (line, sum) =
        lines::write(record).map_err(|e| ExportError::Writing(io::Error::other(e)))?;
    to.write_all(line.as_bytes())
        .map_err(ExportError::Writing)?;
    Ok(sum)
}
