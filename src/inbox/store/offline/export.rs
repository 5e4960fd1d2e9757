//! Everything that an open store knows of its events, as lines.

use std::io::{self, Write};

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use super::check::Progress;
use super::lines::{self, End, Event, FORMAT, Head, Record};
use crate::inbox::store::embedded::Embedded;
use crate::inbox::store::record::{self, Kind, Place, Step};
use crate::inbox::store::segment::{Found, Walk};
use crate::inbox::store::{StoreError, catalog::Stands};

/// What was written, and what could not be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    pub events: u64,
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
    /// Writes every event, oldest first. Nobody else may be using the store.
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
            damaged: self.report().unreadable.len() as u64,
        };
        let mut sums = Sha256::new();
        let numbers: Vec<u32> = shared.catalog.lock().segments.keys().copied().collect();
        let of = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
        for (done, number) in (1..).zip(numbers) {
            self.export_segment(number, to, &mut sums, &mut exported)?;
            say(Progress { done, of });
        }
        let end = Record::End(End {
            events: exported.events,
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
                Kind::Step => continue,
            }
            let Some((meta, event)) = record::decode_accepted(&payload, head.subject) else {
                exported.damaged += 1;
                continue;
            };
            let stands = rows
                .binary_search_by_key(&offset, |row| row.offset)
                .ok()
                .and_then(|at| rows.get(at))
                .map(|row| row.stands);
            let steps = self.steps_behind(stands)?;
            let place = Place {
                segment: number,
                offset,
            };
            let event = Event::new(place.with_tag(meta.tag), &meta, &event, &steps);
            sums.update(line(to, &Record::Event(Box::new(event)))?);
            exported.events += 1;
        }
        Ok(())
    }

    /// Every step that led to how an event stands, oldest first.
    fn steps_behind(&self, stands: Option<Stands>) -> Result<Vec<Step>, ExportError> {
        let mut steps = Vec::new();
        let mut at = stands.and_then(|stands| stands.last);
        while let Some(place) = at {
            let step = self.shared.step(place).map_err(ExportError::Reading)?;
            let Some(mut step) = step else { break };
            at = step.delivery.last.take().filter(|before| *before < place);
            steps.push(step);
        }
        steps.reverse();
        Ok(steps)
    }
}

fn line(to: &mut dyn Write, record: &Record) -> Result<[u8; 32], ExportError> {
    let (line, sum) =
        lines::write(record).map_err(|e| ExportError::Writing(io::Error::other(e)))?;
    to.write_all(line.as_bytes())
        .map_err(ExportError::Writing)?;
    Ok(sum)
}
