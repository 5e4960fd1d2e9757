//! Forms and queries: `a=1&b=2`, percent-encoded, `+` for a space. Over bytes: the charset is the
//! provider's own. A broken escape is refused, because readers differ in what they make of it.

use std::borrow::Cow;

/// Names and values, decoded, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pairs<'a>(Vec<Pair<'a>>);

type Pair<'a> = (Cow<'a, [u8]>, Cow<'a, [u8]>);

/// Where and why a text is no form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FormFault {
    pub at: usize,
    pub what: &'static str,
}

/// Providers send some thirty. Sorted parameters are taken apart before anything is verified, so
/// a body of nothing but separators must not cost much.
const MOST_PAIRS: usize = 1000;

const BROKEN: &str = "a broken percent escape";

/// A name that stands there more than once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeated;

impl<'a> Pairs<'a> {
    pub fn parse(text: &'a [u8]) -> Result<Pairs<'a>, FormFault> {
        let broken = |at| FormFault { at, what: BROKEN };
        let mut pairs = Vec::new();
        let mut at = 0;
        let ends = memchr::memchr_iter(b'&', text).chain([text.len()]);
        for end in ends {
            let part = text.get(at..end).unwrap_or_default();
            let (name, value) = match memchr::memchr(b'=', part) {
                Some(middle) => part.split_at(middle),
                None => (part, &b""[..]),
            };
            let value = value.get(1..).unwrap_or_default();
            // `a=1&&b=2` and a trailing `&` are common and mean nothing.
            if !part.is_empty() {
                if pairs.len() == MOST_PAIRS {
                    return Err(FormFault {
                        at,
                        what: "more than 1000 fields",
                    });
                }
                let decoded = decode(name, true).map_err(|off| broken(at + off))?;
                let value = decode(value, true).map_err(|off| broken(at + name.len() + 1 + off))?;
                pairs.push((decoded, value));
            }
            at += part.len() + 1;
        }
        Ok(Pairs(pairs))
    }

    /// The value of a name that stands there once.
    pub fn only(&self, name: &[u8]) -> Result<Option<&[u8]>, Repeated> {
        let mut found = self.0.iter().filter(|(other, _)| other.as_ref() == name);
        let first = found.next();
        if found.next().is_some() {
            Err(Repeated)
        } else {
            Ok(first.map(|(_, v)| v.as_ref()))
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_ref(), value.as_ref()))
    }
}

/// Takes percent escapes apart; with `plus`, a plus sign is a space. Gives the place of a broken
/// escape.
pub fn decode(text: &[u8], plus: bool) -> Result<Cow<'_, [u8]>, usize> {
    let space = if plus { b'+' } else { b'%' };
    let next = |from: usize| {
        let rest = text.get(from..).unwrap_or_default();
        memchr::memchr2(b'%', space, rest).map(|off| from + off)
    };
    let Some(mut special) = next(0) else {
        return Ok(Cow::Borrowed(text));
    };
    let digit = |at: usize| text.get(at).and_then(|b| (*b as char).to_digit(16));
    let mut decoded = Vec::with_capacity(text.len());
    let mut copied = 0;
    loop {
        decoded.extend_from_slice(text.get(copied..special).unwrap_or_default());
        copied = special + 1;
        if text.get(special) == Some(&b'%') {
            let (Some(high), Some(low)) = (digit(special + 1), digit(special + 2)) else {
                return Err(special);
            };
            // Two digits to the base of 16 fit into a byte.
            decoded.push((high * 16 + low) as u8);
            copied = special + 3;
        } else {
            decoded.push(b' ');
        }
        match next(copied) {
            Some(at) => special = at,
            None => break,
        }
    }
    decoded.extend_from_slice(text.get(copied..).unwrap_or_default());
    Ok(Cow::Owned(decoded))
}

/// Percent-encodes all but RFC 3986's unreserved characters; with `plus`, as forms do it (a space
/// is a plus sign, an asterisk stands for itself, a tilde does not).
pub fn encode(bytes: &[u8], plus: bool) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(bytes.len());
    for byte in bytes {
        let plain = byte.is_ascii_alphanumeric()
            || b"-._".contains(byte)
            || *byte == if plus { b'*' } else { b'~' };
        if plain {
            encoded.push(*byte);
        } else if plus && *byte == b' ' {
            encoded.push(b'+');
        } else {
            encoded.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        let text_of = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let pairs = Pairs::parse(text.as_bytes()).unwrap();
        pairs
            .iter()
            .map(|(n, v)| (text_of(n), text_of(v)))
            .collect()
    }

    #[test]
    fn names_and_values_are_decoded() {
        let owned = |list: &[(&str, &str)]| -> Vec<(String, String)> {
            list.iter()
                .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
                .collect()
        };
        assert_eq!(
            pairs("a=1&b=x+y%2B%26&c&=d&&e==%3D"),
            owned(&[
                ("a", "1"),
                ("b", "x y+&"),
                ("c", ""),
                ("", "d"),
                ("e", "=="),
            ])
        );
        assert_eq!(pairs(""), []);
    }

    #[test]
    fn broken_escapes_are_refused_with_their_place() {
        for (text, at) in [("a=%", 2), ("a=%2", 2), ("b&a%zz=1", 3), ("x=1&y=1%g0", 7)] {
            assert_eq!(
                Pairs::parse(text.as_bytes()),
                Err(FormFault { at, what: BROKEN }),
                "{text}"
            );
        }
    }

    #[test]
    fn a_form_of_nothing_but_fields_is_refused() {
        let fields = |count: usize| vec!["a=1"; count].join("&&");
        assert!(Pairs::parse(fields(1000).as_bytes()).is_ok());
        assert!(Pairs::parse(fields(1001).as_bytes()).is_err());
    }

    #[test]
    fn a_repeated_name_has_no_value() {
        let pairs = Pairs::parse(b"a=1&b=2&%61=1").unwrap();
        assert_eq!(pairs.only(b"a"), Err(Repeated));
        assert_eq!(pairs.only(b"b"), Ok(Some(&b"2"[..])));
        assert_eq!(pairs.only(b"c"), Ok(None));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Pairs::parse(&bytes);
        }

        #[test]
        fn what_was_encoded_comes_back(value in proptest::collection::vec(any::<u8>(), 0..40)) {
            let encoded: String = value.iter().map(|b| format!("%{b:02X}")).collect();
            let text = format!("k={encoded}");
            let pairs = Pairs::parse(text.as_bytes()).unwrap();
            prop_assert_eq!(pairs.only(b"k").unwrap(), Some(&value[..]));
        }
    }
}
