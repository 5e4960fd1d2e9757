//! More ways over a JSON text that is already checked: several values at once, members in their
//! order, and texts with a member taken out or with names sorted.

use std::borrow::Cow;

use crate::rule::template::Pointer;
use crate::verify::json::{Json, Node, Scanner};

/// Name and value of one member of an object.
pub type Member<'a> = (Cow<'a, str>, Json<'a>);

impl<'a> Json<'a> {
    /// What stands here.
    pub fn node(&self) -> Option<Node<'a>> {
        self.scanner().node().ok()
    }

    /// As it is written.
    pub fn raw(&self) -> &'a str {
        self.text()
    }

    /// The value at a pointer, as JSON of its own.
    pub fn at(&self, pointer: &Pointer) -> Option<Json<'a>> {
        let mut scanner = self.scanner();
        for token in &pointer.0 {
            scanner.enter(token).ok().filter(|found| *found)?;
        }
        scanner.rest_of_value()
    }

    /// The values at a pointer in which `*` stands for every element. A part that is not there
    /// gives nothing.
    pub fn each(&self, pointer: &Pointer) -> Vec<Json<'a>> {
        let mut found = vec![*self];
        for token in &pointer.0 {
            let mut next = Vec::new();
            for value in found {
                if token == Pointer::EACH {
                    next.extend(value.elements().unwrap_or_default());
                } else {
                    next.extend(value.at(&Pointer(vec![token.clone()])));
                }
            }
            found = next;
        }
        found
    }

    /// The elements of an array; none when this is none.
    pub fn elements(&self) -> Option<Vec<Json<'a>>> {
        let mut scanner = self.scanner();
        if scanner.peek() != Some(b'[') {
            return None;
        }
        let mut found = Vec::new();
        scanner.step();
        loop {
            scanner.blank();
            if scanner.take(b']') {
                return Some(found);
            }
            found.push(scanner.rest_of_value()?);
            scanner.blank();
            scanner.take(b',');
        }
    }

    /// The members of an object in their order; none when this is none.
    pub fn members(&self) -> Option<Vec<Member<'a>>> {
        Some(
            self.placed()?
                .into_iter()
                .map(|(name, value, _)| (name, value))
                .collect(),
        )
    }

    /// The members with the place where each begins.
    fn placed(&self) -> Option<Vec<(Cow<'a, str>, Json<'a>, usize)>> {
        let mut scanner = self.scanner();
        if scanner.peek() != Some(b'{') {
            return None;
        }
        let mut found = Vec::new();
        scanner.step();
        loop {
            scanner.blank();
            if scanner.take(b'}') {
                return Some(found);
            }
            let begins = scanner.place();
            let name = scanner.name().ok()?;
            found.push((name, scanner.rest_of_value()?, begins));
            scanner.blank();
            scanner.take(b',');
        }
    }

    /// The text of an object without one member: that member goes with the comma that stands
    /// before it (or behind it, when it is the first), and nothing else changes.
    pub fn without(&self, member: &str) -> Option<Vec<u8>> {
        let members = self.placed()?;
        let Some(index) = members.iter().position(|(name, ..)| name == member) else {
            return Some(self.raw().as_bytes().to_vec());
        };
        let text = self.raw();
        let (_, value, begins) = members.get(index)?;
        // Where a value ends: they are stretches of the same text.
        let end_of = |value: &Json<'a>| {
            let from = value.raw().as_ptr().addr() - text.as_ptr().addr();
            from + value.raw().len()
        };
        let (from, to) = match (
            index.checked_sub(1).and_then(|i| members.get(i)),
            members.get(index + 1),
        ) {
            (Some((_, before, _)), _) => (end_of(before), end_of(value)),
            (None, Some((_, _, next))) => (*begins, *next),
            (None, None) => (*begins, end_of(value)),
        };
        let mut rest = text.get(..from)?.as_bytes().to_vec();
        rest.extend_from_slice(text.get(to..)?.as_bytes());
        Some(rest)
    }

    /// Names sorted by their bytes at every level, no blanks, literals as they are written.
    pub fn sorted(&self, out: &mut Vec<u8>) {
        if let Some(mut members) = self.placed() {
            members.sort_by(|(a, ..), (b, ..)| a.as_bytes().cmp(b.as_bytes()));
            out.push(b'{');
            for (index, (_, value, begins)) in members.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                let name = self.text().get(*begins..).and_then(string_token);
                out.extend_from_slice(name.unwrap_or("\"\"").as_bytes());
                out.push(b':');
                value.sorted(out);
            }
            out.push(b'}');
        } else if let Some(elements) = self.elements() {
            out.push(b'[');
            for (index, element) in elements.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                element.sorted(out);
            }
            out.push(b']');
        } else {
            out.extend_from_slice(self.raw().as_bytes());
        }
    }

    /// Every scalar at any depth, in the order of the text. A null is an empty text.
    pub fn leaves(&self, found: &mut Vec<Cow<'a, str>>) {
        let inner = self
            .members()
            .map(|members| members.into_iter().map(|(_, value)| value).collect())
            .or_else(|| self.elements());
        match inner {
            Some(values) => {
                let values: Vec<Json<'a>> = values;
                values.iter().for_each(|value| value.leaves(found));
            }
            None => match self.node() {
                Some(Node::Text(text)) => found.push(text),
                Some(Node::Literal(text)) => found.push(Cow::Borrowed(text)),
                Some(Node::Null) | Some(Node::Composite(_)) | None => found.push(Cow::Borrowed("")),
            },
        }
    }
}

