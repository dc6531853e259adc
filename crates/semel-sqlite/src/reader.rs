//! Reads on connections of their own.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use semel_core::StoreError;

use crate::file::Place;

/// How many idle connections are kept.
const IDLE_MAX: usize = 8;

/// Connections that only read. Each read sees all that was committed before it began.
///
/// A point read takes some microseconds on the caller's thread, and readers never wait for the
/// writer: handing it to another thread and back would cost several times as much.
#[derive(Debug)]
pub(crate) struct Reader {
    idle: Mutex<Vec<Connection>>,
    place: Arc<Place>,
}

impl Reader {
    pub(crate) fn new(place: &Arc<Place>) -> Self {
        Self { idle: Mutex::default(), place: place.clone() }
    }

    /// Asks `question` here and now.
    pub(crate) fn ask<T>(
        &self,
        operation: &'static str,
        question: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let connection = self.take()?;
        let answer = question(&connection);
        self.give_back(connection);
        answer.map_err(|error| self.place.translate(operation, &error))
    }

    fn take(&self) -> Result<Connection, StoreError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.map_or_else(|| self.place.open_reader(), Ok)
    }

    fn give_back(&self, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(connection);
        }
    }
}
