//! What `check` and `serve` say about a rule file: where, what, and what to do about it.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError, NamedSource, SourceCode,
    SourceSpan, SpanContents,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The rules do not load.
    Error,
    /// They load, but this will hurt later.
    Warning,
}

/// One remark on one file.
#[derive(Clone)]
pub struct Diagnostic {
    /// As a person would look for it.
    pub file: String,
    /// The file's text, with everything that might be a secret painted over.
    pub text: Arc<str>,
    /// Bytes of the text that the remark is about.
    pub span: Range<usize>,
    /// Stable, for machines.
    pub code: &'static str,
    pub severity: Severity,
    pub message: String,
    pub hint: Option<String>,
}

impl Diagnostic {
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// Line and column, both from 1; the column counts characters.
    pub fn position(&self) -> (usize, usize) {
        let before = self.text.get(..self.span.start).unwrap_or(&self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        (line, column)
    }
}

impl Diagnostic {
    /// The same without what could steer a terminal; every byte keeps its place.
    fn harmless(&self) -> Diagnostic {
        Diagnostic {
            file: harmless(&self.file),
            text: match self.text.contains(steers) {
                true => harmless(&self.text).into(),
                false => Arc::clone(&self.text),
            },
            message: harmless(&self.message),
            hint: self.hint.as_deref().map(harmless),
            ..self.clone()
        }
    }
}

fn steers(c: char) -> bool {
    c.is_control() && !matches!(c, '\n' | '\t')
}

/// Control characters other than line ends and tabs become others of as many bytes.
fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        out.push(match c {
            '\r' if rest.peek() == Some(&'\n') => ' ',
            c if steers(c) && c.len_utf8() == 1 => '?',
            // C1 controls take two.
            c if steers(c) => '\u{bf}',
            c => c,
        });
    }
    out
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.position();
        write!(f, "{}:{line}:{column}: {}", self.file, self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {self}", self.code)
    }
}

impl std::error::Error for Diagnostic {}

/// How remarks are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Lines, carets and colours, for a terminal.
    Colour,
    /// Lines and carets without colours.
    Plain,
    /// ASCII only, for logs and terminals that know nothing else.
    Ascii,
}

/// All remarks, one below the other.
pub fn render(diagnostics: &[Diagnostic], look: Look) -> String {
    let theme = match look {
        Look::Colour => GraphicalTheme::unicode(),
        Look::Plain => GraphicalTheme::unicode_nocolor(),
        Look::Ascii => GraphicalTheme::none(),
    };
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_width(100)
        .with_context_lines(1)
        .with_links(false);
    let mut out = String::new();
    for diagnostic in diagnostics {
        if !out.is_empty() {
            out.push('\n');
        }
        let diagnostic = &diagnostic.harmless();
        let file = NamedSource::new(&diagnostic.file, Arc::clone(&diagnostic.text));
        let source = Lines {
            file,
            text: &diagnostic.text,
        };
        // Writing to a String cannot fail; a remark that cannot be drawn is still said.
        if handler
            .render_report(&mut out, &Shown { diagnostic, source })
            .is_err()
        {
            out.push_str(&format!("{diagnostic}\n"));
        }
    }
    out
}

struct Shown<'a> {
    diagnostic: &'a Diagnostic,
    source: Lines<'a>,
}

/// Shows whole lines and no others: the neighbours may say what is not meant for a log.
struct Lines<'a> {
    file: NamedSource<Arc<str>>,
    text: &'a str,
}

impl SourceCode for Lines<'_> {
    fn read_span<'s>(
        &'s self,
        span: &SourceSpan,
        lines_before: usize,
        lines_after: usize,
    ) -> Result<Box<dyn SpanContents<'s> + 's>, MietteError> {
        // Asked for no context, the span itself is meant: its column is shown.
        if lines_before + lines_after == 0 {
            return self.file.read_span(span, 0, 0);
        }
        let (from, to) = (span.offset(), span.offset() + span.len());
        let start = self
            .text
            .get(..from)
            .and_then(|before| before.rfind('\n'))
            .map_or(0, |n| n + 1);
        let rest = self.text.get(to..).unwrap_or("");
        let end = to + rest.find('\n').unwrap_or(rest.len());
        self.file.read_span(&(start..end).into(), 0, 0)
    }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.diagnostic.message)
    }
}

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.diagnostic, f)
    }
}

impl std::error::Error for Shown<'_> {}

impl miette::Diagnostic for Shown<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.diagnostic.code))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.diagnostic.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.diagnostic
            .hint
            .as_ref()
            .map(|hint| Box::new(hint) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let span = self.diagnostic.span.clone();
        Some(Box::new(std::iter::once(LabeledSpan::underline(span))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_do_not_reach_the_terminal_and_carets_stay_where_they_were() {
        let text = "name = \"\u{1b}]0;x\u{7}\u{9b}2J\u{7f}\"\r\nwrong = 1\n";
        let start = text.find("wrong").unwrap();
        let remark = Diagnostic {
            file: "providers/\u{1b}[2J.toml".to_owned(),
            text: text.into(),
            span: start..start + 5,
            code: "unknown_member",
            severity: Severity::Error,
            message: "there is no `\u{1b}[31m`".to_owned(),
            hint: Some("\u{9b}1A".to_owned()),
        };
        let shown = remark.harmless();
        assert_eq!(shown.text.len(), text.len());
        assert_eq!(&shown.text[shown.span.clone()], "wrong");
        assert_eq!(shown.position(), remark.position());
        assert!(!shown.text.contains('\r'));
        let first = Diagnostic {
            span: 8..10,
            ..remark.clone()
        };
        for look in [Look::Plain, Look::Ascii] {
            let said = render(&[remark.clone(), first.clone()], look);
            assert!(!said.contains(steers), "{said:?}");
            assert!(
                said.contains("wrong = 1") && said.contains("?]0;x?\u{bf}2J?"),
                "{said}"
            );
        }
        // In colour the only sequences are those of colours.
        let said = render(&[remark, first], Look::Colour);
        for (at, _) in said.match_indices('\u{1b}') {
            let sequence = said[at + 1..].trim_start_matches(|c: char| "[;0123456789".contains(c));
            assert!(sequence.starts_with('m'), "{said:?}");
        }
        assert!(
            !said.contains("\u{1b}[2J") && !said.contains('\u{9b}'),
            "{said:?}"
        );
    }
}
