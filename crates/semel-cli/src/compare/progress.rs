//! How far it is: one line on the standard error stream, where that is a terminal.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicUsize, Ordering};

use semel_check::compare::FaultClass;

/// The line.
#[derive(Debug)]
pub(super) struct Progress {
    jobs: usize,
    done: AtomicUsize,
    shows: bool,
}

impl Progress {
    pub(super) fn new(jobs: usize) -> Self {
        Self { jobs, done: AtomicUsize::new(0), shows: io::stderr().is_terminal() }
    }

    pub(super) fn begin(&self, row: &str, class: FaultClass) {
        let done = self.done.load(Ordering::Relaxed);
        self.show(&format!("{done} of {}: {row}, {}", self.jobs, class.name()));
    }

    pub(super) fn end(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn clear(&self) {
        self.show("");
    }

    fn show(&self, text: &str) {
        if self.shows {
            // Nobody misses a line of progress that cannot be written.
            let _ = write!(io::stderr().lock(), "\r\x1b[2K{text}");
        }
    }
}
