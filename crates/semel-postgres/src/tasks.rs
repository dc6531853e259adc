//! What goes on beside: telling others, hearing of others, and dropping what is past its window.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use semel_core::store::Space;
use tokio_postgres::AsyncMessage;

use crate::error;
use crate::options::Way;
use crate::place::Place;
use crate::row;
use crate::session::{Ask, Kind, Parameter};
use crate::tables::{Table, table};

/// How long others wait at most for news while many messages are queued: telling costs a
/// transaction, and those take turns.
const TELL_EVERY: Duration = Duration::from_millis(10);
/// How often records past their window are dropped.
const PURGE_EVERY: Duration = Duration::from_secs(10);
/// How many are dropped in one go.
const PURGE_MAX: i64 = 5_000;
/// The waits before connecting again.
const RECONNECT: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// The channel on which a schema's processes hear of new messages. The name is not quoted.
pub(crate) fn channel(schema: &str) -> String {
    format!("semel_{}", schema.trim_matches('"'))
}

/// Tells other processes which endpoints have new messages.
pub(crate) async fn tell(place: Arc<Place>) {
    loop {
        let endpoints = place.bells.take_untold().await;
        let parameters: Vec<Parameter<'_>> =
            vec![Box::new(channel(&place.schema)), Box::new(endpoints)];
        let sql = "SELECT pg_notify($1, endpoint) FROM unnest($2::text[]) AS endpoint".to_owned();
        let ask = [Ask { sql, parameters }];
        let told = place.server.transact("notify", Kind::Forgetful, "", &ask).await;
        if let Err(fault) = told {
            // Those who wait also look by themselves.
            let error = fault.into_error(&place.server.place, "notify");
            tracing::debug!(%error, "other processes were not told of new messages");
        }
        tokio::time::sleep(TELL_EVERY).await;
    }
}

/// Hears of messages that other processes queued, and connects again when it is cut off.
pub(crate) async fn listen(place: Arc<Place>, way: Way) {
    let mut wait = RECONNECT.0;
    loop {
        let ended = hear(&place, &way).await;
        if place.bells.hears_others() {
            wait = RECONNECT.0;
        }
        place.bells.set_hears_others(false);
        if let Err(error) = ended {
            let error = error::translate(&way.place, "listen", &error);
            tracing::warn!(%error, "not listening for messages of other processes; looking instead");
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(RECONNECT.1);
    }
}

async fn hear(place: &Place, way: &Way) -> Result<(), tokio_postgres::Error> {
    let (client, mut connection) = way.config.connect(way.tls.clone()).await?;
    let mut messages =
        futures_util::stream::poll_fn(move |context| connection.poll_message(context));
    let sql = format!("LISTEN \"{}\"", channel(&place.schema));
    let listening = client.batch_execute(&sql);
    tokio::pin!(listening);
    let mut is_listening = false;
    loop {
        tokio::select! {
            done = &mut listening, if !is_listening => {
                done?;
                is_listening = true;
                place.bells.set_hears_others(true);
            }
            message = messages.next() => match message {
                Some(Ok(AsyncMessage::Notification(news))) => place.bells.ring(news.payload()),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
                None => return Ok(()),
            },
        }
    }
}

/// Drops records past their window, a bounded number at a time.
pub(crate) async fn purge(place: Arc<Place>) {
    loop {
        tokio::time::sleep(PURGE_EVERY).await;
        let mut is_done = false;
        while !is_done {
            is_done = purge_portion(&place).await;
        }
    }
}

/// Whether nothing is left to drop, or it cannot be now.
async fn purge_portion(place: &Place) -> bool {
    let asks: Vec<Ask<'_>> = Space::ALL
        .into_iter()
        .map(|space| {
            let Table { name, .. } = table(space);
            let schema = &place.schema;
            // What another process drops at this moment is skipped.
            let sql = format!(
                "WITH past AS (SELECT ctid FROM {schema}.{name} WHERE expires_at < \
                 coalesce($1::timestamptz, clock_timestamp()) ORDER BY expires_at LIMIT $2 \
                 FOR UPDATE SKIP LOCKED), \
                 gone AS (DELETE FROM {schema}.{name} WHERE ctid = ANY (ARRAY(SELECT ctid FROM past)) \
                 RETURNING 1) SELECT count(*) FROM gone"
            );
            Ask { sql, parameters: vec![place.now(), Box::new(PURGE_MAX)] }
        })
        .collect();
    match place.server.transact("purge", Kind::Forgetful, "", &asks).await {
        Ok(answers) => answers.rows.iter().flatten().all(|row| row::get(row, 0) < Some(PURGE_MAX)),
        Err(fault) => {
            // Records past their window do no harm; the next round tries again.
            let error = fault.into_error(&place.server.place, "purge");
            tracing::warn!(%error, "records past their window could not be dropped");
            true
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::sync::Arc;
    use std::time::Duration;

    use bytes::Bytes;
    use semel_core::store::{Change, Expect, ItemKey, Keep, Space, WriteOutcome};
    use semel_core::{ManualClock, Store as _};

    use crate::{Options, Postgres};

    #[tokio::test]
    async fn what_is_past_its_window_goes_and_nothing_else() {
        let clock = Arc::new(ManualClock::default());
        let options = Options {
            schema: format!("purge_{}", std::process::id()),
            clock: Some(clock.clone()),
            ..Options::default()
        };
        let address = semel_servers::address(semel_servers::Kind::Postgres).unwrap();
        let database = Postgres::connect_with(&address, options).await.unwrap();
        let key = |name: &str| ItemKey::new(Space::Inbox, "accounts", name);
        let put = |name: &str, keep| {
            let value = Bytes::from_static(b"anna");
            Change::Put { key: key(name), value, expect: Expect::Absent, keep }
        };
        let second = Duration::from_secs(1);
        let changes = vec![
            put("short", Keep::For(second)),
            put("long", Keep::For(second * 60)),
            put("always", Keep::Always),
        ];
        assert!(matches!(database.write(changes).await, WriteOutcome::Applied(_)));
        clock.advance(second * 2);
        assert!(super::purge_portion(&database.place).await, "one portion is enough");
        let keys = [key("short"), key("long"), key("always")];
        let left = database.read_all(&keys).await.unwrap();
        assert_eq!(left.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true, true]);
    }
}
