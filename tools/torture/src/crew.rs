//! The processes of the shop: started, killed, stopped, and started again whatever ended them.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};

use crate::Trouble;
use crate::plan::{EDGE, Member};
use crate::stack::Ground;

/// How long after its end a process is started again.
const RESTART: Duration = Duration::from_millis(200);
/// How long a process may take to stop by itself.
const PATIENCE: Duration = Duration::from_secs(20);

/// How to start every process.
#[derive(Clone, Debug)]
pub(crate) struct Orders {
    /// Logs, histories and the list of faults lie here.
    pub(crate) folder: PathBuf,
    pub(crate) protocol: String,
    pub(crate) seed: u64,
    /// How far the clock of each process is ahead, in seconds.
    pub(crate) clocks: BTreeMap<Member, i64>,
    /// Whether the processes also do harm to their own messages and commits.
    pub(crate) has_chaos: bool,
}

impl Orders {
    /// Where the processes write down the faults that they inject themselves.
    pub(crate) fn faults(&self) -> PathBuf {
        self.folder.join("faults")
    }
}

/// All processes.
#[derive(Debug)]
pub(crate) struct Crew {
    orders: Orders,
    members: BTreeMap<Member, Post>,
    /// Counts starts: each has faults of its own.
    lives: u64,
    /// Processes that were killed by someone else.
    pub(crate) killed_by_others: u64,
    /// Processes that ended by themselves: what each said last.
    pub(crate) ended: Vec<String>,
    /// Processes that crashed, or did not end when they should.
    pub(crate) crashed: Vec<String>,
}

/// The signals by which others end a process. By any other it has ended itself.
const BY_OTHERS: [i32; 4] = [1, 2, 9, 15];

/// How a process crashed, if it did.
fn crash(member: Member, status: ExitStatus) -> Option<String> {
    let signal = status.signal().filter(|signal| !BY_OTHERS.contains(signal))?;
    Some(format!("{member}: signal {signal}"))
}

/// A place for a process, and the one that is there.
#[derive(Debug)]
struct Post {
    arguments: Vec<String>,
    child: Option<Child>,
    /// When the next one starts, where there is none.
    start_at: Instant,
    /// Until when the process stands still.
    stopped_until: Option<Instant>,
}

impl Crew {
    /// Starts every member.
    pub(crate) fn start(
        orders: Orders,
        members: &[Member],
        ground: &Ground,
    ) -> Result<Self, Trouble> {
        let post = |member: &Member| {
            let arguments = arguments(*member, ground);
            let start_at = Instant::now();
            (*member, Post { arguments, child: None, start_at, stopped_until: None })
        };
        let members = members.iter().map(post).collect();
        let mut crew = Self {
            orders,
            members,
            lives: 0,
            killed_by_others: 0,
            ended: Vec::new(),
            crashed: Vec::new(),
        };
        crew.tend()?;
        Ok(crew)
    }

    /// Kills a process. `false` if there is none at the moment.
    pub(crate) fn kill(&mut self, member: Member) -> Result<bool, Trouble> {
        let Some(post) = self.members.get_mut(&member) else { return Ok(false) };
        let Some(mut child) = post.child.take() else { return Ok(false) };
        // It is reaped in the background.
        child.start_kill().map_err(Trouble::io("cannot kill a process"))?;
        post.start_at = Instant::now() + RESTART;
        post.stopped_until = None;
        Ok(true)
    }

    /// Lets a process stand still for a while. `false` if there is none that does not already.
    pub(crate) fn stop(&mut self, member: Member, time: Duration) -> Result<bool, Trouble> {
        let Some(post) = self.members.get_mut(&member) else { return Ok(false) };
        if post.child.is_none() || post.stopped_until.is_some() {
            return Ok(false);
        }
        post.signal("STOP")?;
        post.stopped_until = Some(Instant::now() + time);
        Ok(true)
    }

