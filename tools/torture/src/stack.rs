//! The servers that a shop stands on, and the wires to them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use semel_servers::{
    Cut, Durability, Framing, Nats, Postgres, Proxy, Rabbit, ServerError, Weather, free_port,
};
use shop::books::SERVICES;

use crate::plan::{Act, EDGE, Server, Wire};

/// How often a server is started that does not start, and the pause in between.
const TRIES_MAX: u32 = 10;
const PAUSE: Duration = Duration::from_millis(500);

/// What a shop stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Stack {
    /// One file.
    Sqlite,
    /// PostgreSQL, with the queue in it.
    Postgres,
    /// PostgreSQL, and queues on NATS.
    PostgresNats,
    /// PostgreSQL, and queues on RabbitMQ.
    #[value(name = "postgres-rabbitmq")]
    PostgresRabbit,
}

impl Stack {
    /// The servers that can fail.
    pub(crate) const fn servers(self) -> &'static [Server] {
        match self {
            Self::Sqlite => &[],
            Self::Postgres => &[Server::Database],
            Self::PostgresNats | Self::PostgresRabbit => &[Server::Database, Server::Broker],
        }
    }
}

/// A server that can be killed and stopped.
#[derive(Debug)]
enum Process {
    Postgres(Postgres),
    Nats(Nats),
    Rabbit(Rabbit),
}

impl Process {
    fn address(&self) -> String {
        match self {
            Self::Postgres(server) => server.address(),
            Self::Nats(server) => server.address(),
            Self::Rabbit(server) => server.address(),
        }
    }

    fn port(&self) -> u16 {
        match self {
            Self::Postgres(server) => server.port(),
            Self::Nats(server) => server.port(),
            Self::Rabbit(server) => server.port(),
        }
    }

    fn kill(&mut self) {
        match self {
            Self::Postgres(server) => server.kill(),
            Self::Nats(server) => server.kill(),
            Self::Rabbit(server) => server.kill(),
        }
    }

    fn is_alive(&mut self) -> bool {
        match self {
            Self::Postgres(server) => server.is_alive(),
            Self::Nats(server) => server.is_alive(),
            Self::Rabbit(server) => server.is_alive(),
        }
    }

    fn resume(&mut self) -> Result<(), ServerError> {
        match self {
            Self::Postgres(server) => server.resume(),
            Self::Nats(server) => server.resume(),
            Self::Rabbit(server) => server.resume(),
        }
    }

    fn signal(&self, signal: &str) -> Result<(), ServerError> {
        match self {
            Self::Postgres(server) => server.signal(signal),
            Self::Nats(server) => server.signal(signal),
            Self::Rabbit(server) => server.signal(signal),
        }
    }
}

/// A server; several threads may want something of it.
#[derive(Clone, Debug)]
pub(crate) struct Handle(Arc<Mutex<Process>>);

impl Handle {
    fn new(process: Process) -> Self {
        Self(Arc::new(Mutex::new(process)))
    }

    fn lock(&self) -> MutexGuard<'_, Process> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Kills it, and brings it back after a while. Blocks until it answers again.
    pub(crate) fn kill_for(&self, time: Duration) -> Result<(), ServerError> {
        let mut process = self.lock();
        process.kill();
        thread::sleep(time);
        // What others killed may have left processes that are still ending.
        for _ in 0..TRIES_MAX {
            if process.resume().is_ok() {
                return Ok(());
            }
            thread::sleep(PAUSE);
        }
        process.resume()
    }

    /// Whether it was killed, and not by us: nobody brings it back.
    pub(crate) fn is_lost(&self) -> bool {
        // Whoever holds it brings it back.
        self.0.try_lock().is_ok_and(|mut process| !process.is_alive())
    }

    /// Lets it stand still for a while. Blocks so long.
    pub(crate) fn stop_for(&self, time: Duration) -> Result<(), ServerError> {
        let mut process = self.lock();
        if !process.is_alive() {
            return Ok(());
        }
        process.signal("STOP")?;
        thread::sleep(time);
        // It may have been killed meanwhile.
        if process.is_alive() { process.signal("CONT") } else { Ok(()) }
    }
}

/// A wire and what happens on it.
#[derive(Debug)]
struct Line {
    proxy: Proxy,
    /// The weather, where it is not fair, and when it is so again.
    weather: Option<(Weather, Instant)>,
    /// A cut that was chosen; it is not known yet whether it happened.
    chosen: Option<Cut>,
}

/// Servers and wires, as long as this lives.
#[derive(Debug)]
pub(crate) struct Ground {
    file: String,
    servers: BTreeMap<Server, Handle>,
    wires: BTreeMap<Wire, Line>,
    /// Where the edge listens; customers go to it by wire.
    edge_port: u16,
}

impl Ground {
    /// Starts what the stack needs, with data in `folder`.
    pub(crate) fn start(stack: Stack, folder: &Path) -> Result<Self, ServerError> {
        let mut servers = BTreeMap::new();
        if stack != Stack::Sqlite {
            // A client that was killed leaves sessions that the server has not noticed yet.
            let settings = ["max_connections = 500"];
            let database =
                Postgres::start_with(&folder.join("postgres"), Durability::Kill, &settings)?;
            servers.insert(Server::Database, Handle::new(Process::Postgres(database)));
        }
        let broker = match stack {
            Stack::Sqlite | Stack::Postgres => None,
            Stack::PostgresNats => Some(Process::Nats(Nats::start(&folder.join("nats"))?)),
            Stack::PostgresRabbit => {
                Some(Process::Rabbit(Rabbit::start(&folder.join("rabbitmq"))?))
            }
        };
        servers.extend(broker.map(|broker| (Server::Broker, Handle::new(broker))));
        let edge_port = free_port()?;
        let file = format!("sqlite:{}", folder.join("shop.db").display());
        let mut ground = Self { file, servers, wires: BTreeMap::new(), edge_port };
        ground.lay(Wire::Customers, edge_port)?;
        for (server, handle) in ground.servers.clone() {
            let port = handle.lock().port();
            for who in std::iter::once(EDGE).chain(SERVICES) {
                ground.lay(Wire::Between(who, server), port)?;
            }
        }
        Ok(ground)
    }

