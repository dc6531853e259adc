//! The live stream: orders, totals and faults as server-sent events.
//!
//! One task looks at the file, or at another store, however many clients there are, and keeps what it saw on a board.
//! Each client remembers how far it has read. A client that is slow reads less often, and then
//! finds each order once, as it is by then: it can neither fall out of the stream nor hold it up.

mod board;
mod faults;
mod ledgers;
mod listed;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream;
use semel::Backend;
use semel::core::operator::Operator;
use serde::Serialize;
use tokio::sync::{Notify, watch};
use tokio::task::{JoinError, JoinHandle};

use super::stop::Stop;
use board::{Board, Cursor, News, Queues};
use faults::{Counts, Faults};
use ledgers::{Ledgers, Told};
use listed::Listed;

/// How long the task rests between two looks, at least.
const REST_MIN: Duration = Duration::from_millis(300);
/// It rests so many times as long as it looked, unless a client comes: a large file does not keep
/// a processor busy.
const REST_FACTOR: u32 = 9;
/// How often a quiet stream shows that it is there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What clients are told when a look fails; the log says why.
const TROUBLE: &str = "the ledgers cannot be read at the moment; the log of the shop says why";

/// Where the news comes from.
pub(super) struct Sources {
    operator: Arc<dyn Operator>,
    files: Arc<Mutex<Files>>,
    /// The ledgers of a store that is no file.
    listed: Option<Listed>,
}

/// What is read on a thread that may block.
struct Files {
    ledgers: Option<Ledgers>,
    faults: Option<Faults>,
}

/// The board, and how its readers learn that there is something new on it.
#[derive(Debug, Default)]
struct Shared {
    board: Mutex<Board>,
    /// Counts looks. Its receivers are the clients.
    looks: watch::Sender<u64>,
    /// Wakes the task, which sleeps while nobody reads.
    wanted: Notify,
}

/// A handle to the live stream.
#[derive(Clone, Debug)]
pub(super) struct Live {
    shared: Arc<Shared>,
    stop: Stop,
}

impl Live {
    /// Starts the task that looks; it ends with `stop`.
    pub(super) fn start(sources: Sources, stop: Stop) -> (Self, JoinHandle<()>) {
        let live = Self { shared: Arc::default(), stop };
        let watcher = tokio::spawn(live.clone().watch(sources));
        (live, watcher)
    }

    /// The stream of one client: what is known, then what changes.
    pub(super) fn stream(&self) -> impl IntoResponse + use<> {
        let client = Client {
            looks: self.shared.looks.subscribe(),
            live: self.clone(),
            cursor: Cursor::Start,
            is_behind: false,
            pending: VecDeque::new(),
        };
        self.shared.wanted.notify_one();
        let events = stream::unfold(client, async |mut client| {
            let event = client.next().await?;
            Some((Ok::<_, Infallible>(event), client))
        });
        Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
    }

    async fn watch(self, mut sources: Sources) {
        let stopped = self.stop.clone().wait();
        let looking = async {
            loop {
                let began = Instant::now();
                sources.look(&self.shared).await;
                self.shared.looks.send_modify(|looks| *looks += 1);
                let rest = began.elapsed() * REST_FACTOR;
                tokio::time::sleep(REST_MIN).await;
                // A new client ends the rest; without any it goes on.
                let is_over = async {
                    match self.shared.looks.receiver_count() {
                        0 => std::future::pending().await,
                        _ => tokio::time::sleep(rest.saturating_sub(REST_MIN)).await,
                    }
                };
                tokio::select! {
                    () = is_over => {}
                    () = self.shared.wanted.notified() => {}
                }
            }
        };
        tokio::select! {
            () = stopped => {}
            () = looking => {}
        }
    }
}

