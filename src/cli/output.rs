//! What commands print: results on standard output, remarks and faults on standard error.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use unicode_width::UnicodeWidthStr;

use crate::cli::operate::view;
use crate::rule::diagnostic::{self, Diagnostic, Look};
use crate::service::Fault;

static CLOSED: AtomicBool = AtomicBool::new(false);

/// A line of result. A closed pipe (`callseal check | head`) is no reason to fail.
pub fn line(text: impl std::fmt::Display) {
    if writeln!(io::stdout().lock(), "{text}").is_err() {
        CLOSED.store(true, Ordering::Relaxed);
    }
}

/// True when nobody reads the results any more: what goes on and on may end.
pub fn closed() -> bool {
    CLOSED.load(Ordering::Relaxed)
}

/// Columns that a text takes on a terminal: a Chinese character takes two.
pub fn columns(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

/// The text, with blanks up to so many columns.
pub fn padded(text: &str, to: usize) -> String {
    format!("{text}{}", " ".repeat(to.saturating_sub(columns(text))))
}

/// A line for the person watching.
pub fn remark(text: impl std::fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Columns of the terminal that results go to; none where they go somewhere else.
pub fn width() -> Option<usize> {
    if !io::stdout().is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// True when the user wants colours on terminals (<https://no-color.org>), and theirs knows any.
pub fn may_colour() -> bool {
    let is = |name: &str, wrong: fn(&std::ffi::OsStr) -> bool| {
        std::env::var_os(name).is_some_and(|value| wrong(&value))
    };
    !is("NO_COLOR", |value| !value.is_empty()) && !is("TERM", |value| value == "dumb")
}

/// True when this is a terminal on which the cursor can be moved.
pub fn steerable(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("TERM").is_some_and(|term| term != "dumb")
}

fn look() -> Look {
    match io::stderr().is_terminal() && may_colour() {
        true => Look::Colour,
        false => Look::Plain,
    }
}

/// Remarks on files, each with its place and a caret.
pub fn diagnostics(diagnostics: &[Diagnostic]) {
    if !diagnostics.is_empty() {
        let text = diagnostic::render(diagnostics, look());
        // A provider's file may be a stranger's: what turns words around is not shown as it is. Its control
        // characters are gone already: those that are left are our colours.
        let steers = |c: char| view::hidden(c) && !matches!(c, '\n' | '\x1b');
        remark(text.replace(steers, "\u{fffd}").trim_end());
    }
}

/// Every fault, those in files with their places.
pub fn faults(faults: Vec<Fault>) {
    faults_and(&faults, 0);
}

/// The same; some were said already, and count. Warnings among them are shown, and do not.
pub fn faults_and(faults: &[Fault], said: usize) {
    let mut in_files = Vec::new();
    let mut others = Vec::new();
    for fault in faults {
        match fault {
            Fault::File(at) | Fault::Named { at, .. } => in_files.push(Diagnostic::clone(at)),
            fault => others.push(fault),
        }
    }
    diagnostics(&in_files);
    for fault in others {
        remark(format_args!("error[{}]: {fault}", fault.code()));
    }
    remark(
        match faults.iter().filter(|fault| fault.is_error()).count() + said {
            1 => "1 error".to_owned(),
            count => format!("{count} errors"),
        },
    );
}

/// Columns, padded to the widest cell; the last one is left as it is.
pub fn table(header: &[&str], rows: &[Vec<String>]) {
    let mut widths: Vec<usize> = header.iter().map(|cell| columns(cell)).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(columns(cell));
        }
    }
    let print = |cells: Vec<&str>| {
        let padded: Vec<String> = cells
            .iter()
            .zip(&widths)
            .map(|(cell, width)| padded(cell, *width))
            .collect();
        line(padded.join("  ").trim_end());
    };
    print(header.to_vec());
    for row in rows {
        print(row.iter().map(String::as_str).collect());
    }
}