/// The string that a checked text begins with, quotes and all.
fn string_token(text: &str) -> Option<&str> {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return text.get(..=at),
            _ => {}
        }
    }
    None
}

impl<'a> Scanner<'a> {
    /// Moves over one value and gives it.
    fn rest_of_value(&mut self) -> Option<Json<'a>> {
        let start = self.place();
        self.value(0).ok()?;
        Some(Json::checked(self.since(start)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn json(text: &str) -> Json<'_> {
        Json::parse(text.as_bytes()).unwrap()
    }

    fn pointer(text: &str) -> Pointer {
        Pointer(text.split('/').skip(1).map(str::to_owned).collect())
    }

    #[test]
    fn every_element_is_found() {
        let text = r#"{"a":[{"b":1},{"c":2},{"b":"x"}],"d":[]}"#;
        let found: Vec<&str> = json(text)
            .each(&pointer("/a/*/b"))
            .iter()
            .map(Json::raw)
            .collect();
        assert_eq!(found, ["1", "\"x\""]);
        assert!(json(text).each(&pointer("/d/*")).is_empty());
        assert!(json(text).each(&pointer("/x/*/b")).is_empty());
        assert_eq!(json(text).at(&pointer("/a/0")).unwrap().raw(), r#"{"b":1}"#);
    }

    #[test]
    fn a_member_is_taken_out_and_nothing_else() {
        for (text, rest) in [
            (r#"{"a":1,"sign":"x","b":2}"#, r#"{"a":1,"b":2}"#),
            (
                r#"{"a":1, "b" : 2 , "sign" : "x" }"#,
                r#"{"a":1, "b" : 2 }"#,
            ),
            (r#"{ "sign":"x", "b":2}"#, r#"{ "b":2}"#),
            (r#"{"sign":[1,{"sign":2}]}"#, "{}"),
            (r#"{"a":{"sign":1}}"#, r#"{"a":{"sign":1}}"#),
            (r#"{"si\u0067n":1,"a":"\/"}"#, r#"{"a":"\/"}"#),
        ] {
            let out = json(text).without("sign").unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), rest, "{text}");
        }
        assert_eq!(json("[1]").without("sign"), None);
    }

    #[test]
    fn names_are_sorted_at_every_level_and_literals_stay() {
        let text = "{ \"b\": [ {\"z\":1.50,\"a\\\"\":\"\\u00e9\"} ], \"a\" : null }";
        let mut out = Vec::new();
        json(text).sorted(&mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"{"a":null,"b":[{"a\"":"\u00e9","z":1.50}]}"#
        );
    }

    #[test]
    fn leaves_come_in_their_order() {
        let mut found = Vec::new();
        json(r#"{"a":[1,{"b":"x"}],"c":null,"d":true}"#).leaves(&mut found);
        assert_eq!(found, ["1", "x", "", "true"]);
    }

    proptest! {
        #[test]
        fn sorting_keeps_what_it_says(entries in proptest::collection::btree_map("[a-z\"\\\\é]{0,4}", any::<i32>(), 0..6)) {
            let value = serde_json::json!({ "x": entries, "list": [entries] });
            let text = serde_json::to_string_pretty(&value).unwrap();
            let mut out = Vec::new();
            json(&text).sorted(&mut out);
            let again: serde_json::Value = serde_json::from_slice(&out).unwrap();
            prop_assert_eq!(again, value);
        }
    }
}
