//! Processor time, as Linux counts it.

use crate::Result;

/// What Linux counts processor time in, everywhere by now.
const TICKS_PER_SECOND: f64 = 100.0;

/// Processor time used up to some moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cpu {
    /// By this process.
    pub(crate) worker_seconds: f64,
    /// By all processes of the server, ended ones included.
    pub(crate) server_seconds: f64,
}

impl Cpu {
    /// Up to now, by this process and by the server whose first process has this number.
    pub(crate) fn now(server: Option<u32>) -> Result<Self> {
        let server = server.ok_or("the server has no process")?;
        let (mut worker_ticks, mut server_ticks) = (0.0, 0.0);
        for entry in std::fs::read_dir("/proc")?.flatten() {
            let name = entry.file_name();
            let Some(id) = name.to_str().and_then(|it| it.parse::<u32>().ok()) else { continue };
            // It may have ended meanwhile.
            let Some(stat) = Stat::of(id) else { continue };
            if id == std::process::id() {
                worker_ticks += stat.own;
            } else if id == server {
                server_ticks += stat.own + stat.ended_children;
            } else if stat.parent == server || stat.group == server {
                server_ticks += stat.own;
            }
        }
        Ok(Self {
            worker_seconds: worker_ticks / TICKS_PER_SECOND,
            server_seconds: server_ticks / TICKS_PER_SECOND,
        })
    }

    /// What was used since then.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            worker_seconds: self.worker_seconds - before.worker_seconds,
            server_seconds: self.server_seconds - before.server_seconds,
        }
    }
}

/// What `/proc` tells of a process, in ticks.
struct Stat {
    parent: u32,
    /// The group of processes that it belongs to.
    group: u32,
    own: f64,
    ended_children: f64,
}

impl Stat {
    fn of(process: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        // The program's name may hold spaces; what comes after it does not.
        let (_, figures) = stat.rsplit_once(") ")?;
        let figures: Vec<&str> = figures.split(' ').collect();
        let ticks = |at: usize| figures.get(at)?.parse::<f64>().ok();
        Some(Self {
            parent: figures.get(1)?.parse().ok()?,
            group: figures.get(2)?.parse().ok()?,
            own: ticks(11)? + ticks(12)?,
            ended_children: ticks(13)? + ticks(14)?,
        })
    }
}
