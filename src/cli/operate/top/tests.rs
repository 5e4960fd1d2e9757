//! Layout and cutting, without a terminal.

use super::*;

fn example(sources: usize, attention: usize) -> (Value, Value) {
    let one = serde_json::json!({ "severity": "warning", "source": "shop-a", "detail": "It is as it is." });
    let source = |n: usize| {
        serde_json::json!({ "name": format!("订单号码订单号码订单号码-{n}"), "health": "good",
            "last_accepted_at": null, "accepted_1h": 12_345, "duplicate_1h": 0, "rejected_1h": 0,
            "destinations": [{ "name": "main", "owed": 4_711, "dead": 17 }] })
    };
    let sources: Vec<Value> = (0..sources).map(source).collect();
    (
        serde_json::json!({ "version": "0.1.0", "attention": vec![one; attention] }),
        serde_json::json!({ "sources": sources }),
    )
}

#[test]
fn lines_are_cut_to_the_terminal_whatever_colours_them() {
    assert_eq!(shortened("\x1b[31mabcdef\x1b[0m", 3), "\x1b[31mabc\x1b[0m");
    assert_eq!(shortened("abc", 3), "abc");
    assert_eq!(shortened("订单号", 5), "订单");
}

#[test]
fn an_empty_answer_draws_too() {
    let now = Timestamp::default();
    assert!(drawn(&Value::Null, &Value::Null, now, BOUNDLESS).len() > 3);
}

#[test]
fn what_is_owed_and_dead_is_seen_on_every_terminal() {
    let (overview, sources) = example(30, 9);
    for (lines, columns) in [(24, 80), (10, 40), (30, 200), (24, 60)] {
        let drawn = drawn(
            &overview,
            &sources,
            Timestamp::default(),
            Size { lines, columns },
        );
        assert!(drawn.len() <= lines, "{lines} {columns}: {drawn:#?}");
        let header = drawn
            .iter()
            .find(|line| line.starts_with("SOURCE"))
            .unwrap();
        assert!(
            header.contains("OWED") && header.contains("DEAD"),
            "{header}"
        );
        for line in &drawn {
            let told = line.starts_with("warning");
            assert!(
                told || output::columns(line) <= columns,
                "{columns}: {line}"
            );
        }
        assert!(
            drawn.iter().any(|line| line.starts_with("owed")),
            "{drawn:#?}"
        );
        let row = drawn.iter().find(|line| line.starts_with("订单")).unwrap();
        assert!(row.contains("4711") && row.ends_with("17"), "{row}");
        assert!(drawn.last().unwrap().contains("more: callseal sources"));
        assert_eq!(output::columns(header), output::columns(row));
    }
    let all = drawn(&overview, &sources, Timestamp::default(), BOUNDLESS);
    assert!(
        all.len() > 39
            && !all
                .iter()
                .any(|line| line.contains('…') && line.contains("more"))
    );
}
