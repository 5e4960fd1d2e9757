//! Steps, windows, and what is shown of them.

use super::*;
use crate::telemetry::figures::Count;

fn at(secs: u64) -> Timestamp {
    Timestamp::from_secs(1_000_000_200 + secs)
}

fn shop() -> SourceName {
    SourceName::new("shop")
}

fn accept(figures: &Figures, times: usize, ms: u64) {
    for _ in 0..times {
        figures.on(Some(&shop()), |shop| {
            shop.callback(Count::Accepted, Duration::from_millis(ms), at(0));
        });
    }
}

fn figures() -> Figures {
    let figures = Figures::default();
    figures.set([(shop(), Vec::new())]);
    figures
}

fn gauges(owed: u64) -> impl Fn(Option<&SourceName>) -> Gauges {
    move |_| Gauges { owed, dead: 0 }
}

fn shown(history: &History, figures: &Figures, secs: u64) -> Vec<Option<u32>> {
    let shown = history.show(WINDOWS[0], None, at(secs), figures, Gauges::default());
    let points = shown.unwrap().points;
    assert_eq!(points.len(), 360);
    let of = |p: Option<Point>| p.map(|p| p.of(Count::Accepted));
    points.into_iter().map(of).collect()
}

#[test]
fn steps_hold_what_happened_in_them() {
    let (history, figures) = (History::new(at(0)), figures());
    accept(&figures, 3, 2);
    history.sample(at(5), &figures, gauges(1));
    let seen = shown(&history, &figures, 5);
    assert_eq!((seen[358], seen[359]), (None, Some(3)), "as it happens");
    history.sample(at(10), &figures, gauges(1));
    history.sample(at(21), &figures, gauges(1));
    accept(&figures, 1, 2);
    history.sample(at(30), &figures, gauges(4));
    let seen = shown(&history, &figures, 30);
    assert_eq!(seen[355], None);
    assert_eq!(seen[356..], [Some(3), Some(0), Some(1), Some(0)]);
    let all = history.show(WINDOWS[0], None, at(30), &figures, Gauges::default());
    let all = all.unwrap();
    assert_eq!(
        (all.from, all.to),
        (at(30).minus(Duration::from_secs(3590)), at(30))
    );
    let owed: Vec<u32> = all.points[356..].iter().flatten().map(|p| p.owed).collect();
    assert_eq!(owed, [1, 1, 4, 0]);
    let ms = all.points[356].unwrap().acknowledge();
    assert!(
        ms.iter().all(|ms| (1.7..2.3).contains(&ms.unwrap())),
        "{ms:?}"
    );
    assert_eq!(all.points[357].unwrap().acknowledge(), [None, None]);
    // The longer windows have not ended a step yet, and show the one under way.
    let day = history.show(
        WINDOWS[1],
        Some(&shop()),
        at(30),
        &figures,
        Gauges::default(),
    );
    let last = day.unwrap().points.last().copied().flatten().unwrap();
    assert_eq!(last.of(Count::Accepted), 4);
    let stranger = SourceName::new("stranger");
    let none = history.show(
        WINDOWS[0],
        Some(&stranger),
        at(30),
        &figures,
        Gauges::default(),
    );
    assert!(none.is_none());
}

#[test]
fn a_week_is_bounded_and_quiet_steps_cost_nothing() {
    let (history, figures) = (History::new(at(0)), figures());
    let mut secs = 0;
    for step in 0..3_000u64 {
        secs += if step < 1000 { 10 } else { 600 };
        if step < 1000 || step % 2 == 0 {
            accept(&figures, 1, 1);
        }
        history.sample(at(secs), &figures, gauges(0));
    }
    let inner = history.lock();
    for (window, level) in WINDOWS.iter().zip(&inner.all.levels) {
        assert!(level.points.len() as u64 <= window.steps + 1, "{window:?}");
    }
    assert!(inner.all.levels[0].points.len() < 10);
    assert!(inner.recent.len() <= RECENT);
}

#[test]
fn the_last_five_minutes_and_no_more() {
    let (history, figures) = (History::new(at(0)), figures());
    accept(&figures, 5, 1);
    let (recent, over) = history.recent(at(2), &figures);
    assert_eq!(
        (recent.of(Count::Accepted), over),
        (5, Duration::from_secs(2))
    );
    for step in 1..=40 {
        history.sample(at(step * 10), &figures, gauges(0));
    }
    accept(&figures, 2, 1);
    let (recent, over) = history.recent(at(405), &figures);
    assert_eq!(
        (recent.of(Count::Accepted), over),
        (2, Duration::from_secs(305))
    );
    // A source that is gone takes nothing away from what is counted later.
    figures.set([]);
    history.sample(at(410), &figures, gauges(0));
    figures
        .nobody()
        .callback(Count::Refused, Duration::ZERO, at(411));
    assert_eq!(history.recent(at(411), &figures).0.of(Count::Refused), 1);
}

/// Three dead since the morning, and nothing else until one event comes.
#[test]
fn what_is_owed_since_before_the_window_stays_when_something_comes() {
    let (history, figures) = (History::new(at(0)), figures());
    let dead = |_: Option<&SourceName>| Gauges { owed: 1, dead: 3 };
    let mut secs = 0;
    let mut pass = |until: u64| {
        while secs < until {
            secs += 10;
            history.sample(at(secs), &figures, dead);
        }
    };
    pass(5_000);
    accept(&figures, 1, 2);
    pass(5_100);
    for name in [None, Some(&shop())] {
        let now = dead(None);
        let shown = history.show(WINDOWS[0], name, at(5_100), &figures, now);
        let points = shown.unwrap().points;
        assert_eq!(points.len(), 360);
        for (step, point) in points.iter().enumerate() {
            let point = point.unwrap();
            assert_eq!((point.owed, point.dead), (1, 3), "{name:?}: {step}");
        }
    }
    // And once both are before the window, one of them is enough.
    pass(9_000);
    assert_eq!(history.lock().all.levels[0].points.len(), 1);
}
