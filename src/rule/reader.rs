//! Reads TOML tables with their places in the file, and collects every fault instead of the first.
//! Asking a table for a key is what makes the key known; `finish` complains about the others.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::rule::Template;
use crate::rule::diagnostic::{Diagnostic, Severity};
use crate::rule::shape::Shape;
use crate::rule::text::{inside_string, nearest};
use crate::rule::value::Complaint;
#[cfg(test)]
use crate::rule::witness::{self, Read, Sight};
use crate::secret::SecretRef;

/// What was found wrong in one file.
pub struct Problems {
    file: String,
    text: Arc<str>,
    found: RefCell<Vec<Diagnostic>>,
    /// Places that may hold a secret: painted over in whatever is shown of the file.
    hidden: RefCell<Vec<Range<usize>>>,
    /// Where the file says that a secret lies.
    referred: RefCell<Vec<(Range<usize>, String, SecretRef)>>,
    /// What kind of file this is: says where a key belongs that stands in a wrong table.
    shape: fn() -> Shape,
}

impl Problems {
    pub fn new(file: impl Into<String>, text: impl Into<Arc<str>>, shape: fn() -> Shape) -> Self {
        Problems {
            shape,
            file: file.into(),
            text: text.into(),
            found: RefCell::default(),
            hidden: RefCell::default(),
            referred: RefCell::default(),
        }
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn error(&self, span: Range<usize>, code: &'static str, message: impl Into<String>) {
        self.add(Severity::Error, span, code, message.into(), None);
    }

    pub fn error_with(
        &self,
        span: Range<usize>,
        code: &'static str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.add(
            Severity::Error,
            span,
            code,
            message.into(),
            Some(hint.into()),
        );
    }

    pub fn warn(
        &self,
        span: Range<usize>,
        code: &'static str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.add(
            Severity::Warning,
            span,
            code,
            message.into(),
            Some(hint.into()),
        );
    }

    pub fn complain(&self, span: Range<usize>, complaint: Complaint) {
        self.add(
            Severity::Error,
            span,
            complaint.code,
            complaint.message,
            complaint.hint,
        );
    }

    fn add(
        &self,
        severity: Severity,
        span: Range<usize>,
        code: &'static str,
        message: String,
        hint: Option<String>,
    ) {
        let (file, text) = (self.file.clone(), Arc::clone(&self.text));
        let diagnostic = Diagnostic {
            file,
            text,
            span,
            code,
            severity,
            message,
            hint,
        };
        self.found.borrow_mut().push(diagnostic);
    }

    pub fn hide(&self, span: Range<usize>) {
        self.hidden.borrow_mut().push(span);
    }

    /// A place of a secret, named here. Whether anything lies there is for whoever reads it.
    pub fn refer(&self, span: Range<usize>, key: String, secret: SecretRef) {
        self.referred.borrow_mut().push((span, key, secret));
    }

    pub fn has_errors(&self) -> bool {
        self.found.borrow().iter().any(Diagnostic::is_error)
    }

    /// Everything found, in the order of the file, with possible secrets painted over.
    pub fn into_diagnostics(self) -> Vec<Diagnostic> {
        self.into_parts().0
    }

    /// The same, and every place of a secret that the file names.
    pub fn into_parts(self) -> (Vec<Diagnostic>, Vec<Referred>) {
        let mut found = self.found.into_inner();
        let hidden = self.hidden.into_inner();
        let mut text = self.text;
        if !hidden.is_empty() {
            text = paint(&text, &hidden).into();
            found.iter_mut().for_each(|d| d.text = Arc::clone(&text));
        }
        found.sort_by_key(|d| (d.span.start, d.span.end));
        let referred = self.referred.into_inner();
        let referred = referred.into_iter().map(|(span, key, secret)| Referred {
            file: self.file.clone(),
            text: Arc::clone(&text),
            span,
            key,
            secret,
        });
        (found, referred.collect())
    }

    /// Parses the file. What could be read is read, even when some of it is no TOML.
    pub fn parse<'a>(&self, text: &'a str) -> Spanned<DeTable<'a>> {
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            self.error(
                error.span().unwrap_or(0..0),
                "syntax",
                error.message().to_owned(),
            );
        }
        if !errors.is_empty() {
            self.hide_suspects();
        }
        table
    }

    /// In a file that cannot be taken apart, hides the right-hand side of every line that may
    /// speak of a secret.
    fn hide_suspects(&self) {
        let mut at = 0;
        for line in self.text.split_inclusive('\n') {
            let (name, value) = line.split_once('=').unwrap_or(("", line));
            let suspect = ["key", "secret", "sign", "token", "pass", "env:", "file:"];
            let named = name.to_ascii_lowercase();
            let lists = name.is_empty() && line.contains(['"', '\'']);
            if lists || suspect.iter().any(|word| named.contains(word)) {
                self.hide(at + line.len() - value.len()..at + line.len());
            }
            at += line.len();
        }
    }
}

