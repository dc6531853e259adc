//! One protocol over many messages.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use semel::core::protocols::{self, DetachedOutbox, OutboxInbox, Protocol, Replay, Token};
use semel::core::store::{Store as _, WriteOutcome};
use semel::sqlite::{Options, Sqlite};
use semel::{Backend, Clock as _, Context, Endpoint, Host, ManualClock, Transactional};

use super::look::{Look, Phase, Record};
use crate::Result;
use crate::work::{Account, Deposited, Load, deposit, fill, fresh_file};

/// How many portions the messages come in, unless a test says otherwise.
pub(super) const PORTIONS: usize = 40;
/// How many portions fit into a window.
pub(super) const PORTIONS_IN_WINDOW: usize = 4;
/// How far time moves on after each portion.
const STEP: Duration = Duration::from_secs(600);
const WINDOW: Duration = STEP.saturating_mul(PORTIONS_IN_WINDOW as u32);

/// How much is to be done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Course {
    pub(super) messages: usize,
    pub(super) entities: usize,
    pub(super) portions: usize,
    /// How many versions `replay` keeps.
    pub(super) versions_max: usize,
}

/// The places of one run.
struct Site {
    path: std::path::PathBuf,
    file: Arc<Sqlite>,
    clock: Arc<ManualClock>,
    protocol: Arc<dyn Protocol>,
}

impl Course {
    /// Runs it under the protocol with this name.
    pub(super) async fn run(&self, folder: &Path, name: &str) -> Result<Record> {
        let protocol = self.protocol(name).ok_or("there is no such protocol")?;
        let (_folder, path) = fresh_file(folder)?;
        let clock = Arc::new(ManualClock::default());
        let options = Options { clock: clock.clone(), ..Options::default() };
        let file = Arc::new(Sqlite::open_with(&path, options)?);
        let site = Site { path, file, clock, protocol };
        let portion = Load {
            messages: self.messages.div_ceil(self.portions.max(1)).max(1),
            entities: self.entities,
        };
        let mut looks = Vec::new();
        let mut done = 0;
        while done < self.messages {
            fill(&site.file, portion, done).await?;
            done += portion.messages;
            let mut seconds = site.work_off("accounts").await?;
            looks.push(site.look(Phase::InFlight, done)?);
            seconds += site.work_off("sink").await?;
            seconds += site.pass_time().await?;
            let rest = site.look(Phase::AtRest, done)?;
            looks.push(Look { messages_per_second: portion.messages as f64 / seconds, ..rest });
        }
        Ok(Record { protocol: name.to_owned(), looks })
    }

    /// The protocol, with a window that passes within the run.
    fn protocol(&self, name: &str) -> Option<Arc<dyn Protocol>> {
        let (window, versions_max) = (WINDOW, self.versions_max);
        Some(match name {
            "outbox-inbox" => Arc::new(OutboxInbox { window }),
            "detached-outbox" => Arc::new(DetachedOutbox { window, ..DetachedOutbox::default() }),
            "token" => Arc::new(Token { window, ..Token::default() }),
            "replay" => Arc::new(Replay { window, versions_max }),
            "transactional" => Arc::new(Transactional { window }),
            name => protocols::by_name(name)?,
        })
    }
}

fn note(account: &mut Account, message: Deposited, _: &mut Context) {
    account.balance_pence = message.balance_pence;
    account.deposits += 1;
}

impl Site {
    /// Processes everything that waits at an endpoint; tells the seconds it took.
    async fn work_off(&self, name: &str) -> Result<f64> {
        let endpoint = Endpoint::new(name).handle(deposit).handle(note);
        let endpoint = endpoint.shared_protocol(self.protocol.clone());
        let backend = Backend::in_one(self.file.clone()).with_clock(self.clock.clone());
        let started = Instant::now();
        Host::new(backend).endpoint(endpoint).run_until_idle().await?;
        let seconds = started.elapsed().as_secs_f64();
        match Look::queued_at(&self.path, name)? {
            0 => Ok(seconds),
            left => Err(format!("{left} messages were left at {name}").into()),
        }
    }

    /// Moves time on, until the store has dropped what is past its window; tells the seconds that
    /// took.
    async fn pass_time(&self) -> Result<f64> {
        self.clock.advance(STEP);
        let started = Instant::now();
        while Look::expired_at(&self.path, self.clock.now())? > 0 {
            // It drops a portion after a write, and more while nobody wants anything.
            let WriteOutcome::Applied(_) = self.file.write(Vec::new()).await else {
                return Err("the file cannot be written".into());
            };
        }
        Ok(started.elapsed().as_secs_f64())
    }

    fn look(&self, phase: Phase, messages: usize) -> Result<Look> {
        Look::at(&self.path, phase, messages)
    }
}
