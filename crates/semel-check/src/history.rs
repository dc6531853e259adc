//! Whether what was seen of a running system can be told as a story in which every message counts
//! once.
//!
//! Workers write down what they do: that they received a message, what an attempt on it made of
//! the entity's state, that it was settled. Attempts overlap, come twice, and of most nobody knows
//! whether they were committed. [`exactly_once_order`] looks for an order of the messages in which
//! each counts with one of its attempts, each attempt begins with the state that the one before it
//! left, the last one leaves the state that is there in the end, and no message comes after one
//! that was received only when it was settled already. This is linearizability (Herlihy and Wing,
//! 1990) of *process this message once*, and the search is that of Wing and Gong (1993) with the
//! memory of Lowe (2017).
//!
//! ```
//! use semel_check::history::{Attempt, Operation, exactly_once_order};
//!
//! let deposit = |message: &str, before, after| Operation {
//!     message: message.to_owned(),
//!     received: 0,
//!     settled: None,
//!     attempts: vec![Attempt { before, after }],
//! };
//! let seen = [deposit("b", 5, 15), deposit("a", 0, 5)];
//! assert_eq!(exactly_once_order(&0, &seen, &15).unwrap(), ["a", "b"]);
//! // The second deposit counts twice.
//! let mut seen = seen;
//! seen[0].attempts.push(Attempt { before: 15, after: 25 });
//! assert!(exactly_once_order(&0, &seen, &25).unwrap_err().to_string().contains("twice"));
//! ```

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::hash::Hash;

/// How many steps a search takes before it gives up.
const STEPS_MAX: usize = 2_000_000;

/// One message at one entity, with all that was seen of it: each message is one operation, however
/// many copies of it came. Leave out what was parked for a person and must not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation<S> {
    /// The identity of the message.
    pub message: String,
    /// When a worker first received it, by a clock that all share.
    pub received: u64,
    /// When a worker first learned that it is settled, by the same clock.
    pub settled: Option<u64>,
    /// Every attempt that came to a decision, committed or not.
    pub attempts: Vec<Attempt<S>>,
}

/// What one attempt would make of the entity's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Attempt<S> {
    /// The state it began with.
    pub before: S,
    /// The state it decided on.
    pub after: S,
}

/// Why there is no order in which every message counts once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoOrder {
    /// The state in the end follows from the attempts only if some message counts several times.
    #[error("the state in the end holds these messages twice or more: {}", list(.messages))]
    Twice {
        /// Those that do.
        messages: Vec<String>,
    },
    /// The state in the end follows from the attempts without some message.
    #[error("the state in the end does not hold these messages: {}", list(.messages))]
    Lost {
        /// Those that do not count.
        messages: Vec<String>,
    },
    /// No chain of attempts leads from the beginning to the state in the end.
    #[error("the state in the end follows from no chain of attempts; it is {end}")]
    FromNowhere {
        /// That state.
        end: String,
    },
    /// Every message counts once, but only in an order that contradicts the times.
    #[error("every message counts once, but not in an order that time allows; one is: {}", list(.order))]
    TooLate {
        /// An order without regard to time.
        order: Vec<String>,
    },
    /// The search took too many steps.
    #[error("the search was given up after {STEPS_MAX} steps: too many attempts are alike")]
    Undecided,
}

fn list(messages: &[String]) -> String {
    messages.join(", ")
}

/// An order of the messages in which each counts once, from the state `initial` to the state `end`.
///
/// # Errors
/// There is none; the error tells what is the matter with the end, as well as that can be told.
pub fn exactly_once_order<S: Eq + Hash + fmt::Debug>(
    initial: &S,
    operations: &[Operation<S>],
    end: &S,
) -> Result<Vec<String>, NoOrder> {
    let graph = Graph::of(initial, operations, end);
    match graph.search(true) {
        Search::Found(order) => return Ok(graph.names(&order)),
        Search::GivenUp => return Err(NoOrder::Undecided),
        Search::Nothing => {}
    }
    let Some(chain) = graph.chain() else {
        return Err(NoOrder::FromNowhere { end: format!("{end:?}") });
    };
    // Without regard to time and to what is left out: which of the two it is.
    match graph.search(false) {
        Search::Found(order) => return Err(NoOrder::TooLate { order: graph.names(&order) }),
        Search::GivenUp => return Err(NoOrder::Undecided),
        Search::Nothing => {}
    }
    let mut counts = vec![0_usize; operations.len()];
    chain.iter().for_each(|operation| counts[*operation] += 1);
    let those = |test: fn(usize) -> bool| -> Vec<String> {
        let found = counts.iter().zip(operations).filter(|(count, _)| test(**count));
        found.map(|(_, operation)| operation.message.clone()).collect()
    };
    let twice = those(|count| count > 1);
    match twice.is_empty() {
        false => Err(NoOrder::Twice { messages: twice }),
        true => Err(NoOrder::Lost { messages: those(|count| count == 0) }),
    }
}