    /// Wakes those whose time has come, and starts those who are not there.
    pub(crate) fn tend(&mut self) -> Result<(), Trouble> {
        for (member, post) in &mut self.members {
            if post.stopped_until.is_some_and(|until| Instant::now() >= until) {
                post.wake()?;
            }
            if let Some(child) = &mut post.child
                && let Some(status) = child.try_wait().map_err(Trouble::io("cannot wait"))?
            {
                match crash(*member, status) {
                    Some(crash) => self.crashed.push(crash),
                    None if status.signal().is_some() => self.killed_by_others += 1,
                    None => self.ended.push(last_words(&self.orders.folder, *member)),
                }
                post.child = None;
                post.stopped_until = None;
                post.start_at = Instant::now() + RESTART;
            }
            if post.child.is_none() && Instant::now() >= post.start_at {
                self.lives += 1;
                post.child = Some(self.orders.spawn(*member, post, self.lives)?);
            }
        }
        Ok(())
    }

    /// Wakes everyone.
    pub(crate) fn heal(&mut self) -> Result<(), Trouble> {
        self.members.values_mut().try_for_each(Post::wake)
    }

    /// Lets all end by themselves, and insists after a while. Tells who crashed or had to be killed.
    pub(crate) async fn dismiss(mut self) -> Result<Vec<String>, Trouble> {
        self.heal()?;
        let there = |(member, post): (Member, Post)| Some((member, post.child?));
        let mut children: Vec<(Member, Child)> =
            self.members.into_iter().filter_map(there).collect();
        children.iter_mut().for_each(|(_, child)| drop(child.stdin.take()));
        for (member, mut child) in children {
            match tokio::time::timeout(PATIENCE, child.wait()).await {
                Ok(ended) => {
                    let status = ended.map_err(Trouble::io("cannot wait"))?;
                    self.crashed.extend(crash(member, status));
                }
                Err(_) => {
                    child.kill().await.map_err(Trouble::io("cannot kill a process"))?;
                    self.crashed.push(format!("{member}: did not end when it should"));
                }
            }
        }
        Ok(self.crashed)
    }

    /// The members whose logs tell of a panic.
    pub(crate) fn panics(orders: &Orders, members: &[Member]) -> Vec<String> {
        let log = |member: &Member| std::fs::read_to_string(log(&orders.folder, *member));
        let panicked = |member: &Member| log(member).unwrap_or_default().contains("panicked at");
        members.iter().filter(|member| panicked(member)).map(ToString::to_string).collect()
    }
}

impl Post {
    fn wake(&mut self) -> Result<(), Trouble> {
        match self.stopped_until.take() {
            Some(_) => self.signal("CONT"),
            None => Ok(()),
        }
    }

    fn signal(&self, signal: &str) -> Result<(), Trouble> {
        let Some(process) = self.child.as_ref().and_then(Child::id) else { return Ok(()) };
        let mut kill = std::process::Command::new("kill");
        kill.arg(format!("-{signal}")).arg(process.to_string()).stderr(Stdio::null());
        // It may have ended a moment ago; then it needs no signal.
        kill.status().map(drop).map_err(Trouble::io("cannot run `kill`"))
    }
}

impl Orders {
    fn spawn(&self, member: Member, post: &Post, life: u64) -> Result<Child, Trouble> {
        let program = std::env::current_exe().map_err(Trouble::io("where is this program?"))?;
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(log(&self.folder, member))
            .map_err(Trouble::io("a log cannot be written"))?;
        let mut command = std::process::Command::new(program);
        match self.clocks.get(&member) {
            None | Some(0) => {}
            Some(ahead_s) => semel_servers::set_clock(&mut command, *ahead_s)?,
        }
        let mut command = Command::from(command);
        command.arg("shop").args(&post.arguments);
        command.arg("--history").arg(history(&self.folder, member));
        command.args(["--tied", "--protocol", &self.protocol]);
        let seed = self.seed.wrapping_mul(1_000_003).wrapping_add(life);
        command.arg("--seed").arg(seed.to_string());
        if self.has_chaos {
            command.arg("--chaos").arg(self.faults());
        }
        // The input stays open as long as this process lives: no child outlives it. A group of its
        // own: the terminal's Ctrl-C is for this process alone.
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log);
        command.process_group(0).kill_on_drop(true);
        command.spawn().map_err(Trouble::io("a process of the shop does not start"))
    }
}