/// A place of a secret, and where a file names it.
#[derive(Clone, Debug)]
pub struct Referred {
    /// As a person would look for it.
    pub file: String,
    /// With everything that might be a secret painted over.
    text: Arc<str>,
    span: Range<usize>,
    /// The name of what names it, with those of its tables: `keys[0].from`, `relay.sign_with`.
    pub key: String,
    pub secret: SecretRef,
}

impl Referred {
    /// What is wrong with what lies there, said where it is named.
    pub fn error(&self, code: &'static str, message: String, hint: Option<String>) -> Diagnostic {
        Diagnostic {
            file: self.file.clone(),
            text: Arc::clone(&self.text),
            span: self.span.clone(),
            code,
            severity: Severity::Error,
            message,
            hint,
        }
    }
}

fn paint(text: &str, hidden: &[Range<usize>]) -> String {
    let cover = |(at, byte): (usize, u8)| match byte {
        b'\n' | b'\r' => byte,
        _ if hidden.iter().any(|span| span.contains(&at)) => b'*',
        _ => byte,
    };
    let painted: Vec<u8> = text.bytes().enumerate().map(cover).collect();
    // Spans cover whole characters; if one did not, showing less is the right mistake.
    String::from_utf8(painted).unwrap_or_else(|_| "*".repeat(text.len()))
}

/// A table being read.
pub struct Table<'a> {
    pub problems: &'a Problems,
    entries: &'a DeTable<'a>,
    /// Where complaints about what is missing point.
    pub span: Range<usize>,
    path: String,
    asked: RefCell<Vec<&'static str>>,
    #[cfg(test)]
    needed: RefCell<Vec<&'static str>>,
}

impl<'a> Table<'a> {
    pub fn root(problems: &'a Problems, document: &'a Spanned<DeTable<'a>>) -> Self {
        // A point, not the whole file, which would fill the screen.
        Table::new(problems, document.get_ref(), 0..0, String::new())
    }

    fn new(
        problems: &'a Problems,
        entries: &'a DeTable<'a>,
        span: Range<usize>,
        path: String,
    ) -> Self {
        Table {
            problems,
            entries,
            span,
            path,
            asked: RefCell::default(),
            #[cfg(test)]
            needed: RefCell::default(),
        }
    }

