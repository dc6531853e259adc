//! Worlds that are ready to be checked: for each protocol that ships, what it promises, and where
//! its promise ends.
//!
//! ```
//! use semel_check::worlds;
//!
//! let world = worlds::all().into_iter().find(|world| world.name() == "transactional-window");
//! let report = world.unwrap().world().check();
//! assert!(report.counterexample().is_some(), "past the window, a duplicate is processed again");
//! ```

mod account;
mod scenes;
mod setup;

use std::fmt;
use std::sync::Arc;

use semel_core::Property;

use crate::judge::Breach;
use crate::world::World;

/// What checking a world is expected to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Everything is covered, and all of it holds.
    Holds,
    /// This property is violated, and the world is there to show how.
    Violated(Property),
}

impl Expected {
    /// Whether this breach is the expected one.
    pub fn is(&self, breach: &Breach) -> bool {
        matches!((self, breach), (Self::Violated(one), Breach::Property(other)) if one == other)
    }
}

/// How a world is explored unless someone asks for something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Every state: see [`World::check`].
    Exhaustive,
    /// Runs drawn from a seed, because it has too many states: see [`World::check_random`].
    Random {
        /// The seed.
        seed: u64,
        /// How many runs.
        runs: u64,
    },
}

/// A world under a stable name, with its usual size and what is expected of it.
#[derive(Clone)]
pub struct BuiltIn {
    name: String,
    about: String,
    workers: usize,
    faults: u32,
    expected: Expected,
    manner: Manner,
    build: Arc<dyn Fn(&str) -> World + Send + Sync>,
}

impl BuiltIn {
    /// A world that holds: one worker and no faults, every state. `build` gets its name.
    pub fn new(
        name: impl Into<String>,
        about: impl Into<String>,
        build: impl Fn(&str) -> World + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            about: about.into(),
            workers: 1,
            faults: 0,
            expected: Expected::Holds,
            manner: Manner::Exhaustive,
            build: Arc::new(build),
        }
    }

    /// How many workers there usually are.
    #[must_use]
    pub fn workers(mut self, count: usize) -> Self {
        self.workers = count;
        self
    }

    /// How many faults a run usually may have.
    #[must_use]
    pub fn faults(mut self, count: u32) -> Self {
        self.faults = count;
        self
    }

    /// What is expected of it.
    #[must_use]
    pub fn expect(mut self, expected: Expected) -> Self {
        self.expected = expected;
        self
    }

    /// How it is usually explored.
    #[must_use]
    pub fn explore(mut self, manner: Manner) -> Self {
        self.manner = manner;
        self
    }

    /// Its name: words with hyphens between them, the protocol first.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What happens in it, as a line.
    pub fn about(&self) -> &str {
        &self.about
    }

    /// How many workers there usually are.
    pub fn worker_count(&self) -> usize {
        self.workers
    }

    /// How many faults a run usually may have.
    pub fn faults_max(&self) -> u32 {
        self.faults
    }

    /// What is expected of it.
    pub fn expected(&self) -> Expected {
        self.expected
    }

    /// How it is usually explored.
    pub fn manner(&self) -> Manner {
        self.manner
    }

    /// The world in its usual size.
    pub fn world(&self) -> World {
        (self.build)(&self.name).workers(self.workers).faults(self.faults)
    }
}

impl fmt::Debug for BuiltIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} workers, {} faults)", self.name, self.workers, self.faults)
    }
}

/// Every world that comes with the checker. Together they take well under a minute.
pub fn all() -> Vec<BuiltIn> {
    scenes::all()
}
