//! The tables of the spaces, and the statements on them.

use semel_core::store::Space;

/// What the table of a space is called, and its columns for partition, key and value.
#[derive(Clone, Copy)]
pub(crate) struct Table {
    pub(crate) name: &'static str,
    pub(crate) partition: &'static str,
    pub(crate) key: &'static str,
    pub(crate) value: &'static str,
}

/// The table of a space.
pub(crate) const fn table(space: Space) -> Table {
    match space {
        Space::Entity => {
            Table { name: "entity", partition: "endpoint", key: "entity_id", value: "state" }
        }
        Space::Inbox => {
            Table { name: "inbox", partition: "endpoint", key: "message", value: "entity_id" }
        }
        Space::Outbox => {
            Table { name: "outbox", partition: "endpoint", key: "message", value: "effects" }
        }
        Space::Token => {
            Table { name: "token", partition: "endpoint", key: "token", value: "value" }
        }
        _ => Table { name: "reply", partition: "resource", key: "idempotency_key", value: "reply" },
    }
}

/// One thing that a batch does to the table of a space, to many rows at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Deed {
    /// Creates rows that must not be there.
    Insert,
    /// Creates or replaces rows.
    Upsert,
    /// Replaces rows that must have a version.
    Update,
    /// Checks that rows are not there.
    Absent,
    /// Deletes rows that must have a version.
    DeleteVersion,
    /// Deletes rows, if they are there.
    Delete,
}

impl Deed {
    /// Whether it may fail for a row.
    pub(crate) const fn has_condition(self) -> bool {
        !matches!(self, Self::Upsert | Self::Delete)
    }

    /// The part of its statement with one row for each row for which the condition held: `done` tells
    /// which they were, but need not be asked for their number.
    pub(crate) const fn counted(self) -> &'static str {
        match self {
            Self::Insert | Self::Absent => "made",
            Self::Upsert | Self::Update | Self::DeleteVersion | Self::Delete => "done",
        }
    }
}

/// The columns `(p, k, v, keep, expected)` of the rows wanted, with their place `at` and the time.
const WANTED: &str = "wanted AS (SELECT *, \
    coalesce($6::timestamptz, statement_timestamp()) AS now FROM unnest($1::text[], $2::text[], \
    $3::bytea[], $4::bigint[], $5::bigint[]) WITH ORDINALITY \
    AS w (p, k, v, keep, expected, at))";

/// The statement of one deed: after `WITH`, and with what it did as `done (at)`.
///
/// Rows come sorted by their keys, and are worked on as they come, so that transactions lock them in
/// one order.
pub(crate) fn deed(schema: &str, space: Space, deed: Deed) -> String {
    let Table { name, partition, key, value } = table(space);
    let table = format!("{schema}.{name}");
    let version = format!("(SELECT currval('{schema}.item_version'))");
    let expires = "now + keep * interval '1 millisecond'";
    let insert = format!(
        "INSERT INTO {table} ({partition}, {key}, {value}, version, expires_at) \
         SELECT p, k, v, {version}, {expires} FROM wanted ON CONFLICT"
    );
    let is_wanted = format!("{table}.{partition} = wanted.p AND {table}.{key} = wanted.k");
    let done = match deed {
        // An INSERT cannot name where a row came from; its key can. To check that a row is absent
        // is to make one: that waits for whoever is making one at this moment. `remove_checks`
        // takes it away again. As a condition of its own, IN goes by a hash, which a join may not.
        Deed::Insert | Deed::Absent => format!(
            "made AS ({insert} DO NOTHING RETURNING {partition} AS p, {key} AS k), \
             done AS (SELECT at FROM wanted WHERE ((p, k) IN (SELECT p, k FROM made)) IS TRUE)"
        ),
        Deed::Upsert => format!(
            "done AS ({insert} ({partition}, {key}) DO UPDATE SET {value} = EXCLUDED.{value}, \
             version = EXCLUDED.version, expires_at = EXCLUDED.expires_at RETURNING 1::bigint AS at)"
        ),
        Deed::Update => format!(
            "done AS (UPDATE {table} SET {value} = v, version = {version}, \
             expires_at = {expires} FROM wanted WHERE {is_wanted} \
             AND {table}.version = wanted.expected RETURNING at)"
        ),
        Deed::DeleteVersion => format!(
            "done AS (DELETE FROM {table} USING wanted WHERE {is_wanted} \
             AND {table}.version = wanted.expected RETURNING at)"
        ),
        Deed::Delete => {
            format!("done AS (DELETE FROM {table} USING wanted WHERE {is_wanted} RETURNING at)")
        }
    };
    format!("{WANTED}, {done}")
}

/// Takes away the rows with which [`Deed::Absent`] checked.
pub(crate) fn remove_checks(schema: &str, space: Space) -> String {
    let Table { name, partition, key, .. } = table(space);
    format!(
        "DELETE FROM {schema}.{name} USING unnest($1::text[], $2::text[]) AS wanted (p, k) \
         WHERE {partition} = wanted.p AND {key} = wanted.k \
         AND version = currval('{schema}.item_version')"
    )
}
