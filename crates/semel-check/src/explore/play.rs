//! A person is the scheduler: sees the world, what can happen next and what each move would change,
//! and chooses.

use std::io::{self, BufRead, Write};

use super::{Choice, Explorer, Stop, halted};
use crate::judge::{self, Violation};
use crate::moves::Move;
use crate::parts::Fate;
use crate::report::Report;
use crate::state::State;
use crate::step;
use crate::task::call::excerpt;
use crate::trace::{Step, Trace, Weight, phrases};
use crate::view::View;

const HELP: &str =
    "  a number makes that move    u takes the last move back    t shows the run so far
  f lets everyone take turns to the end, without faults      q quits
  Enter alone shows again where things stand";

/// What the person wants.
enum Wish {
    Make(usize),
    Look,
    TakeBack,
    ShowRun,
    TakeTurns,
    Quit,
    Nonsense,
}

/// A game under way: the states so far, and the moves between them.
struct Game {
    states: Vec<State>,
    choices: Vec<Choice>,
    violation: Option<Violation>,
}

/// A move that can be made, and what it would be.
struct Possible {
    choice: Choice,
    who: String,
    step: Step,
}

impl Game {
    fn now(&self) -> Option<&State> {
        self.states.last()
    }

    fn take_back(&mut self) {
        self.violation = None;
        self.choices.pop();
        self.states.truncate(self.choices.len() + 1);
    }
}

impl Explorer {
    /// Plays until the person quits or the input ends.
    pub(crate) fn play(mut self, input: &mut dyn BufRead, output: &mut dyn Write) -> Report {
        let states = vec![step::beginning(&self.model)];
        let mut game = Game { states, choices: Vec::new(), violation: None };
        // A terminal that is gone ends the game as `q` does.
        if let Err(error) = self.rounds(&mut game, input, output) {
            self.cut.insert(format!("the game ended: {error}"));
        }
        self.coverage.executions = 1;
        self.coverage.states = game.states.len() as u64;
        self.coverage.depth = game.choices.len() as u32;
        self.coverage.faults = game.now().map_or(0, |state| state.faults);
        let Game { choices, violation, .. } = game;
        let stop = violation.map(|violation| Stop { violation, choices, tail: Vec::new() });
        self.report(stop)
    }

    fn rounds(
        &mut self,
        game: &mut Game,
        input: &mut dyn BufRead,
        output: &mut dyn Write,
    ) -> io::Result<()> {
        writeln!(output, "{}: you decide what happens.\n{HELP}", self.model.name)?;
        let mut moves = self.show(game, output)?;
        loop {
            write!(output, "> ")?;
            output.flush()?;
            let mut line = String::new();
            if input.read_line(&mut line)? == 0 {
                return Ok(());
            }
            match wish(line.trim()) {
                Wish::Make(number) => match number.checked_sub(1).and_then(|at| moves.get(at)) {
                    Some(possible) => self.make(game, possible.choice),
                    None => {
                        writeln!(output, "{}", no_such_move(number, game, &moves))?;
                        continue;
                    }
                },
                Wish::TakeBack if game.choices.is_empty() => {
                    writeln!(output, "This is the beginning.")?;
                    continue;
                }
                Wish::TakeBack => game.take_back(),
                Wish::TakeTurns => self.take_turns(game),
                Wish::Look => {}
                Wish::ShowRun => {
                    writeln!(output, "{}", self.run_so_far(&game.choices))?;
                    continue;
                }
                Wish::Nonsense => {
                    writeln!(output, "{HELP}")?;
                    continue;
                }
                Wish::Quit => return Ok(()),
            }
            moves = self.show(game, output)?;
        }
    }

    /// Shows where things stand, and what can happen next.
    fn show(&mut self, game: &Game, output: &mut dyn Write) -> io::Result<Vec<Possible>> {
        let Some(state) = game.now().cloned() else { return Ok(Vec::new()) };
        let moves = self.possible(game, &state);
        show_world(&state, output)?;
        self.show_moves(game, &moves, output)?;
        Ok(moves)
    }

    /// The moves that can be made, with their positions; none once something is violated.
    fn possible(&mut self, game: &Game, state: &State) -> Vec<Possible> {
        if game.violation.is_some() {
            return Vec::new();
        }
        let may_fail = state.faults < self.model.faults_max;
        let moves = self.moves(state);
        let mut possible = Vec::new();
        for (choice, (made, cost)) in moves.into_iter().enumerate() {
            let is_possible = cost == 0 || may_fail;
            if !is_possible
                || self.is_idle_look(state, made)
                || matches!(self.step(state, made, cost), Ok(None))
            {
                continue;
            }
            let mut choices = game.choices.clone();
            choices.push(choice as Choice);
            let mut run = self.run_so_far(&choices);
            if let Some(step) = run.steps.pop() {
                let who = run.lanes.swap_remove(step.from).name;
                possible.push(Possible { choice: choice as Choice, who, step });
            }
        }
        possible
    }

    fn run_so_far(&mut self, choices: &[Choice]) -> Trace {
        Trace::record(&self.model, &mut self.tasks, choices, &[])
    }

