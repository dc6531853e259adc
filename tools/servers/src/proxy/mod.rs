//! A proxy that cuts connections at a chosen message, or lets nothing through for a while.

mod link;

use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;

use crate::ServerError;
use link::Link;

/// Where to cut, counted over all messages from clients to the server from then on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Before the message with this number, from 1, reaches the server.
    Before(u32),
    /// In the middle of it.
    Within(u32),
    /// When it has reached the server, before any reply to it reaches the client.
    After(u32),
}

impl Cut {
    const fn number(self) -> u32 {
        match self {
            Self::Before(number) | Self::Within(number) | Self::After(number) => number,
        }
    }
}

/// How a stream from a client divides into messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// As the protocol of PostgreSQL does, without TLS. What opens a connection does not count.
    Postgres,
    /// Each piece that arrives at once counts as one.
    Pieces,
}

/// What becomes of bytes.
///
/// A connection that lost some is closed when they pass again: TCP never goes on with a hole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Weather {
    /// They pass.
    #[default]
    Fair,
    /// Those to the server wait until they may pass: requests land late.
    HoldRequests,
    /// Those from the server vanish: requests arrive, replies do not.
    LoseReplies,
    /// All vanish, and no connection is closed.
    Silence,
    /// Connections are closed, and new ones too.
    Closed,
}

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    ToServer,
    ToClient,
}

/// What becomes of the bytes that go one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Pass,
    Wait,
    Vanish,
}

impl Weather {
    const fn fate(self, way: Way) -> Fate {
        match (self, way) {
            (Self::HoldRequests, Way::ToServer) => Fate::Wait,
            (Self::LoseReplies, Way::ToClient) | (Self::Silence | Self::Closed, _) => Fate::Vanish,
            (Self::Fair | Self::HoldRequests | Self::LoseReplies, _) => Fate::Pass,
        }
    }
}

/// A proxy in front of a server, on a free port. It ends with its value.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    target: u16,
    framing: Framing,
    cut: Mutex<Option<Cut>>,
    /// Messages seen since the cut was chosen.
    seen: AtomicI64,
    weather: Mutex<Weather>,
    /// What the weather met since it was last foul.
    struck: AtomicU64,
    /// Tells those that hold requests.
    cleared: Condvar,
    is_over: AtomicBool,
    /// Connections that may be open.
    links: Mutex<Vec<Weak<Link>>>,
}

impl Proxy {
    /// Starts one in front of the server on this port of this machine. It cuts nothing yet.
    pub fn start(target: u16, framing: Framing) -> Result<Self, ServerError> {
        let fail = |error: std::io::Error| {
            ServerError::new(format!("no proxy can be started: {error}"), "end some programs")
        };
        let listener = TcpListener::bind(("127.0.0.1", crate::free_port()?)).map_err(fail)?;
        let port = listener.local_addr().map_err(fail)?.port();
        let state = Arc::new(State {
            target,
            framing,
            cut: Mutex::default(),
            seen: AtomicI64::new(0),
            weather: Mutex::default(),
            struck: AtomicU64::new(0),
            cleared: Condvar::new(),
            is_over: AtomicBool::new(false),
            links: Mutex::default(),
        });
        let accepting = state.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if accepting.is_over.load(Ordering::SeqCst) {
                    return;
                }
                accepting.join(client);
            }
        });
        Ok(Self { port, state })
    }

    /// Cuts one connection there; those made later are left alone. Counting begins anew.
    pub fn cut(&self, cut: Cut) {
        let mut chosen = lock(&self.state.cut);
        self.state.seen.store(0, Ordering::SeqCst);
        *chosen = Some(cut);
    }

    /// Whether the cut that was chosen has happened.
    pub fn has_cut(&self) -> bool {
        lock(&self.state.cut).is_none()
    }

    /// Changes what becomes of bytes from now on.
    pub fn set(&self, weather: Weather) {
        let mut now = lock(&self.state.weather);
        *now = weather;
        if weather != Weather::Fair {
            self.state.struck.store(0, Ordering::SeqCst);
        }
        self.state.cleared.notify_all();
        // Under the lock: a connection is closed, or sees the new weather.
        self.state.each_link(|link| match weather {
            Weather::Closed => {
                self.state.strike();
                link.close();
            }
            Weather::Fair | Weather::HoldRequests if link.has_hole() => link.close(),
            _ => {}
        });
    }

    /// How many pieces were held up or lost, and how many connections were closed, since the weather
    /// was last made other than fair.
    pub fn struck(&self) -> u64 {
        self.state.struck.load(Ordering::SeqCst)
    }

    /// Closes every connection there is. New ones are made as ever.
    pub fn close_all(&self) {
        self.state.each_link(Link::close);
    }

    /// Lets everything through, and cuts nothing more.
    pub fn heal(&self) {
        *lock(&self.state.cut) = None;
        self.set(Weather::Fair);
    }

    /// How many messages clients sent since the last choice of a cut.
    pub fn seen(&self) -> u32 {
        self.state.seen.load(Ordering::SeqCst).try_into().unwrap_or_default()
    }

    /// The port that clients connect to.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.is_over.store(true, Ordering::SeqCst);
        self.set(Weather::Closed);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl State {
    /// Joins a client with a connection of its own to the server.
    fn join(self: &Arc<Self>, client: TcpStream) {
        // A client that cannot be joined finds its connection closed: it goes out of scope.
        let Ok(server) = TcpStream::connect(("127.0.0.1", self.target)) else { return };
        let link = Arc::new(Link::new(client, server));
        let weather = lock(&self.weather);
        if *weather == Weather::Closed {
            self.strike();
            return link.close();
        }
        let mut links = lock(&self.links);
        links.retain(|link| link.strong_count() > 0);
        links.push(Arc::downgrade(&link));
        drop((links, weather));
        let (state, replies) = (self.clone(), link.clone());
        thread::spawn(move || replies.carry_replies(&state));
        let state = self.clone();
        thread::spawn(move || link.carry_requests(&state));
    }

    fn each_link(&self, act: impl Fn(&Link)) {
        lock(&self.links).iter().filter_map(Weak::upgrade).for_each(|link| act(&link));
    }

    fn strike(&self) {
        self.struck.fetch_add(1, Ordering::SeqCst);
    }

    /// What becomes of bytes that are here now; waits while they have to.
    fn fate(&self, way: Way) -> Fate {
        let weather = lock(&self.weather);
        if weather.fate(way) != Fate::Pass {
            self.strike();
        }
        let weather = self
            .cleared
            .wait_while(weather, |weather| weather.fate(way) == Fate::Wait)
            .unwrap_or_else(PoisonError::into_inner);
        weather.fate(way)
    }

    /// The length of the first message in `pending`, once it is whole.
    fn message(&self, pending: &[u8], is_opening: bool) -> Option<usize> {
        let length = match self.framing {
            Framing::Pieces => pending.len(),
            // The first message has no letter for its kind before its length.
            Framing::Postgres => {
                let offset = usize::from(!is_opening);
                let length = pending.get(offset..offset + 4)?;
                let length = length.iter().fold(0, |sum, byte| (sum << 8) | usize::from(*byte));
                offset + length
            }
        };
        (length > 0 && pending.len() >= length).then_some(length)
    }

    /// Counts a message; the cut, if this is where it is.
    fn meets_cut(&self) -> Option<Cut> {
        let mut cut = lock(&self.cut);
        let number = self.seen.fetch_add(1, Ordering::SeqCst) + 1;
        if cut.is_some_and(|cut| i64::from(cut.number()) == number) { cut.take() } else { None }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
