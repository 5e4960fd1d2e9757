//! Finds cards, accounts, addresses and phone numbers in a text from which every encoding was taken
//! off. All of it goes through the text once, looking a bounded way ahead.

use crate::mask::view::{Canvas, Item, digit};

/// Digits that stay at the end.
const KEPT: usize = 4;

/// Hides a value whose name says what it is. Of numbers the end stays, of an e-mail address its first
/// letter and its host; of anything else nothing.
pub fn hide(canvas: &mut Canvas, items: &[Item]) {
    let word = items
        .iter()
        .filter(|item| item.ch.is_alphanumeric())
        .count();
    let digits = items.iter().filter(|item| digit(item.ch).is_some()).count();
    let signs = items.iter().filter(|item| item.ch == '@').count();
    if signs == 1 && mails(canvas, items) == (0, items.len()) {
        return;
    }
    // What is short is guessed from its end.
    if digits >= 8 && digits * 2 >= word {
        let shown = |item: &&Item| item.ch.is_alphanumeric();
        let all: Vec<&Item> = items.iter().filter(shown).collect();
        let hidden = all.len().saturating_sub(KEPT);
        all.iter().take(hidden).for_each(|item| canvas.dot(item));
    } else {
        canvas.word(items);
    }
}

/// Everything that shows by itself what it is.
pub fn everything(canvas: &mut Canvas, items: &[Item]) {
    mails(canvas, items);
    ibans(canvas, items);
    let groups = groups(items);
    cards(canvas, items, &groups);
    phones(canvas, items, &groups);
}

/// Digits that follow one another.
#[derive(Clone, Copy, Debug)]
struct Group {
    from: usize,
    to: usize,
    /// Spaces and dashes between it and the group before; none where there is something else.
    linked: bool,
}

/// Most spaces and dashes between two groups of one number.
const GAP: usize = 3;

fn separates(ch: char) -> bool {
    matches!(
        ch,
        ' ' | '\t' | '-' | '+' | '\u{a0}' | '\u{ad}' | '\u{2007}' | '\u{2009}' | '\u{200b}'..='\u{200d}'
            | '\u{2010}'..='\u{2015}' | '\u{202f}' | '\u{2060}' | '\u{2212}' | '\u{3000}' | '\u{feff}'
            | '\u{ff0d}'
    )
}

fn groups(items: &[Item]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut at = 0;
    while let Some(item) = items.get(at) {
        if digit(item.ch).is_none() {
            at += 1;
            continue;
        }
        let rest = items.get(at..).unwrap_or_default();
        let length = rest
            .iter()
            .take_while(|item| digit(item.ch).is_some())
            .count();
        let gap = groups
            .last()
            .map(|before| items.get(before.to..at).unwrap_or_default());
        let linked = |gap: &[Item]| gap.len() <= GAP && gap.iter().all(|item| separates(item.ch));
        groups.push(Group {
            from: at,
            to: at + length,
            linked: gap.is_some_and(linked),
        });
        at += length;
    }
    groups
}

/// Digits of a card's number.
const CARD: std::ops::RangeInclusive<usize> = 12..=19;

fn cards(canvas: &mut Canvas, items: &[Item], groups: &[Group]) {
    for (first, group) in groups.iter().enumerate() {
        let mut number: Vec<(u32, usize)> = Vec::with_capacity(20);
        let mut longest = 0;
        let rest = groups.get(first..).unwrap_or_default();
        for (n, next) in rest.iter().enumerate() {
            let length = next.to - next.from;
            if (n > 0 && !next.linked) || number.len() + length > *CARD.end() {
                break;
            }
            let places =
                (next.from..next.to).filter_map(|at| Some((digit(items.get(at)?.ch)?, at)));
            number.extend(places);
            if CARD.contains(&number.len()) && luhn(&number) {
                longest = number.len();
            }
        }
        number.truncate(longest);
        let exempt = items
            .get(group.from)
            .is_some_and(|item| canvas.is_exempt(item));
        if longest == 0 || (exempt && !network(&number)) {
            continue;
        }
        let hidden = number.len() - KEPT;
        for (_, at) in number.iter().take(hidden) {
            if let Some(item) = items.get(*at) {
                canvas.dot(item);
            }
        }
    }
}

