//! What the store's threads and its callers share: the catalog, what is owed, names of sources, and
//! the flags.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use super::blocks::{StoredClaim, StoredRow};
use super::catalog::{Catalog, Change, OVERLAY_MAX, RowState, Stands, Whereabouts};
use super::disk::Disk;
use super::index::Index;
use super::owed::{Open, Owed};
use super::record::{Delivery, Kind, Meta, Order, Place, Step, Version, Word};
use super::room::{Room, segment_path};
use super::segment::{FrameRead, Identity, MetaRead};
use super::versions::Versions;
use super::words::Words;
use super::{State, StoreError};
use crate::clock::Clock;
use crate::message::{DestinationName, EventId, LaneName, SourceName};

pub struct Shared {
    pub disk: Arc<dyn Disk>,
    pub clock: Arc<dyn Clock>,
    pub identity: Identity,
    pub journal: PathBuf,
    pub catalog: Catalog,
    pub owed: Owed,
    pub lanes: Lanes,
    pub versions: Versions,
    pub words: Words,
    pub room: Room,
    /// None while there is none: broken and not yet rebuilt, or not possible here.
    pub index: RwLock<Option<Arc<Index>>>,
    pub flags: Flags,
    /// Segments that are out of the catalog and whose files are still there.
    pub leaving: Leaving,
    /// Wakes the thread that writes checkpoints.
    pub checkpoint: Bell,
}

#[derive(Default)]
pub struct Flags {
    /// No call is taken any more.
    pub closed: AtomicBool,
    /// A sync failed.
    pub failed: AtomicBool,
    pub claims: AtomicU64,
    pub syncs: AtomicU64,
    pub sync_nanos: AtomicU64,
}

/// Files of removed segments go oldest first, each before the next is touched: a segment may hold
/// what was done with the events of an older one, which would look owed again without it.
#[derive(Default)]
pub struct Leaving {
    numbers: Mutex<BTreeSet<u32>>,
    /// Held by whoever removes files.
    one: Mutex<()>,
}

