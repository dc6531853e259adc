//! The file in which faults are written down.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;

/// How often each kind of fault has happened.
pub(super) type Counts = BTreeMap<String, u64>;

/// Counts faults as they are written: one kind on a line, appended by several processes.
#[derive(Debug)]
pub(super) struct Faults {
    path: PathBuf,
    /// How far the file was read: always up to the end of a line.
    read: u64,
    counts: Counts,
}

impl Faults {
    /// Starts at the beginning of the file at `path`, which need not be there yet.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, read: 0, counts: Counts::new() }
    }

    /// Reads on, and returns the counts so far.
    pub(super) fn look(&mut self) -> io::Result<Counts> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Counts::new()),
            Err(error) => return Err(error),
        };
        if file.metadata()?.len() < self.read {
            // Another file lies there now.
            (self.read, self.counts) = (0, Counts::new());
        }
        file.seek(SeekFrom::Start(self.read))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        // The last line may be half written.
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        for line in bytes.get(..whole).unwrap_or_default().split(|byte| *byte == b'\n') {
            let kind = String::from_utf8_lossy(line.trim_ascii());
            if !kind.is_empty() {
                *self.counts.entry(kind.into_owned()).or_default() += 1;
            }
        }
        self.read += whole as u64;
        Ok(self.counts.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;

    use super::*;

    fn counts<const N: usize>(counts: [(&str, u64); N]) -> Counts {
        counts.map(|(kind, count)| (kind.to_owned(), count)).into()
    }

    #[test]
    fn whole_lines_are_counted_once_each() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("faults.txt");
        let mut faults = Faults::new(path.clone());
        assert_eq!(faults.look().unwrap(), counts([]));

        let mut file = File::options().create(true).append(true).open(&path).unwrap();
        file.write_all(b"worker_killed\nmessage_delayed\nworker_").unwrap();
        assert_eq!(faults.look().unwrap(), counts([("message_delayed", 1), ("worker_killed", 1)]));
        file.write_all(b"killed\n\n").unwrap();
        assert_eq!(faults.look().unwrap(), counts([("message_delayed", 1), ("worker_killed", 2)]));
        assert_eq!(faults.look().unwrap(), counts([("message_delayed", 1), ("worker_killed", 2)]));
    }

    #[test]
    fn a_file_that_begins_anew_is_counted_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("faults.txt");
        let mut faults = Faults::new(path.clone());
        fs::write(&path, "message_delayed\nmessage_delayed\n").unwrap();
        faults.look().unwrap();
        fs::write(&path, "worker_killed\n").unwrap();
        assert_eq!(faults.look().unwrap(), counts([("worker_killed", 1)]));
    }

    #[test]
    fn a_path_that_cannot_be_read_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        Faults::new(folder.path().to_owned()).look().unwrap_err();
    }
}