impl Shared {
    fn board(&self) -> MutexGuard<'_, Board> {
        // A board that a panic left half written still holds what each order looked like.
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sources {
    /// The queue numbers of `backend`, the ledgers in `file` or else in its store, and the faults.
    pub(super) fn new(backend: &Backend, file: Option<PathBuf>, faults: Option<PathBuf>) -> Self {
        let listed = file.is_none().then(|| Listed::new(backend.store().clone()));
        let (ledgers, faults) = (file.map(Ledgers::new), faults.map(Faults::new));
        let files = Arc::new(Mutex::new(Files { ledgers, faults }));
        Self { operator: backend.operator().clone(), files, listed }
    }

    /// Looks once at everything, and puts it on the board.
    async fn look(&mut self, shared: &Shared) {
        let mut looked = self
            .look_into_files()
            .await
            .unwrap_or_else(|defect| Looked { told: Err(Box::new(defect)), ..Looked::default() });
        if let Some(listed) = &mut self.listed {
            looked.told = listed.look().await.map_err(Into::into);
            looked.unreadable = listed.unreadable();
        }
        let mut trouble = (looked.unreadable > 0).then_some(TROUBLE);
        let told = looked.told.unwrap_or_else(|error| {
            note(&*error, &mut trouble);
            Vec::new()
        });
        let queues = self.operator.inspect().await.map(|report| Queues::of(&report));
        let queues = queues.map_err(|error| note(&error, &mut trouble)).ok();
        let faults = looked.faults.map_err(|error| note(&error, &mut trouble)).ok();

        let mut board = shared.board();
        board.take(told, queues);
        if let Some(faults) = faults {
            board.take_faults(faults);
        }
        board.take_trouble(trouble);
    }

    async fn look_into_files(&self) -> Result<Looked, JoinError> {
        let files = self.files.clone();
        let look = move || {
            let mut files = files.lock().unwrap_or_else(PoisonError::into_inner);
            let told = files.ledgers.as_mut().map_or_else(|| Ok(Vec::new()), Ledgers::look);
            Looked {
                told: told.map_err(Into::into),
                unreadable: files.ledgers.as_ref().map_or(0, Ledgers::unreadable),
                faults: files.faults.as_mut().map_or_else(|| Ok(Counts::new()), Faults::look),
            }
        };
        tokio::task::spawn_blocking(look).await
    }
}

/// What the files said: each for itself, so that one which fails takes nothing from the others.
struct Looked {
    told: Result<Vec<Told>, Box<dyn Error + Send + Sync>>,
    unreadable: usize,
    faults: io::Result<Counts>,
}

impl Default for Looked {
    fn default() -> Self {
        Self { told: Ok(Vec::new()), unreadable: 0, faults: Ok(Counts::new()) }
    }
}

fn note(error: &dyn fmt::Display, trouble: &mut Option<&'static str>) {
    tracing::warn!(%error, "the live stream cannot see everything");
    *trouble = Some(TROUBLE);
}

/// One reader of the board.
struct Client {
    live: Live,
    looks: watch::Receiver<u64>,
    cursor: Cursor,
    /// Whether the board holds more already.
    is_behind: bool,
    pending: VecDeque<Event>,
}

impl Client {
    /// The next event; none when the shop closes.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if self.live.stop.is_near() {
                return None;
            }
            if let Some(event) = self.pending.pop_front() {
                return Some(event);
            }
            // The first time too: if nobody has watched for long, the board is old.
            if !self.is_behind {
                tokio::select! {
                    () = self.live.stop.clone().wait() => return None,
                    looked = self.looks.changed() => looked.ok()?,
                }
            }
            self.read_board();
        }
    }

    fn read_board(&mut self) {
        let board = self.live.shared.board();
        let news = board.news(&mut self.cursor);
        self.is_behind = !board.is_read(self.cursor);
        self.pending.extend(news.into_iter().map(|news| match news {
            News::Order(order) => event("order", &order.row()),
            News::Totals(totals) => event("totals", totals),
            News::Faults(counts) => event("faults", counts),
            News::Trouble(Some(trouble)) => Event::default().comment(trouble),
            News::Trouble(None) => Event::default().comment("the ledgers can be read again"),
        }));
    }
}

fn event<T: Serialize>(name: &str, data: &T) -> Event {
    match Event::default().event(name).json_data(data) {
        Ok(event) => event,
        Err(error) => {
            tracing::error!(%error, name, "an event cannot be written");
            Event::default().comment("an event cannot be written; the log of the shop says why")
        }
    }
}