/// ISO/IEC 7812-1, annex B.
fn luhn(number: &[(u32, usize)]) -> bool {
    let sum: u32 = number
        .iter()
        .rev()
        .enumerate()
        .map(|(place, (digit, _))| match (place % 2, digit * 2) {
            (0, _) => *digit,
            (_, twice @ 10..) => twice - 9,
            (_, twice) => twice,
        })
        .sum();
    sum.is_multiple_of(10) && number.iter().any(|(digit, _)| *digit != 0)
}

/// Begins as the numbers of a card network do, and is as long (the networks' public ranges).
fn network(number: &[(u32, usize)]) -> bool {
    let head = number.iter().take(4);
    let head = head.fold(0, |value, (digit, _)| value * 10 + digit);
    match (number.len(), head) {
        // Visa.
        (13 | 16 | 19, 4000..=4999) => true,
        // Mastercard.
        (16, 5100..=5599 | 2221..=2720) => true,
        // American Express.
        (15, 3400..=3499 | 3700..=3799) => true,
        // Discover, UnionPay.
        (16..=19, 6011 | 6200..=6299 | 6440..=6599 | 8100..=8199) => true,
        // Diners, JCB, Maestro.
        (14..=19, 3000..=3059 | 3600..=3699 | 3800..=3999) => true,
        (16..=19, 3528..=3589) => true,
        (12..=19, 5018 | 5020 | 5038 | 5893 | 6304 | 6759 | 6761..=6763) => true,
        (_, _) => false,
    }
}

fn phones(canvas: &mut Canvas, items: &[Item], groups: &[Group]) {
    for (at, item) in items.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|before| items.get(before));
        if item.ch == '+' && !before.is_some_and(|before| before.ch.is_alphanumeric()) {
            international(canvas, items.get(at + 1..).unwrap_or_default());
        }
    }
    for (n, group) in groups.iter().enumerate() {
        let first = items.get(group.from);
        if first.is_some_and(|item| canvas.is_exempt(item)) {
            continue;
        }
        let lengths = |n: usize| groups.get(n).map(|group| group.to - group.from);
        let neighbour = |at: Option<usize>| at.and_then(|at| items.get(at)).map(|item| item.ch);
        let bound =
            |ch: Option<char>| !ch.is_some_and(|ch| ch.is_alphanumeric() || ".-_".contains(ch));
        let digits: Vec<&Item> = items
            .get(group.from..group.to)
            .unwrap_or_default()
            .iter()
            .collect();
        let value = |n: usize| digits.get(n).and_then(|item| digit(item.ch));
        // China: eleven digits, the first two from 13 to 19.
        if digits.len() == 11
            && (value(0), value(1) >= Some(3)) == (Some(1), true)
            && bound(neighbour(group.from.checked_sub(1)))
            && bound(neighbour(Some(group.to)))
        {
            digits
                .iter()
                .take(11 - KEPT)
                .for_each(|item| canvas.dot(item));
        }
        // North America: 3, 3 and 4, with something between.
        let near = |a: usize| {
            let gap = groups.get(a).zip(groups.get(a + 1));
            let gap = gap
                .and_then(|(a, b)| items.get(a.to..b.from))
                .unwrap_or_default();
            (1..=2).contains(&gap.len()) && gap.iter().all(|item| " -.)(".contains(item.ch))
        };
        let american = [lengths(n), lengths(n + 1), lengths(n + 2)] == [Some(3), Some(3), Some(4)];
        if american && !group.linked && near(n) && near(n + 1) {
            let end = groups.get(n + 1).map_or(group.to, |group| group.to);
            let hidden = items.get(group.from..end).unwrap_or_default();
            hidden
                .iter()
                .filter(|item| digit(item.ch).is_some())
                .for_each(|item| canvas.dot(item));
        }
    }
}

