//! Header grammars: `t=1,v1=abc,v1=def` taken apart into names and values.

use crate::rule::provider::HeaderGrammar;

/// Items in their order; repeated names are kept, and so are names that nobody asks for: a
/// provider may add schemes, and an unknown one is never enough.
pub fn items<'a>(value: &'a [u8], grammar: &HeaderGrammar) -> Vec<(&'a [u8], &'a [u8])> {
    split(value, grammar.items.as_bytes())
        .filter_map(|item| {
            let item = item.trim_ascii();
            let mut halves = split(item, grammar.pair.as_bytes());
            let name = halves.next()?;
            let value = item.get(name.len() + grammar.pair.len()..)?;
            Some((name.trim_ascii(), value.trim_ascii()))
        })
        .collect()
}

/// The stretches between a separator of one or more bytes.
fn split<'a, 's>(
    text: &'a [u8],
    separator: &'s [u8],
) -> impl Iterator<Item = &'a [u8]> + use<'a, 's> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let found = text
            .windows(separator.len())
            .position(|window| window == separator);
        rest = found.and_then(|at| text.get(at + separator.len()..));
        found.map_or(Some(text), |at| text.get(..at))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn grammar(items: &str, pair: &str) -> HeaderGrammar {
        HeaderGrammar {
            name: "x".into(),
            items: items.into(),
            pair: pair.into(),
        }
    }

    fn texts(value: &str, items_by: &str, pair: &str) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        items(value.as_bytes(), &grammar(items_by, pair))
            .into_iter()
            .map(|(n, v)| (text(n), text(v)))
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
