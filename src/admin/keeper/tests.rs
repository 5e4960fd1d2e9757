//! The file: there whole and private, or not; and nothing that stands in its place does harm.

use std::os::unix::fs::{MetadataExt, symlink};

use arc_swap::ArcSwap;

use super::*;
use crate::clock::{Clock, ManualClock};
use crate::guard::Guards;
use crate::inbox::accept::Inbox;
use crate::inbox::store::Store;
use crate::inbox::store::plain::PlainStore;
use crate::listener::address::AddressSet;
use crate::pipeline::{Loaded, Shared, Told};
use crate::random::SystemRandom;
use crate::refusals::Refusals;
use crate::remote::{HttpsAsk, KeyCache};
use crate::rule::RuleSet;
use crate::telemetry::Metrics;
use crate::telemetry::figures::{Count, SourceFigures};
use crate::verify::Outside;

const START: Timestamp = Timestamp::from_secs(1_700_000_000);

/// One process after the other in the same directory.
struct Site {
    directory: tempfile::TempDir,
    clock: ManualClock,
}

struct Process {
    keeper: Keeper,
    shop: SourceFigures,
}

impl Site {
    fn new() -> Self {
        Site {
            directory: tempfile::tempdir().unwrap(),
            clock: ManualClock::at(START),
        }
    }

    fn file(&self) -> PathBuf {
        figures_file(self.directory.path())
    }

    fn start(&self) -> Process {
        self.start_with(0)
    }

    fn start_with(&self, low_water: u64) -> Process {
        let metrics = Metrics::new();
        let shop = SourceName::new("shop");
        metrics.figures.set([(shop.clone(), Vec::new())]);
        let store: Arc<dyn Store> = Arc::new(PlainStore::new());
        let rules = RuleSet {
            rules: Vec::new(),
            digest: [0; 32],
            files: Vec::new(),
        };
        let clock: Arc<dyn Clock> = Arc::new(self.clock.clone());
        let shared = Arc::new(Shared {
            loaded: ArcSwap::from_pointee(Loaded {
                verifiers: Default::default(),
                guards: Guards::new(&rules, AddressSet::new(&[]), metrics.clone(), None),
                rules,
            }),
            inbox: Inbox::new(store.clone()),
            clock: clock.clone(),
            random: Arc::new(SystemRandom),
            metrics: metrics.clone(),
            refusals: Refusals::new(10),
            told: Told::default(),
            reloaded: ArcSwap::default(),
        });
        let outside = Outside {
            ask: Arc::new(
                HttpsAsk::new(&Default::default(), clock.clone(), metrics.clone()).unwrap(),
            ),
            cache: Arc::new(KeyCache::new(metrics.clone())),
            clock: clock.clone(),
        };
        let watch = Watch::new(shared, store, outside, self.directory.path().to_owned());
        let history = Arc::new(History::new(clock.now()));
        let keeper = Keeper::new(watch, history, low_water);
        keeper.recall();
        Process {
            keeper,
            shop: metrics.figures.of(&shop).unwrap(),
        }
    }
}

impl Process {
    fn accept(&self, times: u64, every: Duration, clock: &ManualClock) {
        for _ in 0..times {
            clock.advance(every);
            let now = clock.now();
            self.shop
                .callback(Count::Accepted, Duration::from_millis(1), now);
        }
    }

    /// What the chart of a week has of it.
    fn charted(&self) -> u32 {
        let Keeper { watch, history, .. } = &self.keeper;
        let [.., week] = history::WINDOWS;
        let now = watch.shared.clock.now();
        let figures = &watch.shared.metrics.figures;
        let name = SourceName::new("shop");
        let shown = history.show(week, Some(&name), now, figures, Default::default());
        let points = shown.unwrap().points;
        points
            .iter()
            .flatten()
            .map(|point| point.of(Count::Accepted))
            .sum()
    }
}

