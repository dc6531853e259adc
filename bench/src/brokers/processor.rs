//! Processor time, as Linux counts it.

use crate::Result;

/// What Linux counts processor time in, everywhere by now.
const TICKS_PER_SECOND: f64 = 100.0;

/// This process, and the group of processes of a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Processor {
    own: u32,
    server: u32,
}

impl Processor {
    /// The server whose first process this is.
    pub(crate) fn of(server: Option<u32>) -> Self {
        Self { own: std::process::id(), server: server.unwrap_or_default() }
    }

    /// Seconds that this process and the server have used so far.
    pub(crate) fn used(self) -> Result<(f64, f64)> {
        let (mut own, mut server) = (0.0, 0.0);
        for entry in std::fs::read_dir("/proc")?.flatten() {
            let name = entry.file_name();
            let Some(process) = name.to_str().and_then(|it| it.parse::<u32>().ok()) else {
                continue;
            };
            // It may have ended meanwhile.
            let Ok(stat) = std::fs::read_to_string(format!("/proc/{process}/stat")) else {
                continue;
            };
            let Some((_, figures)) = stat.rsplit_once(") ") else { continue };
            let figures: Vec<&str> = figures.split(' ').collect();
            let number = |at: usize| figures.get(at).and_then(|it| it.parse::<f64>().ok());
            let ticks = number(11).unwrap_or_default() + number(12).unwrap_or_default();
            if process == self.own {
                own += ticks;
            } else if number(2) == Some(f64::from(self.server)) {
                server += ticks;
            }
        }
        Ok((own / TICKS_PER_SECOND, server / TICKS_PER_SECOND))
    }

    /// What has been used since.
    pub(crate) fn since(self, before: (f64, f64)) -> Result<(f64, f64)> {
        let now = self.used()?;
        Ok((now.0 - before.0, now.1 - before.1))
    }
}
