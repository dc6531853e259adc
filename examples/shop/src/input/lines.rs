//! The lines of a file, one at a time and in bounded memory.

use std::io::{self, BufRead, Read};

/// The longest line that is read whole, without its line end.
pub(super) const LINE_BYTES_MAX: usize = 64 * 1024;

/// As much of a longer line as is kept to show.
const EXCERPT_BYTES: usize = 1024;

/// One line of the file.
#[derive(Debug)]
pub(super) struct RawLine {
    /// Counted from 1, as editors do.
    pub(super) number: u64,
    /// What stands on it.
    pub(super) content: Content,
}

/// What stands on a line, without its line end.
#[derive(Debug)]
pub(super) enum Content {
    /// Nothing but white space.
    Blank,
    /// The line as text.
    Whole(String),
    /// The start of a line of more than [`LINE_BYTES_MAX`] bytes, and a note of its length with
    /// the line end.
    TooLong(String),
}

/// Hands out the lines of a reader; no line, however long, takes more memory than
/// [`LINE_BYTES_MAX`].
#[derive(Debug)]
pub(super) struct Lines<R> {
    /// Where the bytes come from.
    reader: R,
    /// The number of the line handed out last.
    number: u64,
}

impl<R: BufRead> Lines<R> {
    /// Starts at the first line of `reader`.
    pub(super) fn new(reader: R) -> Self {
        Self { reader, number: 0 }
    }

    /// The next line, or `None` at the end.
    pub(super) fn next_line(&mut self) -> io::Result<Option<RawLine>> {
        let Some(content) = self.next_content()? else {
            return Ok(None);
        };
        self.number += 1;
        Ok(Some(RawLine { number: self.number, content }))
    }

    /// Reads up to the next line feed.
    fn next_content(&mut self) -> io::Result<Option<Content>> {
        // Room for the longest line and both bytes of its end: a longer one shows by being cut.
        let limit = LINE_BYTES_MAX + 2;
        let mut bytes = Vec::new();
        let read = Read::take(&mut self.reader, limit as u64).read_until(b'\n', &mut bytes)?;
        if read == 0 {
            return Ok(None);
        }
        let line = without_line_end(&bytes);
        Ok(Some(if line.len() > LINE_BYTES_MAX {
            let is_cut = bytes.last() != Some(&b'\n');
            let skipped = if is_cut { self.skip_line()? } else { 0 };
            let start = text_of(line.get(..EXCERPT_BYTES).unwrap_or(line));
            Content::TooLong(format!("{start}… [{} bytes in all]", read as u64 + skipped))
        } else if line.trim_ascii().is_empty() {
            Content::Blank
        } else {
            Content::Whole(text_of(line))
        }))
    }

    /// Passes over the rest of the line; returns its length with the line end.
    fn skip_line(&mut self) -> io::Result<u64> {
        let mut skipped = 0;
        loop {
            let buffered = self.reader.fill_buf()?;
            let end = buffered.iter().position(|byte| *byte == b'\n');
            let used = end.map_or(buffered.len(), |at| at + 1);
            let at_end = end.is_some() || buffered.is_empty();
            skipped += used as u64;
            self.reader.consume(used);
            if at_end {
                return Ok(skipped);
            }
        }
    }
}

/// The line without LF or CRLF.
fn without_line_end(bytes: &[u8]) -> &[u8] {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    bytes.strip_suffix(b"\r").unwrap_or(bytes)
}

/// UTF-8 where it is valid; otherwise Latin-1, in which every byte is a character.
fn text_of(bytes: &[u8]) -> String {
    match str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().copied().map(char::from).collect(),
    }
}
