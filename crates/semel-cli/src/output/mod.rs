//! The one place that writes to the terminal.

pub(crate) mod age;
pub(crate) mod data;
pub(crate) mod table;
pub(crate) mod text;

use std::io::{self, Stdout, Write as _};

use serde::Serialize;

use crate::failure::Failure;

/// For whom the output is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people: sentences and tables.
    Human,
    /// For programs: JSON.
    Json,
}

/// Whether anyone reads the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    Listens,
    Left,
}

/// The standard output.
///
/// A reader that left (`… | head -1`) is no failure, and does not stop a repair half way: what
/// nobody reads is dropped.
#[derive(Debug)]
pub(crate) struct Output {
    format: Format,
    stdout: Stdout,
    reader: Reader,
}

impl Output {
    /// The standard output of this process.
    pub(crate) fn new(format: Format) -> Self {
        Self { format, stdout: io::stdout(), reader: Reader::Listens }
    }

    /// For whom it is.
    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// Whether further output is lost.
    pub(crate) fn reader_left(&self) -> bool {
        self.reader == Reader::Left
    }

    /// How many columns the terminal has; `None` where the output goes elsewhere.
    pub(crate) fn width(&self) -> Option<u16> {
        terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| width.0)
    }

    /// Empties the terminal; nothing where the output goes elsewhere.
    pub(crate) fn clear(&mut self) -> Result<(), Failure> {
        match self.width() {
            Some(_) => self.bytes(b"\x1b[2J\x1b[H"),
            None => Ok(()),
        }
    }

    /// Writes a line, or several.
    pub(crate) fn line(&mut self, text: &str) -> Result<(), Failure> {
        self.bytes(text.as_bytes())?;
        self.bytes(b"\n")
    }

    /// Writes a JSON document over several lines.
    pub(crate) fn json(&mut self, document: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(document).map_err(io::Error::from)?;
        self.line(&text)
    }

    /// Writes a JSON document on one line, as one of many.
    pub(crate) fn json_line(&mut self, document: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(document).map_err(io::Error::from)?;
        self.line(&text)
    }

    /// Writes bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if self.reader_left() {
            return Ok(());
        }
        match self.stdout.write_all(bytes).and_then(|()| self.stdout.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.reader = Reader::Left;
                Ok(())
            }
            written => Ok(written?),
        }
    }
}

/// Writes a line to the standard error stream. If even that fails, the exit code must do.
pub(crate) fn complain(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", text.trim_end());
}