    fn name_of(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    pub fn get(&self, key: &'static str) -> Option<Field<'a>> {
        let mut asked = self.asked.borrow_mut();
        if !asked.contains(&key) {
            asked.push(key);
        }
        let (name, value) = self.entries.get_key_value(key)?;
        Some(self.field(name.span(), key, value))
    }

    /// Like `get`, and complains when the key is not there.
    pub fn need(&self, key: &'static str, hint: &str) -> Option<Field<'a>> {
        #[cfg(test)]
        self.needed.borrow_mut().push(key);
        let found = self.get(key);
        if found.is_none() {
            let message = format!("`{}` is missing", self.name_of(key));
            self.problems
                .error_with(self.span.clone(), "missing_key", message, hint);
        }
        found
    }

    /// All entries of a table whose keys are the writer's own.
    pub fn entries(&self) -> impl Iterator<Item = (&'a str, Field<'a>)> {
        self.entries.iter().map(|(name, value)| {
            (
                name.get_ref().as_ref(),
                self.field(name.span(), name.get_ref(), value),
            )
        })
    }

    fn field(&self, key: Range<usize>, name: &str, value: &'a Spanned<DeValue<'a>>) -> Field<'a> {
        Field {
            problems: self.problems,
            value: value.get_ref(),
            span: value.span(),
            key,
            path: self.name_of(name),
        }
    }

    /// Complains about every key that nobody asked for.
    pub fn finish(self) {
        let asked = self.asked.borrow();
        #[cfg(test)]
        witness::see(Sight::Table {
            file: self.problems.file.clone(),
            path: self.path.clone(),
            asked: asked.clone(),
            needed: self.needed.borrow().clone(),
        });
        for (name, value) in self.entries {
            if asked.contains(&name.get_ref().as_ref()) {
                continue;
            }
            // Nobody knows what this is; it may be a secret in a place that we never heard of.
            self.problems.hide(value.span());
            let message = format!("there is no key `{}`", self.name_of(name.get_ref()));
            let hint = self.hint(name.get_ref(), &asked);
            self.problems
                .error_with(name.span(), "unknown_key", message, hint);
        }
    }

    /// What a key may have been meant for that nobody asked for.
    fn hint(&self, key: &str, asked: &[&str]) -> String {
        let near = nearest(key, asked.iter().copied());
        let places = (self.problems.shape)().places(key);
        match (near, places.as_slice()) {
            (Some(near), _) => format!("did you mean `{near}`?"),
            (None, [place]) => format!("`{key}` belongs under {place}"),
            (None, [one, other]) => format!("`{key}` belongs under {one} or {other}"),
            (None, _) => format!("here may stand: {}", asked.join(", ")),
        }
    }
}

/// A value being read, and where it stands.
#[derive(Clone)]
pub struct Field<'a> {
    pub problems: &'a Problems,
    value: &'a DeValue<'a>,
    pub span: Range<usize>,
    /// Where its key stands (for an element of an array: the element).
    pub key: Range<usize>,
    /// Its name with the names of its tables, for messages.
    pub path: String,
}

impl<'a> Field<'a> {
    #[cfg(test)]
    fn witnessed(&self, read: Read) {
        witness::see(Sight::Value {
            file: self.problems.file.clone(),
            path: self.path.clone(),
            read,
        });
    }

    fn wrong_type<T>(&self, wanted: &str) -> Option<T> {
        let found = self.value.type_str();
        let message = format!("`{}` must be {wanted}, this is of type {found}", self.path);
        self.problems
            .error(self.span.clone(), "wrong_type", message);
        None
    }

    pub fn text(&self) -> Option<&'a str> {
        #[cfg(test)]
        self.witnessed(Read::Text);
        match self.value.as_str() {
            Some(text) => Some(text),
            None => self.wrong_type("a string"),
        }
    }

    pub fn boolean(&self) -> Option<bool> {
        #[cfg(test)]
        self.witnessed(Read::Boolean);
        match self.value.as_bool() {
            Some(value) => Some(value),
            None => self.wrong_type("`true` or `false`"),
        }
    }

    pub fn integer(&self, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
        #[cfg(test)]
        self.witnessed(Read::Integer(*range.start(), *range.end()));
        let Some(integer) = self.value.as_integer() else {
            return self.wrong_type("a whole number");
        };
        let found = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
        match found.filter(|n| range.contains(n)) {
            Some(n) => Some(n),
            None => {
                let (from, to) = range.into_inner();
                let message = format!("`{}` must be from {from} to {to}", self.path);
                self.problems.error(self.span.clone(), "bad_value", message);
                None
            }
        }
    }

