//! Whether the tables grow under a steady load, with autovacuum as it ships.

use std::time::Duration;

use comfy_table::Table;
use semel::{Backend, Endpoint, Host, Transactional};
use semel_servers::Postgres;
use serde::Serialize;
use tokio::time::Instant;

use super::work::place;
use crate::Result;
use crate::work::{deposit, note, outgoing, send_all};

/// The tables of which a row comes and goes, or changes, for each message.
const TABLES: [&str; 3] = ["queue", "inbox", "entity"];
/// How often the sizes are looked at.
const LOOKS: u32 = 24;
/// How many messages are sent at a time.
const PORTION: usize = 100;
/// Entities that the messages are spread over.
const ACCOUNTS: usize = 1_000;

/// What all looks found.
#[derive(Debug, Serialize)]
pub(super) struct Steady {
    deposits: usize,
    window_seconds: u64,
    looks: Vec<Look>,
    /// For each table, the largest size in the last third to the largest in the middle third.
    growth: [f64; TABLES.len()],
}

/// The tables at one moment.
#[derive(Clone, Copy, Debug, Serialize)]
struct Look {
    seconds: f64,
    tables: [Size; TABLES.len()],
}

/// One table at one moment.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Size {
    live: u64,
    dead: u64,
    bytes: u64,
    index_bytes: u64,
}

/// Sends `rate` deposits a second for `seconds`; the inbox remembers for an eighth of that.
pub(super) async fn measure(server: &Postgres, rate: u32, seconds: u32) -> Result<Steady> {
    eprintln!("steady: {rate}/s for {seconds} s");
    let (schema, place) = place(server).await?;
    let window = Duration::from_secs(u64::from(seconds / 8).max(1));
    let protocol = Transactional { window };
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let host = Host::new(Backend::in_one(place.clone()))
        .endpoint(Endpoint::new("accounts").handle(deposit).protocol(protocol))
        .endpoint(Endpoint::new("sink").handle(note).protocol(protocol));
    let host = tokio::spawn(host.run(async {
        // A dropped sender stops it as well.
        let _ = stopped.await;
    }));
    let (started, mut number, mut looks) = (Instant::now(), 0, Vec::new());
    let total = rate as usize * seconds as usize;
    let step = Duration::from_secs(u64::from(seconds)) / LOOKS;
    while number < total {
        let due = started + Duration::from_secs_f64(number as f64 / f64::from(rate));
        tokio::time::sleep_until(due).await;
        let messages = (number..number + PORTION).map(|number| outgoing(number, ACCOUNTS));
        send_all(&*place, messages.collect::<Result<_>>()?).await?;
        number += PORTION;
        if started.elapsed() >= step * (looks.len() as u32 + 1) {
            looks.push(look(server, &schema, started)?);
        }
    }
    drop(stop);
    host.await??;
    let growth = std::array::from_fn(|table| growth(&looks, table));
    Ok(Steady { deposits: number, window_seconds: window.as_secs(), looks, growth })
}

fn look(server: &Postgres, schema: &str, started: Instant) -> Result<Look> {
    let mut tables = [Size::default(); TABLES.len()];
    for (size, name) in tables.iter_mut().zip(TABLES) {
        let found = server.run(&format!(
            "SELECT n_live_tup, n_dead_tup, pg_total_relation_size(relid), pg_indexes_size(relid) \
             FROM pg_stat_user_tables WHERE schemaname = '{schema}' AND relname = '{name}'"
        ))?;
        let figures: Vec<u64> =
            found.split('|').map(str::parse).collect::<std::result::Result<_, _>>()?;
        let [live, dead, bytes, index_bytes] = figures[..] else {
            return Err(format!("{name} has no figures").into());
        };
        *size = Size { live, dead, bytes, index_bytes };
    }
    Ok(Look { seconds: started.elapsed().as_secs_f64(), tables })
}

fn growth(looks: &[Look], table: usize) -> f64 {
    let largest = |looks: &[Look]| {
        looks.iter().map(|look| look.tables[table].bytes).max().unwrap_or_default() as f64
    };
    let third = looks.len() / 3;
    largest(&looks[2 * third..]) / largest(&looks[third..2 * third])
}

impl Steady {
    pub(super) fn print(&self) {
        let mut table = Table::new();
        let columns = TABLES.iter().map(|name| format!("{name}: live, dead, MiB, indexes MiB"));
        table.set_header(std::iter::once("after".to_owned()).chain(columns));
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        for look in &self.looks {
            let cells = look.tables.iter().map(|size| {
                let Size { live, dead, bytes, index_bytes } = *size;
                format!("{live}, {dead}, {:.1}, {:.1}", mib(bytes), mib(index_bytes))
            });
            table.add_row(std::iter::once(format!("{:.0} s", look.seconds)).chain(cells));
        }
        println!("{table}");
        let grown = TABLES.iter().zip(self.growth).map(|(name, to)| format!("{name} {to:.2}"));
        println!(
            "{} deposits, a window of {} s; largest size in the last third to that in the middle \
             third: {}",
            self.deposits,
            self.window_seconds,
            grown.collect::<Vec<_>>().join(", ")
        );
    }
}
