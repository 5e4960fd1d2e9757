//! A restart is not to be seen in the windows; what is damaged, from another clock or too large is.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::clock::Timestamp;

mod room;

const NAMES: [&str; 3] = ["shop", "wallet", "bank"];

fn at(secs: u64) -> Timestamp {
    Timestamp::from_secs(1_700_000_000 + secs)
}

fn figures() -> Figures {
    let figures = Figures::default();
    figures.set(NAMES.map(|name| (SourceName::new(name), Vec::new())));
    figures
}

/// One process: what it counts, and what it remembers.
struct Process {
    history: History,
    figures: Figures,
}

fn gauges(owed: u64) -> impl Fn(Option<&SourceName>) -> Gauges {
    move |source| Gauges {
        owed: owed * if source.is_none() { 3 } else { 1 },
        dead: owed / 2,
    }
}

impl Process {
    fn new(now: Timestamp) -> Self {
        Process {
            history: History::new(now),
            figures: figures(),
        }
    }

    fn kept(&self, now: Timestamp, owed: u64) -> Vec<Words> {
        self.history.sample(now, &self.figures, gauges(owed));
        self.history.keep(&self.figures, gauges(owed))
    }

    /// The next one, which begins at `now` with what this one kept.
    fn restarted(&self, kept_at: Timestamp, now: Timestamp, owed: u64) -> Self {
        let next = Process::new(now);
        next.take_on(&self.kept(kept_at, owed));
        next
    }

    fn take_on(&self, sections: &[Words]) {
        let known = |name: &SourceName| self.figures.of(name).is_some();
        let read = |words: &Words| read(Reader::new(words.as_bytes()), known).unwrap();
        self.history.take_on(sections.iter().map(read).collect());
    }

    fn shown(&self, now: Timestamp, owed: u64) -> Vec<Vec<Option<Point>>> {
        let of = |window, name: Option<&str>| {
            let name = name.map(SourceName::new);
            let gauges = gauges(owed)(name.as_ref());
            let shown = self
                .history
                .show(window, name.as_ref(), now, &self.figures, gauges);
            shown.unwrap().points
        };
        let names = || NAMES.iter().map(|name| Some(*name)).chain([None]);
        let each = WINDOWS
            .iter()
            .flat_map(|window| names().map(|name| of(*window, name)));
        each.collect()
    }

    fn accept(&self, name: &str, times: usize, took: u64, now: Timestamp) {
        for _ in 0..times {
            self.figures.on(Some(&SourceName::new(name)), |source| {
                source.callback(Count::Accepted, Duration::from_micros(took), now);
            });
        }
    }

    fn act(&self, action: &Action, now: Timestamp) {
        let Action {
            name, what, took, ..
        } = action;
        let source = NAMES.get(*name).map(|name| SourceName::new(name));
        self.figures.on(source.as_ref(), |source| match what {
            Count::Delivered => source.attempt(true, Duration::from_micros(*took)),
            Count::Failed => source.attempt(false, Duration::ZERO),
            Count::Conflict => source.conflict(),
            Count::Accepted | Count::Duplicate | Count::Rejected | Count::Refused => {
                source.callback(*what, Duration::from_micros(*took), now);
            }
        });
    }
}

#[derive(Clone, Debug)]
struct Action {
    /// One more than there are names: of nobody.
    name: usize,
    what: Count,
    took: u64,
    /// Seconds that then pass, in whole looks.
    passes: u64,
    owed: u64,
    restart: bool,
}