    /// A number with or without a fraction.
    pub fn number(&self) -> Option<f64> {
        #[cfg(test)]
        self.witnessed(Read::Number);
        let text = match (self.value.as_float(), self.value.as_integer()) {
            (Some(float), _) => float.as_str(),
            (None, Some(integer)) if integer.radix() == 10 => integer.as_str(),
            _ => return self.wrong_type("a number"),
        };
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Some(number),
            Ok(_) | Err(_) => self.wrong_type("a number"),
        }
    }

    pub fn datetime(&self) -> Option<&'a toml::value::Datetime> {
        #[cfg(test)]
        self.witnessed(Read::Date);
        match self.value.as_datetime() {
            Some(datetime) => Some(datetime),
            None => self.wrong_type("a date"),
        }
    }

    /// A string that `parse` can read.
    pub fn parsed<T>(&self, parse: impl FnOnce(&str) -> Result<T, Complaint>) -> Option<T> {
        #[cfg(test)]
        self.witnessed(Read::Parsed(std::any::type_name_of_val(&parse)));
        match parse(self.text()?) {
            Ok(value) => Some(value),
            Err(complaint) => {
                if complaint.code == "inline_secret" {
                    self.problems.hide(self.span.clone());
                }
                self.problems.complain(self.span.clone(), complaint);
                None
            }
        }
    }

    /// One of a few words, and what it stands for.
    pub fn word<T: Clone>(&self, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text()?;
        let names = || choices.iter().map(|(name, _)| *name);
        #[cfg(test)]
        self.witnessed(Read::Word(names().map(str::to_owned).collect()));
        let found = choices
            .iter()
            .find(|(name, _)| *name == text)
            .map(|(_, value)| value.clone());
        if found.is_none() {
            let message = format!("`{}` cannot be `{text}`", self.path);
            let hint = match nearest(text, names()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("it is one of: {}", names().collect::<Vec<_>>().join(", ")),
            };
            self.problems
                .error_with(self.span.clone(), "bad_value", message, hint);
        }
        found
    }

    pub fn template(&self) -> Option<Template> {
        #[cfg(test)]
        self.witnessed(Read::Template);
        let text = self.text()?;
        match Template::parse(text) {
            Ok(template) => Some(template),
            Err(error) => {
                let span = self.inside(error.span);
                let complaint = Complaint {
                    code: "template",
                    message: error.message,
                    hint: error.hint,
                };
                self.problems.complain(span, complaint);
                None
            }
        }
    }

    /// Where some bytes of this string stand in the file.
    pub fn inside(&self, inner: Range<usize>) -> Range<usize> {
        let token = self.problems.text().get(self.span.clone()).unwrap_or("");
        inside_string(token, self.span.start, inner)
    }

    pub fn is_table(&self) -> bool {
        self.value.is_table()
    }

    pub fn is_text(&self) -> bool {
        self.value.is_str()
    }

    pub fn table(&self) -> Option<Table<'a>> {
        match self.value.as_table() {
            Some(entries) => Some(Table::new(
                self.problems,
                entries,
                self.key.clone(),
                self.path.clone(),
            )),
            None => self.wrong_type("a table"),
        }
    }

    /// The elements of an array; a single value counts as an array of one.
    pub fn list(&self) -> Vec<Field<'a>> {
        let Some(array) = self.value.as_array() else {
            return vec![self.clone()];
        };
        array
            .iter()
            .enumerate()
            .map(|(index, element)| Field {
                problems: self.problems,
                value: element.get_ref(),
                span: element.span(),
                key: element.span(),
                path: format!("{}[{index}]", self.path),
            })
            .collect()
    }

    pub fn texts(&self) -> Vec<&'a str> {
        self.list().iter().filter_map(Field::text).collect()
    }
}

/// What an optional key gives: not being there is fine (`Some(None)`), being there and faulty is
/// not (`None`).
pub fn optional<T>(read: Option<Option<T>>) -> Option<Option<T>> {
    match read {
        None => Some(None),
        Some(value) => value.map(Some),
    }
}
