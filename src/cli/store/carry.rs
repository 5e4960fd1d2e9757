//! `callseal store export` and `import`.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;

use super::{close, failed, held, open, open_or_make, progress};
use crate::cli::operate::view;
use crate::cli::{EXIT_DAMAGED, EXIT_DISK, EXIT_FAILED, output};
use crate::clock::SystemClock;
use crate::inbox::store::Acceptance;
use crate::inbox::store::embedded::{Embedded, EmbeddedConfig};
use crate::inbox::store::offline::export::{ExportError, Exported};
use crate::inbox::store::offline::import::{Import, Importer, Inspected, Lines, inspect};
use crate::inbox::store::offline::lines::Record;
use crate::random::SystemRandom;

#[derive(Debug, clap::Args)]
pub struct ExportOptions {
    /// File to write, which must not be there; `-`: standard output
    file: PathBuf,
}

#[derive(Debug, clap::Args)]
pub struct ImportOptions {
    /// File that `export` has written
    file: PathBuf,
    /// Take in what is whole, though some lines are damaged
    #[arg(long)]
    skip_damaged: bool,
    /// Write to this file under which new id each event is found: `OLD NEW`, a line each
    #[arg(long, value_name = "FILE")]
    ids: Option<PathBuf>,
}

fn broken(what: &str, path: &Path, error: &io::Error) -> u8 {
    output::remark(format_args!("error: {what} {}: {error}", path.display()));
    EXIT_DISK
}

pub fn export(config: EmbeddedConfig, options: &ExportOptions, as_json: bool) -> Result<(), u8> {
    let path = &options.file;
    let to_stdout = path.as_os_str() == "-";
    // It holds payments, and the secret behind the idempotency keys: the owner's alone.
    let file = match to_stdout {
        true => None,
        false => Some(
            OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(path)
                .map_err(|e| broken("making", path, &e))?,
        ),
    };
    let written = write_out(config, file.as_ref());
    if written.is_err() && !to_stdout {
        // Half an export is none.
        let _ = std::fs::remove_file(path);
    }
    let Exported {
        events,
        deeds,
        damaged,
    } = written?;
    let said = match as_json {
        true => json!({ "events": events, "deeds": deeds, "damaged": damaged }).to_string(),
        false => format!(
            "{events} events exported, {deeds} deeds of operators, {damaged} damaged places left out"
        ),
    };
    match to_stdout || !as_json {
        true => output::remark(said),
        false => output::line(said),
    }
    match damaged {
        0 => Ok(()),
        _ => Err(EXIT_DAMAGED),
    }
}

fn write_out(config: EmbeddedConfig, file: Option<&File>) -> Result<Exported, u8> {
    let store = open(config)?;
    let mut say = progress("exported");
    let done = match file {
        Some(file) => store
            .export(&mut BufWriter::with_capacity(1 << 20, file), &mut say)
            .and_then(|done| {
                file.sync_all().map_err(ExportError::Writing)?;
                Ok(done)
            }),
        None => store.export(&mut BufWriter::new(io::stdout().lock()), &mut say),
    };
    let done = done.map_err(|error| {
        output::remark(format_args!("error: {error}"));
        EXIT_DISK
    })?;
    close(&store)?;
    Ok(done)
}

/// What came of an import.
#[derive(Default)]
struct Taken {
    new: u64,
    there: u64,
    deeds: u64,
    skipped: u64,
}

