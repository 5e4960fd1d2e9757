//! The work of the store's threads, done by hand: whoever calls decides when, and the same calls do
//! the same things again. For simulations.

use std::sync::Arc;

use super::open::EmbeddedConfig;
use super::queue::{Command, End};
use super::shared::Shared;
use super::upkeep::tend_index;
use super::writer::Writer;

pub(super) struct Hands {
    writer: Writer,
    batch: Vec<Command>,
    shared: Arc<Shared>,
    config: EmbeddedConfig,
    rebuilds: u32,
}

impl Hands {
    pub(super) fn new(writer: Writer, shared: Arc<Shared>, config: EmbeddedConfig) -> Self {
        Hands {
            writer,
            batch: Vec::new(),
            shared,
            config,
            rebuilds: 0,
        }
    }

    /// A segment is made ready, what waits is made durable, and the index brought up to date.
    pub(super) fn turn(&mut self) {
        self.shared.room.turn();
        self.writer.turn(&mut self.batch, false);
        if let Some(work) = self.shared.checkpoint.look() {
            tend_index(&self.shared, &self.config, &mut self.rebuilds, work);
        }
    }

    /// The end of the threads: everything is done first, or nothing more.
    pub(super) fn finish(mut self, how: End) {
        while self.writer.turn(&mut self.batch, false) {}
        if how == End::Drain {
            self.shared.checkpoint.ring(|work| work.stop = true);
            if let Some(work) = self.shared.checkpoint.look() {
                tend_index(&self.shared, &self.config, &mut self.rebuilds, work);
            }
        }
    }
}
