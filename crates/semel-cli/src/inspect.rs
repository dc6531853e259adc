//! `semel inspect`: the state of each endpoint.

use std::time::Duration;

use semel::core::operator::{EndpointReport, Report};
use semel::{Backend, Timestamp};
use serde::Serialize;

use crate::args::InspectArgs;
use crate::failure::{Exit, Failure};
use crate::output::table::{Column, Table};
use crate::output::{Format, Output, age, text};
use crate::place::Place;

/// Shows the state once, or until Ctrl-C.
pub(crate) async fn run(args: &InspectArgs, output: &mut Output) -> Result<Exit, Failure> {
    let backend = args.place.open().await?;
    let Some(pause) = args.watch else {
        let view = look(&backend, &args.place).await?;
        match output.format() {
            Format::Json => output.json(&view)?,
            Format::Human => output.line(&view.to_lines(&args.place, output.width()))?,
        }
        return Ok(Exit::Fine);
    };
    tokio::select! {
        stopped = tokio::signal::ctrl_c() => stopped.map(|()| Exit::Fine).map_err(Failure::from),
        watched = watch(&backend, args, pause, output) => watched,
    }
}

async fn watch(
    backend: &Backend,
    args: &InspectArgs,
    pause: Duration,
    output: &mut Output,
) -> Result<Exit, Failure> {
    while !output.reader_left() {
        let view = look(backend, &args.place).await?;
        match output.format() {
            Format::Json => output.json_line(&view)?,
            Format::Human => {
                let lines = view.to_lines(&args.place, output.width());
                output.clear()?;
                output.line(&format!("{lines}\n"))?;
            }
        }
        tokio::time::sleep(pause).await;
    }
    Ok(Exit::Fine)
}

async fn look(backend: &Backend, place: &Place) -> Result<View, Failure> {
    let report = backend.operator().inspect().await?;
    // The store's own name holds no secrets; the URL may.
    let store = format!("{:?}", backend.store());
    Ok(View::new(store, place.broker_name(backend), backend.clock().now(), report))
}

/// The JSON document of `inspect`.
#[derive(Debug, Serialize)]
struct View {
    store: String,
    broker: Option<String>,
    at: String,
    endpoints: Vec<EndpointView>,
    totals: Numbers,
    #[serde(skip)]
    now: Timestamp,
}

/// One endpoint of the JSON document.
#[derive(Debug, Serialize)]
struct EndpointView {
    endpoint: String,
    protocol: Option<String>,
    registered_at: Option<String>,
    subscriptions: Vec<String>,
    #[serde(flatten)]
    numbers: Numbers,
    #[serde(skip)]
    registered: Option<Timestamp>,
}

/// What can be counted of one endpoint, or of all.
#[derive(Debug, Default, Serialize)]
struct Numbers {
    ready: u64,
    delayed: u64,
    in_flight: u64,
    oldest: Option<String>,
    oldest_age_ms: Option<u64>,
    dead_letters: u64,
    finisher_backlog: u64,
    inbox: u64,
    tokens: u64,
    entities: u64,
    #[serde(skip)]
    oldest_at: Option<Timestamp>,
}

impl View {
    fn new(store: String, broker: Option<String>, now: Timestamp, report: Report) -> Self {
        let mut totals = Numbers::default();
        for endpoint in report.endpoints.values() {
            totals.add(endpoint, now);
        }
        let endpoint = |(name, report)| EndpointView::new(name, report, now);
        let endpoints = report.endpoints.into_iter().map(endpoint).collect();
        Self { store, broker, at: now.to_string(), endpoints, totals, now }
    }

