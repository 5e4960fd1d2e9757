//! How much room the windows take, and what becomes of what has none.

use super::*;

/// Fully busy sources: every step of every window has callbacks and deliveries.
fn busy(sources: usize) -> Process {
    let process = Process::new(at(0));
    let names: Vec<SourceName> = (0..sources)
        .map(|n| SourceName::new(&format!("source-{n:04}")))
        .collect();
    process
        .figures
        .set(names.iter().map(|name| (name.clone(), Vec::new())));
    let week = 7 * 86_400;
    let coarse = (0..week - 86_400).step_by(600);
    let finer = (week - 86_400..week - 3_600).step_by(60);
    let fine = (week - 3_600..week).step_by(10);
    for secs in coarse.chain(finer).chain(fine) {
        for name in &names {
            process.figures.on(Some(name), |source| {
                source.callback(
                    Count::Accepted,
                    Duration::from_micros(900 + secs % 777),
                    at(secs),
                );
                source.attempt(true, Duration::from_micros(5_000 + secs % 3_333));
            });
        }
        process
            .history
            .sample(at(secs + 10), &process.figures, gauges(secs % 5));
    }
    process
}

#[test]
fn the_room_is_bounded_and_a_window_is_there_whole_or_not_at_all() {
    let process = busy(3);
    let now = at(7 * 86_400);
    let windows = process.kept(now, 1);
    let sizes: Vec<usize> = windows.iter().map(|words| words.as_bytes().len()).collect();
    // Of nobody there is nothing; of all as much as of a source.
    for (size, window) in sizes.iter().zip(WINDOWS) {
        assert!(*size < 4 * 16 * window.steps as usize, "{sizes:?}");
    }
    let most = sizes[0] + sizes[2] + 100;
    let sections = windows.into_iter().map(|words| (4, words));
    let (file, left_out) = crate::telemetry::kept::file(sections, most);
    assert!(file.len() <= most && left_out == 1);
    let found = crate::telemetry::kept::sections(&file).unwrap();
    let next = Process {
        history: History::new(now),
        figures: Figures::default(),
    };
    next.figures.set(
        process
            .figures
            .all()
            .into_iter()
            .map(|(name, _)| (name, Vec::new())),
    );
    let kept = found
        .into_iter()
        .map(|(_, reader)| read(reader, |_| true).unwrap());
    next.history.take_on(kept.collect());
    let known = WINDOWS.map(|window| {
        let shown = next
            .history
            .show(window, None, now, &next.figures, Gauges::default());
        shown.unwrap().points.iter().flatten().count()
    });
    assert_eq!(known, [360, 1, 1008]);
}

#[test]
#[ignore = "prints what a write costs"]
#[expect(clippy::disallowed_methods, reason = "real time is what is measured")]
fn measure_keeping() {
    for sources in [1, 5, 20, 100] {
        let process = busy(sources);
        let mut best = Duration::MAX;
        let mut bytes = 0;
        for _ in 0..10 {
            let begun = std::time::Instant::now();
            let windows = process.kept(at(7 * 86_400), 1);
            let (file, _) =
                crate::telemetry::kept::file(windows.into_iter().map(|w| (4, w)), 16 << 20);
            best = best.min(begun.elapsed());
            bytes = file.len();
        }
        println!(
            "{sources} busy sources: {bytes} bytes, {} µs",
            best.as_micros()
        );
    }
}
