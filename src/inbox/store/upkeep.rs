//! The thread that keeps the index: checkpoints, an index that broke made anew, and space that sealed
//! segments have left over.

use std::sync::Arc;

use super::checkpoint;
use super::index::{Index, index_path};
use super::open::EmbeddedConfig;
use super::shared::{Shared, Work};

/// How often a broken index is made anew before the store goes on without.
const REBUILDS: u32 = 3;

/// The checkpoint thread.
pub(super) fn keep_index(shared: &Shared, config: &EmbeddedConfig) {
    // However this thread ends, the writer must not wait for it any more.
    let _gone = Gone(shared);
    let mut rebuilds = 0;
    while tend_index(shared, config, &mut rebuilds, shared.checkpoint.wait()) {}
}

/// What was asked of the checkpoint thread. False when its work has ended.
pub(super) fn tend_index(
    shared: &Shared,
    config: &EmbeddedConfig,
    rebuilds: &mut u32,
    work: Work,
) -> bool {
    if work.abandon {
        return false;
    }
    trim(shared);
    let mut broken = work.rebuild && shared.index().is_some();
    while !broken && (checkpoint::due(shared) || work.stop) {
        let Some(index) = shared.index() else { break };
        if let Err(e) = checkpoint::checkpoint(shared, &index) {
            tracing::error!(error = %e, "a checkpoint failed");
            broken = true;
        }
        // The writer may be waiting for just this one, whatever is still to be done.
        shared.checkpoint.tell_done(false);
        if work.stop && !checkpoint::due(shared) {
            break;
        }
    }
    if broken && !work.stop {
        *rebuilds += 1;
        rebuild(shared, config, *rebuilds <= REBUILDS);
    }
    shared.checkpoint.tell_done(false);
    !work.stop
}

struct Gone<'a>(&'a Shared);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        self.0.checkpoint.tell_done(true);
        if std::thread::panicking() {
            tracing::error!(
                "the thread of the index has stopped by a bug: rows stay in memory, and the next start reads the journal"
            );
        }
    }
}

/// Throws the index away. The rows come back from the journal, and the next checkpoint writes them.
fn rebuild(shared: &Shared, config: &EmbeddedConfig, again: bool) {
    shared.set_index(None);
    let path = index_path(&config.directory);
    if let Err(e) = checkpoint::rows_from_journal(shared) {
        tracing::error!(error = %e, "the rows of the list cannot be read from the journal");
        return;
    }
    if !again {
        tracing::error!("the index keeps breaking: going on without; the next start makes it anew");
        let _ = Index::wipe(&path);
        return;
    }
    tracing::warn!("making the index anew");
    match Index::wipe(&path)
        .map_err(Into::into)
        .and_then(|()| Index::open(&path, config.index_cache_bytes))
    {
        Ok(index) => {
            shared.set_index(Some(Arc::new(index)));
            shared.checkpoint.ring(|work| work.checkpoint = true);
        }
        Err(e) => tracing::error!(error = %e, "no index can be made: going on without"),
    }
}

/// Gives back what sealed segments have left over of their preallocated space.
fn trim(shared: &Shared) {
    let mut sealed = Vec::new();
    for segment in shared.catalog.lock().segments.values() {
        if segment.sealed && !segment.damaged && segment.bytes > u64::from(segment.end) {
            sealed.push((Arc::clone(&segment.file), segment.end));
        }
    }
    for (file, end) in sealed {
        // Whether it works and stays so is no matter of correctness: there are only zeros.
        if file.file.set_len(u64::from(end)).is_ok()
            && let Some(segment) = shared.catalog.lock().segments.get_mut(&file.number())
        {
            segment.bytes = u64::from(end);
        }
    }
}