    fn to_lines(&self, place: &Place, width: Option<u16>) -> String {
        let mut lines = text::one_line(&self.store);
        if let Some(broker) = &self.broker {
            lines.push_str(&format!(" with queues in {}", text::one_line(broker)));
        }
        lines.push_str(&format!(" at {}\n\n", age::point(self.now)));
        if self.endpoints.is_empty() {
            lines.push_str(
                "Nothing here yet: no worker has registered an endpoint, and no message waits.",
            );
            return lines;
        }
        lines.push_str(&self.numbers_table(width));
        lines.push_str("\n\n");
        lines.push_str(&self.workers_table(width));
        if self.totals.dead_letters > 0 {
            lines.push_str("\n\nDead letters wait for a person: semel dead-letters list ");
            lines.push_str(&place.words());
        }
        lines
    }

    fn numbers_table(&self, width: Option<u16>) -> String {
        let columns = [
            Column::Name("endpoint"),
            Column::Number("ready"),
            Column::Number("delayed"),
            Column::Number("in flight"),
            Column::Number("oldest"),
            Column::Number("dead"),
            Column::Number("backlog"),
            Column::Number("inbox"),
            Column::Number("tokens"),
            Column::Number("entities"),
        ];
        let mut table = Table::new(&columns, width);
        for endpoint in &self.endpoints {
            table.row(endpoint.numbers.cells(&endpoint.endpoint));
        }
        table.row(self.totals.cells("total"));
        table.render()
    }

    fn workers_table(&self, width: Option<u16>) -> String {
        let columns = [
            Column::Name("endpoint"),
            Column::Name("protocol"),
            Column::Text("registered"),
            Column::Text("subscribes to"),
        ];
        let mut table = Table::new(&columns, width);
        for endpoint in &self.endpoints {
            let registered = match endpoint.registered {
                Some(registered) => age::ago(self.now, registered),
                // The edge keeps data sets that no worker serves.
                None if endpoint.has_no_messages() => "keeps data, receives nothing".to_owned(),
                None => "no worker has registered it".to_owned(),
            };
            table.row([
                endpoint.endpoint.clone(),
                or_dash(endpoint.protocol.clone()),
                registered,
                or_dash(Some(endpoint.subscriptions.join(", "))),
            ]);
        }
        table.render()
    }
}

impl EndpointView {
    fn has_no_messages(&self) -> bool {
        let Numbers { ready, delayed, in_flight, dead_letters, .. } = self.numbers;
        [ready, delayed, in_flight, dead_letters].iter().all(|count| *count == 0)
    }

    fn new(endpoint: String, report: EndpointReport, now: Timestamp) -> Self {
        let mut numbers = Numbers::default();
        numbers.add(&report, now);
        Self {
            endpoint,
            protocol: report.protocol,
            registered_at: report.registered_at.map(|at| at.to_string()),
            subscriptions: report.subscriptions,
            numbers,
            registered: report.registered_at,
        }
    }
}

impl Numbers {
    fn add(&mut self, report: &EndpointReport, now: Timestamp) {
        self.ready += report.ready;
        self.delayed += report.delayed;
        self.in_flight += report.in_flight;
        self.dead_letters += report.dead_letters;
        self.finisher_backlog += report.finisher_backlog;
        self.inbox += report.inbox;
        self.tokens += report.tokens;
        self.entities += report.entities;
        self.oldest_at = self.oldest_at.into_iter().chain(report.oldest).min();
        self.oldest = self.oldest_at.map(|at| at.to_string());
        self.oldest_age_ms =
            self.oldest_at.map(|at| u64::try_from(now.since(at).as_millis()).unwrap_or(u64::MAX));
    }

    fn cells(&self, name: &str) -> [String; 10] {
        let age = self.oldest_age_ms.map(|ms| age::span(Duration::from_millis(ms)));
        [
            name.to_owned(),
            self.ready.to_string(),
            self.delayed.to_string(),
            self.in_flight.to_string(),
            or_dash(age),
            self.dead_letters.to_string(),
            self.finisher_backlog.to_string(),
            self.inbox.to_string(),
            self.tokens.to_string(),
            self.entities.to_string(),
        ]
    }
}

fn or_dash(text: Option<String>) -> String {
    text.filter(|text| !text.is_empty()).unwrap_or_else(|| "–".to_owned())
}