    fn make(&mut self, game: &mut Game, choice: Choice) {
        let Some(state) = game.now().cloned() else { return };
        let moves = self.moves(&state);
        let Some((made, cost)) = moves.get(usize::from(choice)).copied() else { return };
        game.choices.push(choice);
        match self.step(&state, made, cost) {
            Ok(Some(next)) => {
                game.violation = self.judge_all(&next);
                game.states.push(next);
            }
            Ok(None) => {
                game.choices.pop();
            }
            Err(halt) => game.violation = Some(halted(halt)),
        }
    }

    fn judge_all(&mut self, state: &State) -> Option<Violation> {
        let moves = self.moves(state);
        judge::always(&self.model, state).or_else(|| {
            let is_end = !self.is_cut(state) && self.is_end(state, &moves);
            if is_end { judge::finally(&self.model, state) } else { None }
        })
    }

    fn take_turns(&mut self, game: &mut Game) {
        let mut turn = 0;
        while game.violation.is_none() && game.choices.len() < self.model.bounds.depth as usize {
            let Some(state) = game.now().cloned() else { return };
            let Ok(Some((_, made, next_turn))) = self.take_turn(&state, turn) else { return };
            let moves: Vec<Move> = self.moves(&state).into_iter().map(|(made, _)| made).collect();
            let Some(choice) = moves.iter().position(|listed| *listed == made) else { return };
            turn = next_turn;
            self.make(game, choice as Choice);
        }
    }

    fn show_moves(
        &self,
        game: &Game,
        moves: &[Possible],
        output: &mut dyn Write,
    ) -> io::Result<()> {
        if let Some(violation) = &game.violation {
            writeln!(output, "\nVIOLATED: {}\n  {}", violation.breach, violation.detail)?;
            return writeln!(output, "  `t` shows how it came to this; `u` takes it back.");
        }
        let faults = game.now().map_or(0, |state| state.faults);
        let left = self.model.faults_max.saturating_sub(faults);
        let left = match left {
            0 => "no faults left".to_owned(),
            1 => "1 fault left, marked !".to_owned(),
            left => format!("{left} faults left, marked !"),
        };
        writeln!(output, "\nWhat can happen next ({left}):")?;
        if moves.is_empty() {
            return writeln!(output, "  nothing: all is done, and nothing was violated.");
        }
        for (number, Possible { who, step, .. }) in moves.iter().enumerate() {
            let mark = if step.weight == Weight::Fault { '!' } else { ' ' };
            let outcome = step.outcome.as_deref().map(|text| format!(" — {text}"));
            let what = format!("{who}: {}{}", step.deed(), outcome.unwrap_or_default());
            writeln!(output, "{:>4}{mark} {what}", number + 1)?;
            let changes = step.changes.iter().map(|change| &change.what);
            for line in changes.chain(&step.notes) {
                writeln!(output, "          {line}")?;
            }
        }
        Ok(())
    }
}

fn wish(line: &str) -> Wish {
    match line {
        "" => Wish::Look,
        "u" => Wish::TakeBack,
        "t" => Wish::ShowRun,
        "f" => Wish::TakeTurns,
        "q" => Wish::Quit,
        number => number.parse().map_or(Wish::Nonsense, Wish::Make),
    }
}

fn no_such_move(number: usize, game: &Game, moves: &[Possible]) -> String {
    match (&game.violation, moves.len()) {
        (Some(_), _) => "Something is violated: `u` takes the last move back.".to_owned(),
        (None, 0) => "Nothing is left to do: `u` takes the last move back.".to_owned(),
        (None, count) => format!("There is no move {number}: they go from 1 to {count}."),
    }
}

fn show_world(state: &State, output: &mut dyn Write) -> io::Result<()> {
    writeln!(output, "\nThe world:")?;
    for (name, text) in View(state).entity_texts() {
        writeln!(output, "  entity {name} = {text}")?;
    }
    for queued in state.parts.queue.all() {
        let fate = match &queued.fate {
            Fate::Waiting => "waits".to_owned(),
            Fate::PutOff { .. } => "waits for its time".to_owned(),
            Fate::Leased { .. } => match state.holder(queued) {
                Some(worker) => format!("is with worker {}", worker + 1),
                None => "is leased to a worker that has let go of it".to_owned(),
            },
            Fate::Dead { reason, .. } => format!("is a dead letter ({})", reason.0),
        };
        let (kind, name) = (&queued.carried.envelope.kind, phrases::queued(queued));
        writeln!(output, "  {kind} {name} at {} {fate}", queued.carried.endpoint)?;
    }
    for (name, value) in state.parts.outside.all() {
        writeln!(output, "  object {name} = {}", excerpt(value))?;
    }
    for (slot, task) in state.slots.iter().enumerate() {
        let Some(task) = task else { continue };
        let calls: Vec<String> =
            task.node.pending.iter().map(|pending| pending.call.describe()).collect();
        let name = match slot {
            slot if slot < state.worker_count() => format!("worker {}", slot + 1),
            slot if slot == state.finisher() => "finisher".to_owned(),
            _ => "person".to_owned(),
        };
        let calls = calls.join(" and ");
        writeln!(output, "  {name} is {}, about to: {calls}", task.node.start.describe())?;
    }
    for flying in &state.flying {
        writeln!(output, "  on its way, its caller gone: {}", flying.call.describe())?;
    }
    for visible in state.monitor.visible() {
        writeln!(output, "  visible: {}", phrases::outgoing(&visible.sent))?;
    }
    Ok(())
}