/// How a member is started, but for what all have in common.
fn arguments(member: Member, ground: &Ground) -> Vec<String> {
    let (who, mut arguments) = match member {
        Member::Edge => {
            let listen = format!("127.0.0.1:{}", ground.edge_port());
            (
                EDGE,
                vec!["serve", "--services", "elsewhere", "--listen", &listen]
                    .into_iter()
                    .map(str::to_owned)
                    .collect::<Vec<_>>(),
            )
        }
        Member::Worker(service, _) => {
            (service, ["worker", "--service", service].map(str::to_owned).to_vec())
        }
    };
    let (store, broker) = ground.urls_of(who);
    arguments.extend(["--store".to_owned(), store]);
    arguments.extend(broker.into_iter().flat_map(|broker| ["--broker".to_owned(), broker]));
    arguments
}

/// What a member writes down of its messages.
pub(crate) fn history(folder: &Path, member: Member) -> PathBuf {
    folder.join(format!("{member}.history"))
}

fn log(folder: &Path, member: Member) -> PathBuf {
    folder.join(format!("{member}.log"))
}

fn last_words(folder: &Path, member: Member) -> String {
    let text = std::fs::read_to_string(log(folder, member)).unwrap_or_default();
    let line = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("nothing said");
    format!("{member}: {line}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    /// A crew of one process, which is a shell with this script.
    fn crew(folder: &Path, script: &str) -> Crew {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::piped()).stderr(Stdio::null());
        let child = Some(command.kill_on_drop(true).spawn().unwrap());
        let post =
            Post { arguments: Vec::new(), child, start_at: Instant::now(), stopped_until: None };
        let orders = Orders {
            folder: folder.to_owned(),
            protocol: "transactional".to_owned(),
            seed: 1,
            clocks: BTreeMap::new(),
            has_chaos: false,
        };
        let (members, nothing) = (BTreeMap::from([(Member::Edge, post)]), Vec::new);
        let (ended, crashed) = (nothing(), nothing());
        Crew { orders, members, lives: 0, killed_by_others: 0, ended, crashed }
    }

    /// Crashes, processes that others killed, and processes that ended by themselves.
    async fn count(script: &str) -> (Vec<String>, u64, usize) {
        let folder = tempfile::tempdir().unwrap();
        let mut crew = crew(folder.path(), script);
        while crew.members.values().all(|post| post.child.is_some()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
            crew.tend().unwrap();
        }
        (crew.crashed.clone(), crew.killed_by_others, crew.ended.len())
    }

    #[tokio::test]
    async fn a_process_that_crashes_is_told_from_one_that_was_killed_and_one_that_ended() {
        assert_eq!(count("kill -ABRT $$").await, (vec!["edge: signal 6".to_owned()], 0, 0));
        assert_eq!(count("kill -SEGV $$").await, (vec!["edge: signal 11".to_owned()], 0, 0));
        assert_eq!(count("kill -KILL $$").await, (Vec::new(), 1, 0));
        assert_eq!(count("kill -TERM $$").await, (Vec::new(), 1, 0));
        assert_eq!(count("exit 3").await, (Vec::new(), 0, 1));
    }

    #[tokio::test]
    async fn a_process_that_crashes_when_it_shall_end_has_crashed() {
        let folder = tempfile::tempdir().unwrap();
        for (script, crashes) in [("read x; kill -ABRT $$", 1), ("read x; exit 1", 0)] {
            let crashed = crew(folder.path(), script).dismiss().await.unwrap();
            assert_eq!(crashed.len(), crashes, "{script}: {crashed:?}");
        }
    }
}
