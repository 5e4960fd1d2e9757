//! What commands print: results on standard output, remarks and faults on standard error.

use std::io::{self, IsTerminal, Write};

use crate::rule::diagnostic::{self, Diagnostic, Look};
use crate::service::Fault;

/// A line of result. A closed pipe (`callseal check | head`) is no reason to fail.
pub fn line(text: impl std::fmt::Display) {
    let _ = writeln!(io::stdout().lock(), "{text}");
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

fn look() -> Look {
    match io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        true => Look::Colour,
        false => Look::Plain,
    }
}

/// Remarks on files, each with its place and a caret.
pub fn diagnostics(diagnostics: &[Diagnostic]) {
    if !diagnostics.is_empty() {
        remark(diagnostic::render(diagnostics, look()).trim_end());
    }
}

/// Every fault, those in files with their places.
pub fn faults(faults: Vec<Fault>) {
    faults_and(faults, 0);
}

/// The same; some were said already, and count.
pub fn faults_and(faults: Vec<Fault>, said: usize) {
    let count = faults.len() + said;
    let mut in_files = Vec::new();
    let mut others = Vec::new();
    for fault in faults {
        match fault {
            Fault::File(diagnostic) => in_files.push(*diagnostic),
            Fault::Key { .. }
            | Fault::SignWith { .. }
            | Fault::DestinationTls { .. }
            | Fault::Tls(_)
            | Fault::AdminTls(_)
            | Fault::Roots(_)
            | Fault::Store(_)
            | Fault::Token(_)
            | Fault::Outlet { .. }
            | Fault::Directory { .. }
            | Fault::Bind { .. }
            | Fault::Thread { .. }
            | Fault::NoSources { .. } => others.push(fault),
        }
    }
    diagnostics(&in_files);
    for fault in others {
        let code = match &fault {
            Fault::Key { error, .. } => format!("[{}]", error.code()),
            Fault::File(_)
            | Fault::SignWith { .. }
            | Fault::DestinationTls { .. }
            | Fault::Tls(_)
            | Fault::AdminTls(_)
            | Fault::Roots(_)
            | Fault::Store(_)
            | Fault::Token(_)
            | Fault::Outlet { .. }
            | Fault::Directory { .. }
            | Fault::Bind { .. }
            | Fault::Thread { .. }
            | Fault::NoSources { .. } => String::new(),
        };
        remark(format_args!("error{code}: {fault}"));
    }
    remark(match count {
        1 => "1 error".to_owned(),
        count => format!("{count} errors"),
    });
}

/// Columns, padded to the widest cell; the last one is left as it is.
pub fn table(header: &[&str], rows: &[Vec<String>]) {
    let mut widths: Vec<usize> = header.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let print = |cells: Vec<&str>| {
        let padded: Vec<String> = cells
            .iter()
            .zip(&widths)
            .map(|(cell, width)| {
                format!(
                    "{cell}{}",
                    " ".repeat(width.saturating_sub(cell.chars().count()))
                )
            })
            .collect();
        line(padded.join("  ").trim_end());
    };
    print(header.to_vec());
    for row in rows {
        print(row.iter().map(String::as_str).collect());
    }
}
