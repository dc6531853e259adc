//! Customers buy while the plan of faults is carried out; then everything heals, and is worked off.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use semel_servers::ServerError;
use shop::audit::Accepted;
use shop::chaos::Chaos;
use shop::feeder::{Fed, Feeder};
use shop::input::christmas_orders;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{JoinSet, spawn_blocking};

use crate::Trouble;
use crate::books::Leftovers;
use crate::crew::{Crew, Orders};
use crate::plan::{Act, Event, Shape, plan};
use crate::stack::{Ground, Stack};

/// How often everything is looked after.
const BEAT: Duration = Duration::from_millis(20);
/// How many of a thousand orders are cancelled.
const CANCEL: usize = 50;
/// How long a customer asks again: longer than any outage.
const CUSTOMER_PATIENCE: Duration = Duration::from_secs(240);
/// How often it is looked whether all is worked off.
const LOOK: Duration = Duration::from_millis(500);
/// How many looks in a row must find nothing.
const QUIET_LOOKS: u32 = 2;
/// The same on RabbitMQ. A message that has waited there, and that the server could not hand on when it
/// came back, is in no count until it tries again, here after 5 s.
const QUIET_LOOKS_RABBITMQ: u32 = 24;

/// What came of a storm.
#[derive(Debug)]
pub(crate) struct Aftermath {
    pub(crate) ground: Ground,
    pub(crate) accepted: Vec<Accepted>,
    pub(crate) refused: Vec<String>,
    /// Faults by name, as far as they happened.
    pub(crate) faults: BTreeMap<String, u64>,
    /// What was still there when patience ended; nothing, if all was worked off.
    pub(crate) stuck: Option<Leftovers>,
    /// How long everything took to be worked off after healing.
    pub(crate) drained_in: Duration,
    pub(crate) killed_by_others: u64,
    pub(crate) ended: Vec<String>,
    pub(crate) panics: Vec<String>,
    /// Processes that crashed, or did not end when they should.
    pub(crate) crashed: Vec<String>,
    /// What customers were told that cannot be, or that they were told nothing.
    pub(crate) complaints: Vec<String>,
    /// How many faults were planned.
    pub(crate) planned: usize,
    /// How long customers bought.
    pub(crate) bought_for: Duration,
}

/// How to run one.
#[derive(Clone, Debug)]
pub(crate) struct Course {
    pub(crate) shape: Shape,
    pub(crate) orders: Orders,
    /// Orders a second.
    pub(crate) rate: f64,
    /// How long everything may take to be worked off after healing.
    pub(crate) patience: Duration,
    /// Print each fault when it happens.
    pub(crate) is_loud: bool,
}

struct Storm {
    ground: Ground,
    crew: Crew,
    course: Course,
    faults: BTreeMap<String, u64>,
    outages: JoinSet<Result<(), ServerError>>,
    began: Instant,
    /// When it is looked whether the servers are still there.
    next_look: Instant,
}

/// Runs the shop under the plan of faults, and lets it heal.
pub(crate) async fn run(course: Course) -> Result<Aftermath, Trouble> {
    let (stack, folder) = (course.shape.stack, course.orders.folder.clone());
    // From here on, for what is begun must be ended.
    let interrupted = Interruption::new()?;
    let started = spawn_blocking(move || Ground::start(stack, &folder)).await;
    let ground = started.map_err(Trouble::died)??;
    let members = course.shape.members();
    let crew = Crew::start(course.orders.clone(), &members, &ground)?;
    let (faults, outages) = (BTreeMap::new(), JoinSet::new());
    let (began, next_look) = (Instant::now(), Instant::now());
    let mut storm = Storm { ground, crew, course, faults, outages, began, next_look };
    storm.await_opening().await.map_err(|trouble| storm.with_last_words(trouble))?;
    storm.began = Instant::now();
    let planned = plan(&storm.course.shape).len();
    let feeding = storm.rage(interrupted).await?;
    let bought_for = storm.began.elapsed();
    storm.heal().await?;
    let Feeding { done: fed, complaints, .. } = storm.await_customers(feeding).await?;
    let healed = Instant::now();
    let stuck = storm.drain().await?;
    let drained_in = healed.elapsed();
    let Storm { ground, crew, course, faults, .. } = storm;
    let (killed_by_others, ended) = (crew.killed_by_others, crew.ended.clone());
    let crashed = crew.dismiss().await?;
    let panics = Crew::panics(&course.orders, &members);
    let faults = with_own(faults, &course.orders.faults());
    let (mut accepted, mut refused) = (Vec::new(), Vec::new());
    for fed in fed {
        match fed {
            Fed::Accepted(invoice) => accepted.push(invoice),
            Fed::Refused { number, reason } => refused.push(format!("{number}: {reason}")),
        }
    }
    Ok(Aftermath {
        ground,
        accepted,
        refused,
        faults,
        stuck,
        drained_in,
        killed_by_others,
        ended,
        panics,
        crashed,
        complaints,
        planned,
        bought_for,
    })
}

