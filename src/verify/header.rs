//! Header grammars: `t=1,v1=abc,v1=def` taken apart into names and values.

use std::ops::Range;

use smallvec::SmallVec;

use crate::rule::scheme::HeaderGrammar;

/// The items of a header: nearly always two or three.
pub type Items = SmallVec<[Placed; 4]>;

/// Where one item stands in the value of the header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// None where items have no names.
    pub name: Option<Range<usize>>,
    pub value: Range<usize>,
}

impl Placed {
    /// True when this item, the `index`-th from 0, goes by `wanted`: its name, or its place from 1.
    pub fn is_called(&self, wanted: &[u8], index: usize, text: &[u8]) -> bool {
        match &self.name {
            Some(name) => {
                name.len() == wanted.len() && text.get(name.clone()).is_some_and(|n| n == wanted)
            }
            // Its place, as a number without leading zeros.
            None => match wanted {
                [digit @ b'1'..=b'9'] => usize::from(digit - b'0') == index + 1,
                _ => (index + 1).to_string().as_bytes() == wanted,
            },
        }
    }
}

/// Items in their order; repeated names are kept, and so are names that nobody asks for: a
/// provider may add schemes, and an unknown one is never enough.
pub fn items(value: &[u8], grammar: &HeaderGrammar) -> Items {
    let mut items = Items::new();
    let mut at = 0;
    while let Some(rest) = value.get(at..) {
        let end = find(rest, grammar.items.as_bytes()).map_or(value.len(), |off| at + off);
        let item = trim(value, at..end);
        match &grammar.pair {
            None => items.push(Placed {
                name: None,
                value: item,
            }),
            // An item without the separator has no value.
            Some(pair) => {
                let within = value.get(item.clone()).unwrap_or_default();
                // Names are short: a step at a time is there first.
                let off = match pair.as_bytes() {
                    [one] => within.iter().position(|byte| byte == one),
                    pair => find(within, pair),
                };
                if let Some(off) = off {
                    let name = item.start..item.start + off;
                    let behind = name.end + pair.len()..item.end;
                    items.push(Placed {
                        name: Some(trim(value, name)),
                        value: trim(value, behind),
                    });
                }
            }
        }
        at = end + grammar.items.len().max(1);
        if end == value.len() {
            break;
        }
    }
    items
}

fn trim(text: &[u8], within: Range<usize>) -> Range<usize> {
    let bytes = text.get(within.clone()).unwrap_or_default();
    if let (Some(b'!'..), Some(b'!'..)) = (bytes.first(), bytes.last()) {
        return within;
    }
    let front = bytes.trim_ascii_start();
    let start = within.end - front.len();
    start..start + front.trim_ascii_end().len()
}

/// Where a separator of one or more bytes stands.
fn find(text: &[u8], separator: &[u8]) -> Option<usize> {
    match separator {
        [one] => memchr::memchr(*one, text),
        _ => {
            let first = *separator.first()?;
            let mut places = memchr::memchr_iter(first, text);
            places.find(|at| text.get(*at..).is_some_and(|t| t.starts_with(separator)))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rule::Template;

    fn grammar(items: &str, pair: &str) -> HeaderGrammar {
        HeaderGrammar {
            from: Template::parse("{header:x}")
                .unwrap()
                .as_single()
                .unwrap()
                .clone(),
            items: items.into(),
            pair: (!pair.is_empty()).then(|| pair.into()),
        }
    }

    fn texts(value: &str, items_by: &str, pair: &str) -> Vec<(String, String)> {
        let text = |at: Range<usize>| value[at].to_owned();
        items(value.as_bytes(), &grammar(items_by, pair))
            .into_iter()
            .map(|placed| {
                (
                    placed.name.map_or_else(String::new, text),
                    text(placed.value),
                )
            })
            .collect()
    }

    #[test]
    fn repeated_and_unknown_names_are_kept() {
        let found = texts("t=1, v1=ab=,v1=,v0=x", ",", "=");
        let wanted = [("t", "1"), ("v1", "ab="), ("v1", ""), ("v0", "x")];
        assert_eq!(found.len(), wanted.len());
        for (found, wanted) in found.iter().zip(wanted) {
            assert_eq!((found.0.as_str(), found.1.as_str()), wanted);
        }
    }

    #[test]
    fn items_without_a_value_are_none() {
        assert_eq!(texts("", ",", "="), []);
        assert_eq!(texts(",, v1 ,", ",", "="), []);
        assert_eq!(texts("v1,abc  v1a,def", " ", ",").len(), 2);
        assert_eq!(
            texts("a###1###x", "&&", "###"),
            [("a".to_owned(), "1###x".to_owned())]
        );
    }

    #[test]
    fn without_a_pair_items_have_places() {
        let found = items(b"abc###1", &grammar("###", ""));
        assert!(found[0].is_called(b"1", 0, b"abc###1") && !found[0].is_called(b"0", 0, b""));
        assert_eq!(texts("abc###1", "###", "")[1].1, "1");
    }

    proptest! {
        #[test]
        fn no_value_makes_it_panic(
            value in proptest::collection::vec(any::<u8>(), 0..60),
            items_by in "[,; &]{1,2}",
            pair in "[=:,]{1,3}",
        ) {
            let _ = items(&value, &grammar(&items_by, &pair));
        }
    }
}