/// Digits after `+` (E.164: at most fifteen).
fn international(canvas: &mut Canvas, items: &[Item]) {
    let mut digits = Vec::with_capacity(16);
    let mut gap = 0;
    for item in items {
        match (digit(item.ch), " -.()/\u{a0}".contains(item.ch)) {
            (Some(_), _) => {
                digits.push(item);
                gap = 0;
            }
            (None, true) if gap < GAP && !digits.is_empty() => gap += 1,
            (None, _) => break,
        }
        if digits.len() > 15 {
            return;
        }
    }
    if digits.len() >= 8 {
        let hidden = digits.len() - KEPT;
        digits.iter().take(hidden).for_each(|item| canvas.dot(item));
    }
}

/// Letters and digits of an IBAN.
const IBAN: std::ops::RangeInclusive<usize> = 15..=34;

fn ibans(canvas: &mut Canvas, items: &[Item]) {
    for at in 0..items.len() {
        let Some([a, b, c, d]) = items.get(at..at + 4) else {
            return;
        };
        let country = a.ch.is_ascii_alphabetic() && b.ch.is_ascii_alphabetic();
        let before = at.checked_sub(1).and_then(|before| items.get(before));
        if !country
            || digit(c.ch).is_none()
            || digit(d.ch).is_none()
            || before.is_some_and(|before| before.ch.is_ascii_alphanumeric())
        {
            continue;
        }
        // ISO 13616: the first four go to the end, letters count from ten, and 97 leaves one.
        let mut rest = 0;
        let mut place = at + 4;
        let (mut count, mut found) = (4, 0);
        while let Some(item) = items.get(place) {
            match value(item.ch) {
                Some(value) => {
                    rest = append(rest, value);
                    count += 1;
                }
                None if [' ', '-'].contains(&item.ch) => {}
                None => break,
            }
            place += 1;
            if count > *IBAN.end() {
                break;
            }
            let head = [a.ch, b.ch, c.ch, d.ch].into_iter().filter_map(value);
            let follows = items
                .get(place)
                .is_some_and(|next| next.ch.is_ascii_alphanumeric());
            if IBAN.contains(&count) && !follows && head.fold(rest, append) == 1 {
                found = place;
            }
        }
        let whole = items.get(at..found).unwrap_or_default();
        let shown = |item: &&Item| item.ch.is_ascii_alphanumeric() || digit(item.ch).is_some();
        let hidden = whole.iter().filter(shown).count().saturating_sub(KEPT);
        whole
            .iter()
            .filter(shown)
            .take(hidden)
            .for_each(|item| canvas.dot(item));
    }
}

fn value(ch: char) -> Option<u32> {
    digit(ch).or_else(|| ch.to_digit(36))
}

fn append(rest: u32, value: u32) -> u32 {
    match value {
        0..=9 => (rest * 10 + value) % 97,
        _ => (rest * 100 + value) % 97,
    }
}

/// Longest part before the sign, and after it (RFC 5321 §4.5.3.1).
const LOCAL: usize = 64;
const HOST: usize = 255;

/// Where the last address stands; nowhere (0, 0) without one.
fn mails(canvas: &mut Canvas, items: &[Item]) -> (usize, usize) {
    let mut place = (0, 0);
    let signs = items.iter().enumerate().filter(|(_, item)| item.ch == '@');
    for (at, _) in signs {
        let local = items.get(..at).unwrap_or_default().iter().rev().take(LOCAL);
        let local =
            local.take_while(|item| item.ch.is_alphanumeric() || ".!#$%*+-_~'^`".contains(item.ch));
        let local = local.count();
        let host = items.get(at + 1..).unwrap_or_default().iter().take(HOST);
        let host = host.take_while(|item| item.ch.is_alphanumeric() || ".-".contains(item.ch));
        let host: Vec<char> = host.map(|item| item.ch).collect();
        let dots = host.iter().filter(|ch| **ch == '.').count();
        if local == 0 || dots == 0 || host.first() == Some(&'.') {
            continue;
        }
        // One letter shows nobody, unless it is all there is.
        let shown = usize::from(local > 1);
        canvas.word(items.get(at - local + shown..at).unwrap_or_default());
        place = (at - local, at + 1 + host.len());
    }
    place
}