/// Invoices under way, and those that were answered.
struct Feeding {
    pending: JoinSet<Result<Fed, shop::Stop>>,
    done: Vec<Fed>,
    complaints: Vec<String>,
}

/// Ctrl-C, or the wish of another program that this one ends: seen from its making on.
struct Interruption(Signal, Signal);

impl Interruption {
    fn new() -> Result<Self, Trouble> {
        let watch = |kind| signal(kind).map_err(Trouble::io("signals cannot be watched"));
        Ok(Self(watch(SignalKind::interrupt())?, watch(SignalKind::terminate())?))
    }

    async fn comes(&mut self) {
        tokio::select! {
            _ = self.0.recv() => {}
            _ = self.1.recv() => {}
        }
    }
}

impl Feeding {
    /// Takes what has been answered.
    fn collect(&mut self) -> Result<(), Trouble> {
        while let Some(ended) = self.pending.try_join_next() {
            match ended.map_err(Trouble::died)? {
                Ok(fed) => self.done.push(fed),
                Err(stop) => self.complaints.push(stop.to_string()),
            }
        }
        Ok(())
    }
}

impl Storm {
    /// What a process said that ended by itself may tell why.
    fn with_last_words(&self, trouble: Trouble) -> Trouble {
        match self.crew.ended.last() {
            None => trouble,
            Some(words) => Trouble::new(format!("{trouble}; the last words of a process: {words}")),
        }
    }

    /// Waits until the edge listens.
    async fn await_opening(&mut self) -> Result<(), Trouble> {
        let address = ("127.0.0.1", self.ground.edge_port());
        let deadline = Instant::now() + Duration::from_secs(60);
        while tokio::net::TcpStream::connect(address).await.is_err() {
            self.crew.tend()?;
            if Instant::now() > deadline {
                let said = self.crew.ended.last().cloned().unwrap_or_default();
                return Err(Trouble::new(format!("the shop does not open: {said}")));
            }
            tokio::time::sleep(BEAT).await;
        }
        Ok(())
    }

    /// Customers buy, and faults happen, until the time is over or Ctrl-C ends it.
    async fn rage(&mut self, mut interrupted: Interruption) -> Result<Feeding, Trouble> {
        let Course { shape, orders, rate, .. } = self.course.clone();
        let chaos = Chaos::new(shape.seed, &orders.faults(), Duration::ZERO);
        let chaos = Arc::new(chaos.map_err(Trouble::io("the faults cannot be written down"))?);
        let chaos = orders.has_chaos.then_some(chaos);
        let feeder = Feeder::new(self.ground.shop_url(), chaos, CANCEL, CUSTOMER_PATIENCE)
            .map_err(Trouble::customers)?;
        let count = (shape.length.as_secs_f64() * rate).ceil() as usize;
        let mut invoices = christmas_orders(shape.seed, count).into_iter().enumerate().peekable();
        let mut events = plan(&shape).into_iter().peekable();
        let (done, complaints) = (Vec::new(), Vec::new());
        let mut feeding = Feeding { pending: JoinSet::new(), done, complaints };
        let mut beat = tokio::time::interval(BEAT);
        while self.began.elapsed() < shape.length {
            tokio::select! {
                _ = beat.tick() => {}
                () = interrupted.comes() => break,
            }
            let due = (self.began.elapsed().as_secs_f64() * rate) as usize;
            while let Some((_, invoice)) = invoices.next_if(|(index, _)| *index <= due) {
                let feeder = feeder.clone();
                feeding.pending.spawn(async move { feeder.feed(invoice).await });
            }
            while let Some(event) = events.next_if(|event| self.began.elapsed() >= event.at) {
                self.strike(event)?;
            }
            self.tend()?;
            feeding.collect()?;
        }
        Ok(feeding)
    }