    fn lay(&mut self, wire: Wire, port: u16) -> Result<(), ServerError> {
        let proxy = Proxy::start(port, Framing::Pieces)?;
        self.wires.insert(wire, Line { proxy, weather: None, chosen: None });
        Ok(())
    }

    /// The servers that were killed by others.
    pub(crate) fn lost(&self) -> Vec<Handle> {
        self.servers.values().filter(|server| server.is_lost()).cloned().collect()
    }

    pub(crate) fn server(&self, server: Server) -> Option<Handle> {
        self.servers.get(&server).cloned()
    }

    pub(crate) fn edge_port(&self) -> u16 {
        self.edge_port
    }

    /// Where customers find the shop.
    pub(crate) fn shop_url(&self) -> String {
        let port = self.wires.get(&Wire::Customers).map_or(self.edge_port, |it| it.proxy.port());
        format!("http://127.0.0.1:{port}")
    }

    /// The store and the broker as the edge or a service sees them: by wire.
    pub(crate) fn urls_of(&self, who: &'static str) -> (String, Option<String>) {
        let through = |server: Server| {
            let handle = self.servers.get(&server)?.lock();
            let line = self.wires.get(&Wire::Between(who, server))?;
            let (direct, wired) = (handle.port(), line.proxy.port());
            Some(handle.address().replace(&format!(":{direct}"), &format!(":{wired}")))
        };
        let store = through(Server::Database).unwrap_or_else(|| self.file.clone());
        (store, through(Server::Broker))
    }

    /// The store and the broker themselves.
    pub(crate) fn urls(&self) -> (String, Option<String>) {
        let direct = |server| self.servers.get(&server).map(|handle| handle.lock().address());
        (direct(Server::Database).unwrap_or_else(|| self.file.clone()), direct(Server::Broker))
    }

    /// Asks the database a question in SQL; none where there is no such server.
    pub(crate) fn ask(&self, sql: &str) -> Option<Result<String, ServerError>> {
        match &*self.servers.get(&Server::Database)?.lock() {
            Process::Postgres(server) => Some(server.run(sql)),
            Process::Nats(_) | Process::Rabbit(_) => None,
        }
    }

    /// Chooses where to cut a wire. Returns the cut chosen before, if it has happened.
    pub(crate) fn cut(&mut self, wire: Wire, cut: Cut) -> Option<Cut> {
        let line = self.wires.get_mut(&wire)?;
        let happened = line.happened();
        line.proxy.cut(cut);
        line.chosen = Some(cut);
        happened
    }

    /// Changes the weather on a wire for a while. Returns the weather before, if it struck anything.
    pub(crate) fn weather(&mut self, wire: Wire, weather: Weather, time: Duration) -> Option<Act> {
        let line = self.wires.get_mut(&wire)?;
        let before = line.clear(wire);
        line.proxy.set(weather);
        line.weather = Some((weather, Instant::now() + time));
        before
    }

    /// Lets the weather clear where its time is over. Returns what of it struck anything.
    pub(crate) fn tend(&mut self) -> Vec<Act> {
        let is_over = |line: &Line| line.weather.is_some_and(|(_, until)| Instant::now() >= until);
        let over = self.wires.iter_mut().filter(|(_, line)| is_over(line));
        over.filter_map(|(wire, line)| line.clear(*wire)).collect()
    }

    /// Lets everything through on all wires. Returns the cuts that have happened, and the weather that
    /// struck anything.
    pub(crate) fn heal(&mut self) -> Vec<Act> {
        let mut happened = Vec::new();
        for (wire, line) in &mut self.wires {
            happened.extend(line.happened().map(|cut| Act::Cut(*wire, cut)));
            happened.extend(line.clear(*wire));
            line.proxy.heal();
        }
        happened
    }
}

impl Line {
    fn happened(&mut self) -> Option<Cut> {
        self.chosen.take().filter(|_| self.proxy.has_cut())
    }

    /// Lets the weather on this wire clear. Returns what it was, if it struck anything.
    fn clear(&mut self, wire: Wire) -> Option<Act> {
        let (weather, _) = self.weather.take()?;
        self.proxy.set(Weather::Fair);
        (self.proxy.struck() > 0).then_some(Act::Weather(wire, weather, Duration::ZERO))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn weather_counts_once_it_met_something() {
        let folder = tempfile::tempdir().unwrap();
        let mut ground = Ground::start(Stack::Sqlite, folder.path()).unwrap();
        let (wire, hour) = (Wire::Customers, Duration::from_secs(3_600));
        assert_eq!(ground.weather(wire, Weather::Silence, Duration::ZERO), None);
        assert_eq!(ground.tend(), [], "it met nothing");
        let _shop = TcpListener::bind(("127.0.0.1", ground.edge_port())).unwrap();
        assert_eq!(ground.weather(wire, Weather::Closed, hour), None);
        let port = ground.wires[&wire].proxy.port();
        while ground.wires[&wire].proxy.struck() == 0 {
            drop(TcpStream::connect(("127.0.0.1", port)));
        }
        assert_eq!(ground.tend(), [], "it is not over");
        let then = ground.weather(wire, Weather::HoldRequests, hour);
        assert_eq!(then, Some(Act::Weather(wire, Weather::Closed, Duration::ZERO)));
        assert_eq!(ground.heal(), [], "it met nothing");
    }
}