#[test]
fn charts_last_moments_and_habits_outlive_a_process() {
    let site = Site::new();
    let first = site.start();
    first.accept(20, Duration::from_secs(60), &site.clock);
    first
        .shop
        .callback(Count::Rejected, Duration::ZERO, site.clock.now());
    first.keeper.end();
    assert_eq!(
        std::fs::metadata(site.file()).unwrap().mode() & 0o7777,
        0o600
    );
    let known = first.shop.known();
    let quiet = first.shop.quiet_from().unwrap();
    site.clock.advance(Duration::from_secs(300));
    let second = site.start();
    assert_eq!(
        (second.shop.known(), second.shop.quiet_from()),
        (known, Some(quiet))
    );
    assert_eq!(second.charted(), 20);
    // What Prometheus counts begins at zero; when something last came does not.
    assert_eq!(second.shop.counts().of(Count::Accepted), 0);
    let metrics = second.keeper.watch.shared.metrics.clone();
    assert!(
        !second.shop.heard()
            && !metrics
                .encode()
                .contains("callseal_callbacks_total{source=\"shop\"")
    );
    // Of a third only what the second added, once; the gap over the restart is nobody's habit.
    second.accept(1, Duration::from_secs(60), &site.clock);
    second.keeper.keep();
    second.keeper.keep();
    let third = site.start();
    assert_eq!((third.charted(), third.shop.known().habit.seen), (21, 19));
    // By a clock that went back nothing is in the future.
    site.clock.set(START);
    let fourth = site.start();
    assert_eq!(
        (fourth.charted(), fourth.shop.last_accepted()),
        (0, Some(START))
    );
}

#[test]
fn after_its_end_the_file_is_the_next_ones() {
    let site = Site::new();
    let first = site.start();
    first.accept(1, Duration::from_secs(1), &site.clock);
    first.keeper.end();
    std::fs::remove_file(site.file()).unwrap();
    first.keeper.keep();
    assert!(!site.file().exists());
}

#[test]
fn what_is_no_file_of_ours_is_left_aside_and_then_replaced() {
    let site = Site::new();
    let first = site.start();
    first.accept(9, Duration::from_secs(1), &site.clock);
    first.keeper.end();
    let whole = std::fs::read(site.file()).unwrap();
    let mut newer = whole.clone();
    newer[16] = 9;
    let mut flipped = whole.clone();
    *flipped.last_mut().unwrap() ^= 1;
    // The checksum is right, and a section is nobody's.
    let mut odd = Words::default();
    odd.number(1);
    let (odd, _) = kept::file([(99, odd)], MOST);
    for content in [
        &b""[..],
        b"garbage",
        &whole[..whole.len() / 2],
        &newer,
        &flipped,
        &odd,
    ] {
        std::fs::write(site.file(), content).unwrap();
        let next = site.start();
        assert_eq!((next.charted(), next.shop.last_accepted()), (0, None));
        next.accept(1, Duration::from_secs(1), &site.clock);
        next.keeper.end();
        assert_eq!(site.start().charted(), 1);
    }
    // Too large: not even read.
    let large = File::options().write(true).open(site.file()).unwrap();
    large.set_len(MOST as u64 + 1).unwrap();
    assert!(matches!(
        read_file(&site.file()),
        Err(Fault::Unreadable(Unreadable::TooLarge))
    ));
    assert_eq!(site.start().charted(), 0);
}

#[test]
fn a_link_is_neither_read_nor_written_through() {
    let site = Site::new();
    let elsewhere = tempfile::tempdir().unwrap();
    let theirs = elsewhere.path().join("theirs");
    let first = site.start();
    first.accept(3, Duration::from_secs(1), &site.clock);
    first.keeper.end();
    std::fs::rename(site.file(), &theirs).unwrap();
    let before = std::fs::read(&theirs).unwrap();
    symlink(&theirs, site.file()).unwrap();
    symlink(&theirs, site.directory.path().join("figures.new")).unwrap();
    let next = site.start();
    assert_eq!(next.charted(), 0);
    next.accept(1, Duration::from_secs(1), &site.clock);
    next.keeper.end();
    assert_eq!(std::fs::read(&theirs).unwrap(), before);
    assert!(std::fs::symlink_metadata(site.file()).unwrap().is_file());
    assert_eq!(site.start().charted(), 1);
    assert_eq!(std::fs::read_dir(site.directory.path()).unwrap().count(), 1);
}

#[test]
fn a_pipe_is_not_waited_for_and_a_directory_stays() {
    let site = Site::new();
    let mode = Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(
        rustix::fs::CWD,
        site.file(),
        rustix::fs::FileType::Fifo,
        mode,
        0,
    )
    .unwrap();
    assert!(matches!(read_file(&site.file()), Err(Fault::NoFile)));
    site.start().keeper.keep();
    assert!(site.file().is_file(), "replaced");
    std::fs::remove_file(site.file()).unwrap();
    std::fs::create_dir(site.file()).unwrap();
    let process = site.start();
    process.keeper.keep();
    process.keeper.end();
    assert!(site.file().is_dir());
    assert_eq!(std::fs::read_dir(site.directory.path()).unwrap().count(), 1);
}