impl Leaving {
    pub fn add(&self, numbers: impl IntoIterator<Item = u32>) {
        self.lock().extend(numbers);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<u32>> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// Removes the files of segments that left the catalog; what fails is tried again next time,
    /// and holds up those behind it.
    pub fn remove_files(&self) {
        let _one = self
            .leaving
            .one
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        loop {
            let Some(number) = self.leaving.lock().first().copied() else {
                return;
            };
            let gone = match self.disk.remove(&segment_path(&self.journal, number)) {
                // Removed by a try whose sync of the directory then failed.
                Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
                other => other,
            };
            if let Err(e) = gone.and_then(|()| self.disk.sync_dir(&self.journal)) {
                tracing::warn!(segment = number, error = %e, "an expired segment cannot be removed: it is tried again");
                return;
            }
            self.leaving.lock().remove(&number);
        }
    }

    pub fn failed(&self) -> bool {
        self.flags.failed.load(Ordering::SeqCst)
    }

    pub fn index(&self) -> Option<Arc<Index>> {
        self.index
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub fn set_index(&self, index: Option<Arc<Index>>) {
        *self.index.write().unwrap_or_else(PoisonError::into_inner) = index;
    }

    /// Events were accepted into this segment, with what they claim, and steps taken, durably: its
    /// log now ends here.
    pub fn committed(
        &self,
        segment: u32,
        end: u32,
        (accepted, claims): (&[NewRow], &[StoredClaim]),
        steps: &[Stepped],
    ) {
        let mut inner = self.catalog.lock();
        if let Some(active) = inner.segments.get_mut(&segment) {
            active.end = end;
        }
        inner.accepted(segment, accepted, claims);
        for step in steps {
            inner.stepped(Change {
                place: step.open.place,
                was: step.was,
                now: Stands {
                    state: step.open.delivery.state,
                    last: step.open.delivery.last,
                },
            });
        }
        let much = inner.overlay.len() >= OVERLAY_MAX;
        if !accepted.is_empty() {
            let owed = accepted
                .iter()
                .filter(|event| event.row.stands.state == State::Owed);
            self.owed.add(owed.map(|event| Open {
                place: event.place(),
                tag: event.tag,
                lane: event.row.lane,
                order: event.order,
                delivery: Delivery::fresh(State::Owed, event.row.received_at),
            }));
            for event in accepted {
                if let Some(version) = event.version {
                    let id = event.place().event().with_tag(event.tag);
                    self.versions.put(version, event.row.lane, id);
                }
            }
        }
        if !steps.is_empty() {
            self.owed
                .change(steps.iter().map(|step| (step.open, step.keep_lease)));
        }
        drop(inner);
        if much {
            self.checkpoint.ring(|work| work.checkpoint = true);
        }
    }

    /// The row of an event; none when no live segment has it.
    pub fn find(&self, place: Place) -> Result<Option<RowState>, StoreError> {
        loop {
            let whereabouts = self.catalog.lock().whereabouts(place);
            let (first, overlay) = match whereabouts {
                Whereabouts::Nowhere => return Ok(None),
                Whereabouts::Here(row) => return Ok(Some(row)),
                Whereabouts::Indexed { first, overlay } => (first, overlay),
            };
            let rows = match self.rows(place.segment, first) {
                Ok(rows) => rows,
                // Gone or given up meanwhile: look again, unless it still should be there.
                Err(e) => match self.catalog.lock().whereabouts(place) {
                    Whereabouts::Indexed { .. } => return Err(e),
                    Whereabouts::Nowhere | Whereabouts::Here(_) => continue,
                },
            };
            let row = rows.binary_search_by_key(&place.offset, |stored| stored.row.offset);
            return Ok(row.ok().and_then(|at| rows.get(at)).map(|stored| RowState {
                stands: overlay.unwrap_or(stored.row.stands),
                ..stored.row
            }));
        }
    }

    /// A block of rows from the index, as it was at the last checkpoint.
    pub fn rows(&self, segment: u32, first: u32) -> Result<Vec<StoredRow>, StoreError> {
        let missing = StoreError::Io {
            doing: "reading the index",
            kind: io::ErrorKind::NotFound,
        };
        let index = self.index().ok_or(missing)?;
        index.rows(segment, first).map_err(|e| {
            tracing::warn!(segment, error = %e, "a block of the index cannot be read: it will be rebuilt");
            self.checkpoint.ring(|work| work.rebuild = true);
            StoreError::Io { doing: "reading the index", kind: io::ErrorKind::InvalidData }
        })
    }

    /// How an event stands, with all that a step of it needs. `Ok(None)`: there is no such event.
    pub fn open_of(&self, id: EventId) -> Result<Option<Open>, StoreError> {
        let place = Place::of(id);
        if let Some(open) = self.owed.get(place) {
            return Ok((open.tag == id.tag).then_some(open));
        }
        let Some(row) = self.find(place)? else {
            return Ok(None);
        };
        let Some(file) = self.catalog.file(id.segment) else {
            return Ok(None);
        };
        let order = match file.read_meta(place.event().offset).map_err(reading)? {
            MetaRead::Good(meta, _) if meta.tag == id.tag => {
                meta.delivery(id).and_then(|planned| planned.order)
            }
            MetaRead::Good(..) | MetaRead::NoEvent => return Ok(None),
            MetaRead::Damaged => return Err(StoreError::Damaged { id }),
        };
        let mut delivery = Delivery::fresh(row.stands.state, row.received_at);
        if let Some(last) = row.stands.last
            && let Some(step) = self.step(last)?
        {
            delivery = step.delivery;
        }
        delivery.state = row.stands.state;
        delivery.last = row.stands.last;
        Ok(Some(Open {
            place,
            tag: id.tag,
            lane: row.lane,
            order,
            delivery,
        }))
    }

    /// The step that lies at a place; none when it is damaged or its segment is gone.
    pub fn step(&self, place: Place) -> Result<Option<Step>, StoreError> {
        let Some(file) = self.catalog.file(place.segment) else {
            return Ok(None);
        };
        match file.read_frame(place.offset).map_err(reading)? {
            FrameRead::Good(head, payload) => match head.kind {
                Kind::Step => Ok(Step::decode(&payload)),
                Kind::Accepted | Kind::Word => Ok(None),
            },
            FrameRead::BadPayload(_) | FrameRead::NoFrame => {
                tracing::warn!(
                    segment = place.segment,
                    offset = place.offset,
                    "a step in the journal is damaged"
                );
                Ok(None)
            }
        }
    }
}

impl Shared {
    /// The deed that lies at a place; none when it is damaged or gone.
    pub fn word(&self, place: Place) -> Result<Option<Word>, StoreError> {
        let Some(file) = self.catalog.file(place.segment) else {
            return Ok(None);
        };
        match file.read_frame(place.offset).map_err(reading)? {
            FrameRead::Good(head, payload) if head.kind == Kind::Word => Ok(Word::decode(&payload)),
            FrameRead::Good(..) | FrameRead::BadPayload(_) | FrameRead::NoFrame => Ok(None),
        }
    }

    /// What a delivery is in order with, from its event in the journal.
    pub fn order_of(&self, place: Place) -> Option<Order> {
        let file = self.catalog.file(place.segment)?;
        match file.read_meta(place.event().offset) {
            Ok(MetaRead::Good(meta, _)) => meta
                .delivery(place.with_tag(meta.tag))
                .and_then(|planned| planned.order),
            Ok(MetaRead::Damaged | MetaRead::NoEvent) | Err(_) => None,
        }
    }

    /// Some of a lane wait in this order.
    pub fn in_order(&self, lane: &LaneName, hash: u64) -> bool {
        let number = self.lanes.known(lane);
        number.is_some_and(|number| self.owed.in_order(number, hash))
    }

    /// What memory needs to know of an event that lies at a place, delivery by delivery.
    pub fn rows_of_meta<T: AsRef<str>>(&self, at: Place, meta: &Meta<T>) -> Vec<NewRow> {
        let each = (0u32..).zip(&meta.deliveries).map(|(n, planned)| {
            let lane = self
                .lanes
                .number_of(meta.source.as_ref(), &planned.destination);
            NewRow {
                segment: at.segment,
                tag: meta.tag,
                row: RowState::of(meta, at.offset + n, lane, planned.state),
                keep: meta.keep,
                order: planned.order,
                version: meta.version.filter(|_| planned.state == State::Owed),
                first: n == 0,
            }
        });
        each.collect()
    }
}

pub fn reading(e: io::Error) -> StoreError {
    StoreError::Io {
        doing: "reading the journal",
        kind: e.kind(),
    }
}

/// A step, as memory needs to know it.
#[derive(Clone, Copy, Debug)]
pub struct Stepped {
    /// How the delivery stands now.
    pub open: Open,
    /// Its state before.
    pub was: State,
    pub keep_lease: bool,
}

/// A delivery of an accepted event, as memory needs to know it.
#[derive(Clone, Copy, Debug)]
pub struct NewRow {
    pub segment: u32,
    pub tag: u64,
    pub row: RowState,
    pub keep: Duration,
    pub order: Option<Order>,
    /// Of the event; not with a delivery that its destination does not want.
    pub version: Option<Version>,
    /// The first delivery of its event.
    pub first: bool,
}

impl NewRow {
    pub fn place(&self) -> Place {
        Place {
            segment: self.segment,
            offset: self.row.offset,
        }
    }
}

/// The names of lanes, numbered as they were first seen: rows carry a number.
#[derive(Default)]
pub struct Lanes(RwLock<Names>);

#[derive(Default)]
struct Names {
    names: Vec<LaneName>,
    /// By source, then by destination.
    numbers: HashMap<String, HashMap<String, u32>>,
}

impl Names {
    fn number(&self, source: &str, destination: &str) -> Option<u32> {
        self.numbers.get(source)?.get(destination).copied()
    }
}

impl Lanes {
    pub fn number(&self, name: &LaneName) -> u32 {
        self.number_of(name.source.as_str(), name.destination.as_str())
    }

    pub fn number_of(&self, source: &str, destination: &str) -> u32 {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = known.number(source, destination) {
            return number;
        }
        drop(known);
        let mut names = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = names.number(source, destination) {
            return number;
        }
        // Lanes come from configuration: there are never 2^32 of them.
        let number = u32::try_from(names.names.len()).unwrap_or(u32::MAX);
        names.names.push(LaneName {
            source: SourceName::new(source),
            destination: DestinationName::new(destination),
        });
        names
            .numbers
            .entry(source.to_owned())
            .or_default()
            .insert(destination.to_owned(), number);
        number
    }

    pub fn known(&self, name: &LaneName) -> Option<u32> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .number(name.source.as_str(), name.destination.as_str())
    }

    /// Every lane that the source and the destination fit, where they are given.
    pub fn fitting(
        &self,
        source: Option<&SourceName>,
        destination: Option<&DestinationName>,
    ) -> BTreeSet<u32> {
        let names = self.0.read().unwrap_or_else(PoisonError::into_inner);
        (0u32..)
            .zip(&names.names)
            .filter(|(_, lane)| {
                source.is_none_or(|s| *s == lane.source)
                    && destination.is_none_or(|d| *d == lane.destination)
            })
            .map(|(number, _)| number)
            .collect()
    }

    pub fn name(&self, number: u32) -> Option<LaneName> {
        let names = self.0.read().unwrap_or_else(PoisonError::into_inner);
        names.names.get(number as usize).cloned()
    }

    pub fn all(&self) -> Vec<LaneName> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .names
            .clone()
    }
}