    fn strike(&mut self, event: Event) -> Result<(), Trouble> {
        if self.course.is_loud {
            eprintln!("{:>8.1} s  {}", self.began.elapsed().as_secs_f64(), event.act);
        }
        let has_happened = match event.act {
            Act::Kill(member) => self.crew.kill(member)?,
            Act::Stop(member, time) => self.crew.stop(member, time)?,
            Act::ServerKill(server, time) => {
                let server = self.ground.server(server);
                let outage = |server: crate::stack::Handle| move || server.kill_for(time);
                server.map(|server| self.outages.spawn_blocking(outage(server))).is_some()
            }
            Act::ServerStop(server, time) => {
                let server = self.ground.server(server);
                let outage = |server: crate::stack::Handle| move || server.stop_for(time);
                server.map(|server| self.outages.spawn_blocking(outage(server))).is_some()
            }
            Act::Cut(wire, cut) => {
                // It is counted once it is known to have happened.
                if let Some(before) = self.ground.cut(wire, cut) {
                    self.count(Act::Cut(wire, before));
                }
                false
            }
            Act::Weather(wire, weather, time) => {
                // So is weather: once it is over, if it met anything.
                let before = self.ground.weather(wire, weather, time);
                before.into_iter().for_each(|before| self.count(before));
                false
            }
        };
        if has_happened {
            self.count(event.act);
        }
        Ok(())
    }

    fn count(&mut self, act: Act) {
        *self.faults.entry(act.name().to_owned()).or_default() += 1;
    }

    fn tend(&mut self) -> Result<(), Trouble> {
        self.crew.tend()?;
        self.ground.tend().into_iter().for_each(|struck| self.count(struck));
        while let Some(ended) = self.outages.try_join_next() {
            ended.map_err(Trouble::died)??;
        }
        if self.next_look <= Instant::now() {
            self.next_look = Instant::now() + LOOK;
            for server in self.ground.lost() {
                self.crew.killed_by_others += 1;
                self.outages.spawn_blocking(move || server.kill_for(Duration::ZERO));
            }
        }
        Ok(())
    }

    /// Ends every fault that is still under way.
    async fn heal(&mut self) -> Result<(), Trouble> {
        while let Some(ended) = self.outages.join_next().await {
            ended.map_err(Trouble::died)??;
        }
        self.ground.heal().into_iter().for_each(|happened| self.count(happened));
        self.crew.heal()
    }

    /// Waits for the customers who have no answer yet.
    async fn await_customers(&mut self, mut feeding: Feeding) -> Result<Feeding, Trouble> {
        while !feeding.pending.is_empty() {
            tokio::time::sleep(BEAT).await;
            self.tend()?;
            feeding.collect()?;
        }
        Ok(feeding)
    }

    /// Waits until all is worked off, several looks in a row; else tells what is left.
    async fn drain(&mut self) -> Result<Option<Leftovers>, Trouble> {
        let place = self.ground.urls();
        let (mut quiet_looks, since) = (0, Instant::now());
        let enough = match self.course.shape.stack {
            Stack::PostgresRabbit => QUIET_LOOKS_RABBITMQ,
            Stack::Sqlite | Stack::Postgres | Stack::PostgresNats => QUIET_LOOKS,
        };
        loop {
            let looked = Leftovers::look(&place, &self.ground).await;
            let is_quiet = looked.as_ref().is_ok_and(Leftovers::is_nothing);
            quiet_looks = if is_quiet { quiet_looks + 1 } else { 0 };
            if quiet_looks == enough {
                return Ok(None);
            }
            // A server that has just come back may not answer the first time.
            if since.elapsed() > self.course.patience {
                return looked.map(Some);
            }
            let until = Instant::now() + LOOK;
            while Instant::now() < until {
                tokio::time::sleep(BEAT).await;
                self.tend()?;
            }
        }
    }
}

/// The faults with those that the processes injected themselves.
fn with_own(mut faults: BTreeMap<String, u64>, list: &Path) -> BTreeMap<String, u64> {
    for line in std::fs::read_to_string(list).unwrap_or_default().lines() {
        *faults.entry(line.replace('_', " ")).or_default() += 1;
    }
    faults
}