#[test]
fn below_the_low_water_mark_nothing_is_written() {
    let site = Site::new();
    let full = site.start_with(u64::MAX);
    full.keeper.keep();
    full.keeper.end();
    assert!(!site.file().exists());
}

#[test]
fn the_file_itself_does_not_reach_the_low_water_mark() {
    assert!(room(1_000, 800, 100));
    assert!(!room(999, 800, 100));
    assert!(room(5, 0, 5) && !room(4, 0, 5));
    assert!(!room(u64::MAX - 1, u64::MAX, 1));
}

/// Else all of the time since it was written would be one without a gateway.
#[test]
fn a_file_that_cannot_be_renewed_is_not_left_to_be_believed() {
    let site = Site::new();
    let said = |process: &Process| process.keeper.writing.lock().unwrap().said;
    site.start().keeper.end();
    assert!(site.file().exists());
    // The disk is low.
    let low = site.start_with(u64::MAX);
    low.keeper.keep();
    assert!(!site.file().exists() && said(&low));
    site.start().keeper.end();
    assert!(site.file().exists());
    // It cannot be written for another reason.
    let way = site.directory.path().join("figures.new");
    std::fs::create_dir(&way).unwrap();
    let process = site.start();
    process.keeper.keep();
    assert!(!site.file().exists() && said(&process));
    // And then it can.
    std::fs::remove_dir(&way).unwrap();
    process.keeper.keep();
    assert!(site.file().exists() && !said(&process));
}

#[test]
fn a_file_says_when_it_was_written_and_everything_once() {
    let site = Site::new();
    let process = site.start();
    let time = || {
        let mut time = Words::default();
        time.number(START.as_millis());
        (section::TIME, time)
    };
    let of = |names: &[&str]| {
        let mut words = Words::default();
        words.number(names.len() as u64);
        for name in names {
            words.text(name);
            (0..5).for_each(|n| words.number(n));
        }
        (section::SOURCES, words)
    };
    let past = || {
        let mut history = watch::snapshot::History::default();
        let now = watch::snapshot::Snapshot::default();
        history.add(&now);
        (section::WATCH, history.keep(&now).unwrap())
    };
    let read = |sections: Vec<(u64, Words)>| {
        let found = process.keeper.decode(&kept::file(sections, MOST).0);
        found.map(|found| found.sources.len())
    };
    assert_eq!(read(vec![time(), of(&["shop", "other"]), past()]), Ok(1));
    for sections in [
        vec![],
        vec![of(&["shop"])],
        vec![past(), time()],
        vec![time(), time()],
        vec![time(), past(), past()],
        vec![time(), of(&["shop"]), of(&["shop"])],
        vec![time(), of(&["shop", "shop"])],
    ] {
        assert_eq!(read(sections), Err(Unreadable::Content));
    }
}

#[test]
fn what_has_no_room_is_said_once() {
    let site = Site::new();
    let mut process = site.start();
    let said = |process: &Process| process.keeper.writing.lock().unwrap().said_left_out;
    process.keeper.keep();
    assert!(!said(&process));
    process.keeper.most = 120;
    process.keeper.keep();
    assert!(said(&process) && site.file().exists());
    process.keeper.most = MOST;
    process.keeper.keep();
    assert!(!said(&process));
}

/// Where what is pinned here changes, `FORMAT` of `telemetry::kept` is to be raised: else another binary
/// takes the file for something that it does not say.
#[test]
fn a_small_file_is_what_it_was() {
    let site = Site::new();
    let process = site.start();
    process.accept(3, Duration::from_secs(700), &site.clock);
    let watch = &process.keeper.watch;
    let mut now = watch.snapshot();
    let source = watch::snapshot::Source {
        events: 3,
        last_accepted: Some(now.at),
        ..Default::default()
    };
    now.sources.insert("shop".to_owned(), source);
    let lane = ("shop".to_owned(), "main".to_owned());
    now.lanes.insert(lane, Default::default());
    watch.past().add(&now);
    let (file, left_out) = process.keeper.encode();
    let pinned = (file.len(), crc32fast::hash(&file), left_out);
    assert_eq!(pinned, (270, 0x90f3_c3ab, 0), "{file:?}");
}