fn action() -> impl Strategy<Value = Action> {
    let passes = prop_oneof![8 => 0u64..40, 2 => 40u64..4_000, 1 => 4_000u64..90_000];
    let what = prop::sample::select(Count::ALL.to_vec());
    (
        0..=NAMES.len(),
        what,
        0u64..90_000_000,
        passes,
        0u64..4,
        prop::bool::weighted(0.2),
    )
        .prop_map(|(name, what, took, passes, owed, restart)| Action {
            name,
            what,
            took,
            passes,
            owed,
            restart,
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// The oracle is a process that is never restarted.
    #[test]
    fn a_restart_without_a_pause_is_not_to_be_seen(actions in prop::collection::vec(action(), 1..40)) {
        let mut secs = 0;
        let (whole, mut other) = (Process::new(at(0)), Process::new(at(0)));
        let mut owed = 0;
        for action in &actions {
            let now = at(secs);
            for process in [&whole, &other] {
                process.act(action, now);
            }
            owed = action.owed;
            if action.restart {
                other = other.restarted(now, now, owed);
                whole.history.sample(now, &whole.figures, gauges(owed));
            }
            let until = secs + action.passes;
            let look = (action.passes / 8).max(9);
            while secs < until {
                secs = until.min(secs + look);
                for process in [&whole, &other] {
                    process.history.sample(at(secs), &process.figures, gauges(owed));
                }
            }
        }
        prop_assert_eq!(whole.shown(at(secs), owed), other.shown(at(secs), owed));
    }

    /// Its checksum fits, and it was not written by us.
    #[test]
    fn whatever_is_read_is_shown_or_refused(
        actions in prop::collection::vec(action(), 1..20),
        spoiled in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        later in 0u64..5_000,
    ) {
        let process = Process::new(at(0));
        let mut secs = 0;
        for action in &actions {
            process.act(action, at(secs));
            secs += action.passes;
            process.history.sample(at(secs), &process.figures, gauges(action.owed));
        }
        for section in process.kept(at(secs), 1) {
            let mut bytes = section.as_bytes().to_vec();
            for (place, byte) in &spoiled {
                let place = place.index(bytes.len());
                bytes[place] = *byte;
            }
            let next = Process::new(at(secs + later));
            if let Some(kept) = read(Reader::new(&bytes), |_| true) {
                next.history.take_on(vec![kept]);
            }
            let _ = next.shown(at(secs + later), 0);
            next.history.sample(at(secs + later + 700), &next.figures, gauges(2));
            let _ = next.shown(at(secs + later + 700), 0);
            // And what is kept of it can be read again.
            next.restarted(at(secs + later + 700), at(secs + later + 700), 2);
        }
    }
}

#[test]
fn nothing_is_shown_of_the_time_without_a_gateway() {
    let first = Process::new(at(0));
    first.accept("shop", 3, 1_000, at(0));
    first.history.sample(at(9), &first.figures, gauges(1));
    first.history.sample(at(30), &first.figures, gauges(1));
    first.accept("shop", 2, 1_000, at(34));
    // It ends in the middle of a step, with two deliveries owed.
    let second = first.restarted(at(34), at(94), 2);
    second.accept("shop", 1, 1_000, at(95));
    second.history.sample(at(100), &second.figures, gauges(5));
    let accepted = |process: &Process, window: usize, now, name: Option<&str>| {
        let name = name.map(SourceName::new);
        let shown = process.history.show(
            WINDOWS[window],
            name.as_ref(),
            now,
            &process.figures,
            Gauges::default(),
        );
        let points = shown.unwrap().points.into_iter();
        let of = |p: Option<Point>| p.map(|p| (p.of(Count::Accepted), p.owed));
        points.map(of).collect::<Vec<_>>()
    };
    for name in [None, Some("shop")] {
        let hour = accepted(&second, 0, at(104), name);
        let times = |n: u32| if name.is_none() { n * 3 } else { n };
        let step = |n: u32, owed: u32| Some((n, times(owed)));
        // The clock stood at the beginning of a step: steps 0, 10, 20 and 30 ran, 40 to 80 did not.
        let expected = [
            &[None; 2][..],
            &[step(3, 1), step(0, 1), step(0, 1), step(2, 2)],
            &[None; 5],
            &[step(1, 5), step(0, 0)],
        ];
        assert_eq!(hour[360 - 13..], expected.concat(), "{name:?}");
    }
    // A minute and ten minutes: what both processes saw of one step is together.
    let day = accepted(&second, 1, at(104), Some("shop"));
    let sum: u32 = day.iter().flatten().map(|(n, _)| n).sum();
    assert_eq!(sum, 6, "{day:?}");
    let week = accepted(&second, 2, at(104), Some("shop"));
    assert_eq!(
        week.iter().flatten().map(|(n, _)| *n).collect::<Vec<_>>(),
        [6]
    );
    // After a month nothing of it is in any window, and what is kept does not grow.
    let month = second.restarted(at(104), at(30 * 86_400), 0);
    let seen: Vec<usize> = month
        .shown(at(30 * 86_400), 0)
        .iter()
        .map(|points| points.iter().flatten().count())
        .collect();
    assert_eq!(seen, [1; 12]);
    assert!(
        month
            .kept(at(30 * 86_400), 0)
            .iter()
            .all(|words| words.as_bytes().len() < 200)
    );
}

#[test]
fn after_a_clock_that_was_ahead_only_what_lies_before_now_is_shown() {
    let first = Process::new(at(0));
    first.accept("shop", 1, 1_000, at(0));
    first.history.sample(at(10), &first.figures, gauges(0));
    // A year ahead, and a restart by the right clock.
    let year = 365 * 86_400;
    first.history.sample(at(year), &first.figures, gauges(0));
    first.accept("shop", 7, 1_000, at(year));
    first
        .history
        .sample(at(year + 700), &first.figures, gauges(9));
    first.accept("shop", 5, 1_000, at(year + 700));
    let second = first.restarted(at(year + 700), at(60), 0);
    second.accept("shop", 2, 1_000, at(61));
    let seen = |now, owed| {
        let all = second.shown(now, owed);
        let sums = all
            .iter()
            .map(|points| points.iter().flatten().map(|p| p.of(Count::Accepted)).sum());
        sums.collect::<Vec<u32>>()
    };
    // By window: shop, wallet, bank, all. What was seen by the clock that was ahead has not come yet; the
    // step of a year ago lies beyond the first two windows of what was kept.
    for sums in seen(at(65), 0).chunks(4) {
        assert!(
            matches!(sums, [2 | 3, 0, 0, _]) && sums[0] == sums[3],
            "{sums:?}"
        );
    }
    second.history.sample(at(700), &second.figures, gauges(0));
    let last = second.shown(at(700), 0);
    assert!(last.iter().all(|points| points.last().unwrap().is_some()));
    assert!(last.iter().flatten().flatten().all(|p| p.owed == 0));
}

#[test]
fn a_source_that_no_rule_names_any_more_is_gone_and_all_is_what_it_was() {
    let first = Process::new(at(0));
    first.accept("bank", 4, 1_000, at(0));
    first.history.sample(at(20), &first.figures, gauges(0));
    let second = Process {
        history: History::new(at(20)),
        figures: Figures::default(),
    };
    second.figures.set([(SourceName::new("shop"), Vec::new())]);
    second.take_on(&first.kept(at(20), 0));
    for window in WINDOWS {
        let show = |name: Option<&SourceName>| {
            second
                .history
                .show(window, name, at(25), &second.figures, Gauges::default())
        };
        let bank = SourceName::new("bank");
        assert!(show(Some(&bank)).is_none());
        let all = show(None).unwrap().points;
        let sum: u32 = all.iter().flatten().map(|p| p.of(Count::Accepted)).sum();
        assert_eq!(sum, 4, "{window:?}");
    }
    let inner = second.history.lock();
    assert!(!inner.sources.contains_key(&Some(SourceName::new("bank"))));
}

#[test]
fn rates_are_those_of_this_process() {
    let first = Process::new(at(0));
    first.accept("shop", 100, 1_000, at(0));
    let second = first.restarted(at(3), at(4), 0);
    second.accept("shop", 2, 1_000, at(4));
    let (recent, over) = second.history.recent(at(8), &second.figures);
    assert_eq!(
        (recent.of(Count::Accepted), over),
        (2, Duration::from_secs(4))
    );
}
