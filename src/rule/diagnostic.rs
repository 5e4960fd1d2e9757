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