/// The states as numbers, and which operation leads from which to which.
struct Graph<'a> {
    names: Vec<&'a str>,
    /// When each operation was received and settled.
    times: Vec<(u64, u64)>,
    /// From each state: the operation, and the state it leads to. Operations in the order of their
    /// settlement, which is most likely theirs.
    steps: Vec<Vec<(usize, usize)>>,
    initial: usize,
    end: usize,
}

enum Search {
    Found(Vec<usize>),
    Nothing,
    GivenUp,
}

/// Which operations are left, a bit each.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Left(Vec<u64>);

impl Left {
    fn all(count: usize) -> Self {
        let mut left = Self(vec![0; count.div_ceil(64)]);
        (0..count).for_each(|operation| left.0[operation / 64] |= 1 << (operation % 64));
        left
    }

    fn holds(&self, operation: usize) -> bool {
        self.0[operation / 64] >> (operation % 64) & 1 == 1
    }

    fn without(&self, operation: usize) -> Self {
        let mut left = self.clone();
        left.0[operation / 64] &= !(1 << (operation % 64));
        left
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }
}

impl<'a> Graph<'a> {
    fn of<S: Eq + Hash>(initial: &'a S, operations: &'a [Operation<S>], end: &'a S) -> Self {
        let mut numbers = HashMap::new();
        let mut number = |state: &'a S| {
            let next = numbers.len();
            *numbers.entry(state).or_insert(next)
        };
        let (initial, end) = (number(initial), number(end));
        let mut all = Vec::new();
        for (at, operation) in operations.iter().enumerate() {
            for attempt in &operation.attempts {
                all.push((number(&attempt.before), at, number(&attempt.after)));
            }
        }
        let settled = |operation: &Operation<S>| operation.settled.unwrap_or(u64::MAX);
        all.sort_by_key(|(_, at, after)| (settled(&operations[*at]), *at, *after));
        all.dedup();
        let mut steps = vec![Vec::new(); numbers.len()];
        all.into_iter().for_each(|(before, at, after)| steps[before].push((at, after)));
        Self {
            names: operations.iter().map(|operation| &*operation.message).collect(),
            times: operations.iter().map(|it| (it.received, settled(it))).collect(),
            steps,
            initial,
            end,
        }
    }

    fn names(&self, order: &[usize]) -> Vec<String> {
        order.iter().map(|operation| self.names[*operation].to_owned()).collect()
    }

    /// Looks for an order of all operations, depth first.
    fn search(&self, is_timed: bool) -> Search {
        let mut seen = HashSet::new();
        let start = (self.initial, Left::all(self.names.len()), Vec::new());
        let mut open = vec![start];
        while let Some((state, left, order)) = open.pop() {
            if left.is_empty() && state == self.end {
                return Search::Found(order);
            }
            if seen.len() > STEPS_MAX {
                return Search::GivenUp;
            }
            let deadline = if is_timed { self.deadline(&left) } else { u64::MAX };
            // The likeliest is looked at first, so it goes onto the stack last.
            for (operation, after) in self.steps[state].iter().rev().copied() {
                if !left.holds(operation) || self.times[operation].0 > deadline {
                    continue;
                }
                let left = left.without(operation);
                if seen.insert((after, left.clone())) {
                    let mut order = order.clone();
                    order.push(operation);
                    open.push((after, left, order));
                }
            }
        }
        Search::Nothing
    }

    /// The earliest settlement among those left. One of them that was received later comes after it.
    fn deadline(&self, left: &Left) -> u64 {
        let times = self.times.iter().enumerate();
        let of_left = times.filter(|(operation, _)| left.holds(*operation));
        of_left.map(|(_, (_, settled))| *settled).min().unwrap_or(u64::MAX)
    }

    /// The shortest chain of attempts to the end, however often each operation stands in it.
    fn chain(&self) -> Option<Vec<usize>> {
        let mut came_from = vec![None; self.steps.len()];
        let mut open = VecDeque::from([self.initial]);
        let mut seen = HashSet::from([self.initial]);
        while let Some(state) = open.pop_front() {
            if state == self.end {
                break;
            }
            for (operation, after) in self.steps[state].iter().copied() {
                if seen.insert(after) {
                    came_from[after] = Some((state, operation));
                    open.push_back(after);
                }
            }
        }
        if !seen.contains(&self.end) {
            return None;
        }
        let mut chain = Vec::new();
        let mut state = self.end;
        while let Some((before, operation)) = came_from[state] {
            chain.push(operation);
            state = before;
        }
        chain.reverse();
        Some(chain)
    }
}

#[cfg(test)]
mod tests;
