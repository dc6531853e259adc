//! The tables, and how they come up to date.

use std::time::Duration;

use semel_core::StoreError;
use semel_core::store::Trouble;
use tokio::time::Instant;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::error;
use crate::options::Tables;

/// One entry for each version of the tables; the version is the position, from 1. Entries are never
/// changed once released.
const MIGRATIONS: [&str; 2] = [include_str!("schema_1.sql"), include_str!("schema_2.sql")];

/// The statements that make all tables in a schema, for whoever wants to run them by hand.
///
/// The schema's name is taken as it is.
pub fn tables_sql(schema: &str) -> String {
    let mut sql = format!("CREATE SCHEMA IF NOT EXISTS \"{schema}\";\n");
    for version in 0..MIGRATIONS.len() {
        sql.push_str(&migration(&format!("\"{schema}\""), version));
    }
    sql
}

/// The statements that let a role use the tables of a schema at run time, without the right to make
/// or change any.
///
/// ```
/// let sql = semel_postgres::grant_sql("semel", "shop_service");
/// assert!(sql.contains(r#"ON ALL TABLES IN SCHEMA "semel" TO "shop_service""#));
/// ```
pub fn grant_sql(schema: &str, role: &str) -> String {
    let (schema, role) = (quoted(schema), quoted(role));
    format!(
        "GRANT USAGE ON SCHEMA {schema} TO {role};\n\
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role};\n\
         GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {role};\n\
         GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA {schema} TO {role};\n"
    )
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The statements from one version to the next, and the note that they ran.
fn migration(schema: &str, version: usize) -> String {
    let note = if version == 0 {
        format!(
            "CREATE TABLE {schema}.schema_version (version integer NOT NULL);\n\
             INSERT INTO {schema}.schema_version VALUES (1);\n"
        )
    } else {
        format!("UPDATE {schema}.schema_version SET version = {};\n", version + 1)
    };
    MIGRATIONS.get(version).unwrap_or(&"").replace("{schema}", schema) + &note
}

/// Checks the server, and the tables; makes them or brings them up to date where that is wanted, as
/// long as `patience` if others use them.
pub(crate) async fn prepare(
    place: &str,
    client: &Client,
    schema: &str,
    tables: Tables,
    patience: Duration,
) -> Result<(), StoreError> {
    let translate = |error: tokio_postgres::Error| error::translate(place, "connect", &error);
    check_server(place, client).await?;
    let mut found = version(client, schema).await.map_err(translate)?;
    if found != Some(MIGRATIONS.len()) && tables == Tables::Migrate {
        migrate(place, client, schema, patience).await?;
        found = version(client, schema).await.map_err(translate)?;
    }
    let refuse = |reason: String, help: &str| {
        Err(error::new(place, Trouble::Broken, "connect", reason, help))
    };
    match found {
        Some(version) if version == MIGRATIONS.len() => Ok(()),
        None => refuse(
            format!("there are no tables of Semel in the schema {schema}"),
            "Start a worker whose role may make them, or run `semel_postgres::tables_sql`.",
        ),
        Some(version) if version < MIGRATIONS.len() => refuse(
            format!("the tables have version {version}, this needs {}", MIGRATIONS.len()),
            "Start a worker of this version whose role may change them.",
        ),
        Some(version) => refuse(
            format!("the tables have version {version}, this knows up to {}", MIGRATIONS.len()),
            "Use the newer version of Semel that made them.",
        ),
    }
}

/// Whether what this server acknowledges is there to stay.
async fn check_server(place: &str, client: &Client) -> Result<(), StoreError> {
    let translate = |error: tokio_postgres::Error| error::translate(place, "connect", &error);
    let question = "SELECT current_setting('server_version_num')::integer, pg_is_in_recovery(), \
        current_setting('synchronous_commit'), current_setting('server_encoding'), \
        current_setting('fsync')";
    let row = client.query_one(question, &[]).await.map_err(translate)?;
    let text = |column: usize| row.try_get::<_, String>(column).unwrap_or_default();
    let refuse = |reason: String, help: &str| {
        Err(error::new(place, Trouble::Broken, "connect", reason, help))
    };
    let number: i32 = row.try_get(0).map_err(translate)?;
    if number < 130_000 {
        let reason = format!("this is PostgreSQL {}", number / 10_000);
        return refuse(reason, "Semel needs version 13 or newer.");
    }
    if row.try_get(1).map_err(translate)? {
        let help = "Name the primary; with several hosts, add `target_session_attrs=read-write`.";
        return refuse("this server is a replica, which only reads".to_owned(), help);
    }
    if text(2) == "off" {
        let help = "What is acknowledged could be lost in a crash: ALTER ROLE … SET \
            synchronous_commit = on.";
        return refuse("`synchronous_commit` is off".to_owned(), help);
    }
    if text(3) != "UTF8" {
        let reason = format!("the database keeps text as {}", text(3));
        return refuse(reason, "Create it with ENCODING 'UTF8'.");
    }
    if text(4) == "off" {
        tracing::warn!(place, "`fsync` is off: a power cut of the server can destroy everything");
    }
    Ok(())
}

/// The version of the tables, if there are any.
async fn version(client: &Client, schema: &str) -> Result<Option<usize>, tokio_postgres::Error> {
    let table = format!("{schema}.schema_version");
    let exists = client.query_one("SELECT to_regclass($1) IS NOT NULL", &[&table]).await?;
    if !exists.try_get::<_, bool>(0)? {
        return Ok(None);
    }
    let row = client.query_one(&format!("SELECT max(version) FROM {table}"), &[]).await?;
    let version: Option<i32> = row.try_get(0)?;
    Ok(version.and_then(|version| usize::try_from(version).ok()))
}

/// How long one try waits for a table: less than others who queue up behind it wait for a row.
const LOCK_WAIT: &str = "1s";
/// How long they have the table to themselves before the next try.
const PAUSE: Duration = Duration::from_secs(1);

/// Brings the tables up to date, in as many tries as fit into `patience`.
///
/// A change of a table waits until all who read it are done, and whoever comes later waits behind the
/// change. So it does not wait for long at a time: behind a transaction that stays open, the others
/// go on.
async fn migrate(
    place: &str,
    client: &Client,
    schema: &str,
    patience: Duration,
) -> Result<(), StoreError> {
    let began = Instant::now();
    loop {
        let Err(error) = migrate_once(client, schema).await else { return Ok(()) };
        let in_the_way = [SqlState::LOCK_NOT_AVAILABLE, SqlState::T_R_DEADLOCK_DETECTED];
        if !error.code().is_some_and(|code| in_the_way.contains(code)) {
            return Err(error::translate(place, "connect", &error));
        }
        if began.elapsed() + PAUSE > patience {
            let reason = format!(
                "the tables cannot be brought up to date while others use them{}",
                oldest_user(client, schema).await
            );
            let help = "End that transaction, or wait until it ends, and start again: nothing was \
                changed.";
            return Err(error::new(place, Trouble::Unavailable, "connect", reason, help));
        }
        tracing::warn!(place, "the tables are in use; bringing them up to date waits");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Who has used tables of the schema for longest, as words behind an error.
async fn oldest_user(client: &Client, schema: &str) -> String {
    let sql = "SELECT pid, extract(epoch FROM clock_timestamp() - xact_start)::bigint \
        FROM pg_locks JOIN pg_stat_activity USING (pid) JOIN pg_class ON pg_class.oid = relation \
        WHERE relnamespace = $1::text::regnamespace AND granted AND pid <> pg_backend_pid() \
        ORDER BY xact_start LIMIT 1";
    // It may have ended just now, and a role may not be allowed to see since when it is there.
    let row = client.query_opt(sql, &[&schema]).await.ok().flatten();
    let Some(pid) = row.as_ref().and_then(|row| row.try_get::<_, i32>(0).ok()) else {
        return String::new();
    };
    match row.and_then(|row| row.try_get::<_, i64>(1).ok()) {
        Some(seconds) => {
            format!(": process {pid} of the server has a transaction open for {seconds} s")
        }
        None => format!(": process {pid} of the server has a transaction open"),
    }
}

async fn migrate_once(client: &Client, schema: &str) -> Result<(), tokio_postgres::Error> {
    // Others may be making the tables at this moment: one at a time, by the schema's own lock. Who
    // waits for that holds no table.
    let lock = "SELECT pg_advisory_xact_lock(hashtextextended('semel ' || $1, 0))";
    client.batch_execute("BEGIN").await?;
    let migrated = async {
        client.query(lock, &[&schema]).await?;
        client.batch_execute(&format!("SET LOCAL lock_timeout = '{LOCK_WAIT}'")).await?;
        client.batch_execute(&format!("CREATE SCHEMA IF NOT EXISTS {schema}")).await?;
        let found = version(client, schema).await?.unwrap_or(0);
        for version in found..MIGRATIONS.len() {
            client.batch_execute(&migration(schema, version)).await?;
        }
        client.batch_execute("COMMIT").await
    };
    let migrated = migrated.await;
    if migrated.is_err() {
        // The error before it is what tells.
        let _ = client.batch_execute("ROLLBACK").await;
    }
    migrated
}