pub fn import(config: EmbeddedConfig, options: &ImportOptions, as_json: bool) -> Result<(), u8> {
    let path = &options.file;
    let reader = || File::open(path).map(|file| BufReader::with_capacity(1 << 20, file));
    let inspected = reader()
        .and_then(inspect)
        .map_err(|e| broken("reading", path, &e))?;
    for flaw in &inspected.flaws {
        let flaw = view::visible(&flaw.to_string());
        output::remark(format_args!("DAMAGED {}: {flaw}", path.display()));
    }
    let Inspected {
        head,
        flaws,
        spoken_of,
        ..
    } = inspected;
    let keys = head.and_then(|head| head.keys().ok());
    let Some(keys) = keys.filter(|_| flaws.is_empty() || options.skip_damaged) else {
        output::remark(match options.skip_damaged {
            true => "error: without its first line nothing of it can be taken in",
            false => "error: nothing was taken in; --skip-damaged takes in what is whole",
        });
        return Err(EXIT_DAMAGED);
    };
    let found = |own: &[u8; 32]| {
        let (clock, random) = (Arc::new(SystemClock), Arc::new(SystemRandom));
        held(&config.directory, || {
            Embedded::found(&config.directory, clock, random, *own)
        })
    };
    let _founded = keys.first().map(found).transpose()?;
    let mut store = open_or_make(config)?;
    store.know_keys(&keys).map_err(|error| {
        output::remark(format_args!("error: {error}"));
        EXIT_FAILED
    })?;
    let mut ids = match &options.ids {
        Some(path) => {
            let file = File::create(path).map_err(|e| broken("making", path, &e))?;
            Some(BufWriter::new(file))
        }
        None => None,
    };
    let lines = Lines::new(reader().map_err(|e| broken("reading", path, &e))?);
    let importer = Importer::new(&store, spoken_of).map_err(|e| failed(&e))?;
    let taken = take_in(importer, lines, path, &mut ids);
    close(&store)?;
    let Taken {
        new,
        there,
        deeds,
        skipped,
    } = taken?;
    match as_json {
        true => output::line(json!({
            "new": new,
            "there": there,
            "deeds": deeds,
            "skipped_lines": skipped,
        })),
        false => output::line(format_args!(
            "{new} events taken in, {there} were there already; {deeds} deeds of operators taken in; {skipped} damaged lines left out"
        )),
    }
    match flaws.is_empty() {
        true => Ok(()),
        false => Err(EXIT_DAMAGED),
    }
}

/// Events and bytes that are taken in at a time.
const BATCH: usize = 1000;
const BATCH_BYTES: usize = 8 << 20;

fn take_in(
    mut importer: Importer<'_>,
    mut lines: Lines<BufReader<File>>,
    path: &Path,
    ids: &mut Option<BufWriter<File>>,
) -> Result<Taken, u8> {
    let mut taken = Taken::default();
    let mut batch: Vec<Import> = Vec::new();
    let mut bytes = 0;
    loop {
        let line = lines.next_line().map_err(|e| broken("reading", path, &e))?;
        let ended = line.is_none();
        let mut deed = None;
        match line.map(|line| line.read) {
            Some(Ok((Record::Event(event), _))) => match Import::new(*event) {
                Ok(one) => {
                    bytes += one.bytes();
                    batch.push(one);
                }
                Err(_) => taken.skipped += 1,
            },
            Some(Ok((Record::Deed(line), _))) => match line.word() {
                Ok(_) => deed = Some(line),
                Err(_) => taken.skipped += 1,
            },
            Some(Err(_)) => taken.skipped += 1,
            Some(Ok((Record::Head(_) | Record::End(_), _))) | None => {}
        }
        let full = batch.len() >= BATCH || bytes >= BATCH_BYTES;
        if ended || full || deed.is_some() {
            events(&mut importer, &batch, &mut taken, path, ids)?;
            batch.clear();
            bytes = 0;
        }
        if let Some(deed) = deed {
            let new = importer.deed(&deed).map_err(|e| failed(&e))?;
            taken.deeds += u64::from(new);
        }
        if ended {
            if let Some(ids) = ids {
                ids.flush().map_err(|e| broken("writing", path, &e))?;
            }
            return Ok(taken);
        }
    }
}

fn events(
    importer: &mut Importer<'_>,
    batch: &[Import],
    taken: &mut Taken,
    path: &Path,
    ids: &mut Option<BufWriter<File>>,
) -> Result<(), u8> {
    for (answer, one) in importer.events(batch).into_iter().zip(batch) {
        let id = match answer.map_err(|e| failed(&e))? {
            Acceptance::New(id) | Acceptance::Conflict { id, .. } => {
                taken.new += 1;
                id
            }
            Acceptance::Duplicate(id)
            | Acceptance::Dropped { of: id }
            | Acceptance::Refused { of: id } => {
                taken.there += 1;
                id
            }
        };
        if let Some(ids) = ids {
            writeln!(ids, "{} {id}", one.id()).map_err(|e| broken("writing", path, &e))?;
        }
    }
    Ok(())
}
