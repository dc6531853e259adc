//! The tables are an interface: people and scripts read them, and older files have them.

use rusqlite::Connection;

use crate::rig::Rig;

/// A change here needs a migration: files that were made before have the old tables.
pub(crate) const TABLES: &str = "\
application_id 1397050700, user_version 2
counter: name TEXT!, value INTEGER! / key name
dead_letter: number INTEGER, endpoint TEXT!, reason TEXT!, dead_since INTEGER!, deliveries INTEGER!, failure_count INTEGER!, failures TEXT, queued_at INTEGER!, message_id TEXT!, source TEXT!, type TEXT!, subject TEXT, sent_at INTEGER, content_type TEXT, schema TEXT, extensions TEXT, data !, partition_key TEXT, entity_id TEXT / key number
endpoint: name TEXT!, protocol TEXT!, registered_at INTEGER! / key name
entity: endpoint TEXT!, entity_id TEXT!, state !, version INTEGER!, expires_at INTEGER / key endpoint, entity_id
inbox: endpoint TEXT!, message TEXT!, entity_id !, version INTEGER!, expires_at INTEGER / key endpoint, message
outbox: endpoint TEXT!, message TEXT!, effects !, version INTEGER!, expires_at INTEGER / key endpoint, message
queue: position INTEGER, endpoint TEXT!, available_at INTEGER!, receipt INTEGER, deliveries INTEGER!, failure_count INTEGER!, failures TEXT, queued_at INTEGER!, message_id TEXT!, source TEXT!, type TEXT!, subject TEXT, sent_at INTEGER, content_type TEXT, schema TEXT, extensions TEXT, data !, partition_key TEXT / key position
reply: resource TEXT!, idempotency_key TEXT!, reply !, version INTEGER!, expires_at INTEGER / key resource, idempotency_key
subscription: type TEXT!, endpoint TEXT! / key type, endpoint
token: endpoint TEXT!, token TEXT!, value !, version INTEGER!, expires_at INTEGER / key endpoint, token
entity_expires: entity (expires_at) where
inbox_expires: inbox (expires_at) where
outbox_expires: outbox (expires_at) where
queue_available: queue (endpoint, available_at, position)
queue_order: queue (endpoint, partition_key, position) where
reply_expires: reply (expires_at) where
token_expires: token (expires_at) where
";

fn lines(shell: &Connection, sql: &str) -> String {
    let mut statement = shell.prepare(sql).unwrap();
    let rows = statement.query_map((), |row| row.get::<_, String>(0)).unwrap();
    rows.map(|line| line.unwrap() + "\n").collect()
}

/// What the tables of a file are, as [`TABLES`] tells it.
pub(crate) fn described(shell: &Connection) -> String {
    let marks = lines(
        shell,
        "SELECT format('application_id %d, user_version %d', application_id, user_version) \
         FROM pragma_application_id, pragma_user_version",
    );
    let tables = lines(
        shell,
        "SELECT t.name || ': ' \
         || (SELECT group_concat(name || ' ' || type || iif(\"notnull\", '!', ''), ', ' ORDER BY cid) \
             FROM pragma_table_info(t.name)) \
         || ' / key ' \
         || (SELECT group_concat(name, ', ' ORDER BY pk) FROM pragma_table_info(t.name) WHERE pk > 0) \
         FROM sqlite_schema AS t WHERE type = 'table' ORDER BY name",
    );
    let indexes = lines(
        shell,
        "SELECT i.name || ': ' || i.tbl_name || ' (' \
         || (SELECT group_concat(name, ', ' ORDER BY seqno) FROM pragma_index_info(i.name)) \
         || ')' || iif(sql LIKE '% WHERE %', ' where', '') \
         FROM sqlite_schema AS i WHERE type = 'index' AND sql IS NOT NULL ORDER BY name",
    );
    let rest = lines(
        shell,
        "SELECT type || ' ' || name FROM sqlite_schema WHERE type NOT IN ('table', 'index')",
    );
    format!("{marks}{tables}{indexes}{rest}")
}

#[test]
fn the_tables_are_those_that_files_out_there_have() {
    let rig = Rig::new();
    drop(rig.open());
    assert_eq!(described(&rig.shell()), TABLES);
}