/// What the checkpoint thread is asked to do, and the bell that wakes it.
#[derive(Default)]
pub struct Bell {
    work: Mutex<Work>,
    rung: Condvar,
    done: Condvar,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Work {
    pub checkpoint: bool,
    /// The index turned out to be unusable.
    pub rebuild: bool,
    /// A last checkpoint, and the end.
    pub stop: bool,
    /// The end, as in a crash.
    pub abandon: bool,
    /// The thread has ended.
    pub gone: bool,
}

impl Work {
    fn asked(&self) -> bool {
        self.checkpoint || self.rebuild || self.stop || self.abandon
    }

    /// What is asked once is asked no more.
    fn take(&mut self) -> Work {
        let asked = *self;
        self.checkpoint = false;
        self.rebuild = false;
        asked
    }
}

impl Bell {
    fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn ring(&self, ask: impl FnOnce(&mut Work)) {
        ask(&mut self.lock());
        self.rung.notify_all();
    }

    /// Waits until there is something to do.
    pub fn wait(&self) -> Work {
        let mut work = self.lock();
        while !work.asked() {
            work = self.rung.wait(work).unwrap_or_else(PoisonError::into_inner);
        }
        work.take()
    }

    /// As `wait`; none when there is nothing to do.
    #[cfg(test)]
    pub(super) fn look(&self) -> Option<Work> {
        let mut work = self.lock();
        work.asked().then(|| work.take())
    }

    /// A round is over; `gone`: the last.
    pub fn tell_done(&self, gone: bool) {
        self.lock().gone |= gone;
        self.done.notify_all();
    }

    /// Waits for the end of a round. False when there will be none.
    pub fn wait_done(&self) -> bool {
        let work = self.lock();
        if work.gone || work.abandon {
            return false;
        }
        // Who waits looks at how far it is, too.
        let patience = Duration::from_millis(50);
        let (work, _) = self
            .done
            .wait_timeout(work, patience)
            .unwrap_or_else(PoisonError::into_inner);
        !work.gone && !work.abandon
    }
}
