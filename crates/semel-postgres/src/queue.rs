//! The queue: messages as rows, receipts as random numbers.

use semel_core::broker::Receipt;

/// The most deliveries of one receive.
pub(crate) const RECEIVE_MAX: usize = 1_000;

/// The columns that hold an envelope, in the order of [`crate::row::read_envelope`].
pub(crate) const ENVELOPE: &str =
    "message_id, source, type, subject, sent_at, content_type, schema, extensions, data";

/// What a receipt of ours points at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Held {
    /// A message in the queue, and the delivery under which it is held.
    Queued { position: i64, receipt: i64 },
    /// A dead letter.
    Dead { number: i64 },
}

/// Reads a receipt; `None` if it is not one of ours: as stale as one can be.
pub(crate) fn parse(receipt: &Receipt) -> Option<Held> {
    let text = receipt.as_str();
    if let Some(number) = text.strip_prefix("dead.") {
        return Some(Held::Dead { number: number.parse().ok()? });
    }
    let (position, receipt) = text.split_once('.')?;
    Some(Held::Queued { position: position.parse().ok()?, receipt: receipt.parse().ok()? })
}

pub(crate) fn receipt(position: i64, receipt: i64) -> Receipt {
    Receipt::new(format!("{position}.{receipt}"))
}

/// The receipt of a dead letter. Its number never comes back.
pub(crate) fn dead_receipt(number: i64) -> Receipt {
    Receipt::new(format!("dead.{number}"))
}

/// One thing that a batch does to many messages at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Deed {
    /// Removes messages that are held.
    Ack,
    /// Gives messages back that are held, with or without a failure.
    GiveBack,
    /// Makes dead letters of messages that are held.
    Park,
    /// Removes dead letters.
    Forget,
    /// Makes messages of dead letters again.
    Replay,
}

/// What the failures become with one more; the oldest goes beyond 20.
const FAILURES: &str = "CASE WHEN jsonb_typeof(failures) <> 'array' THEN jsonb_build_array(failures) \
    WHEN jsonb_array_length(failures) >= 20 THEN failures - 0 \
    ELSE coalesce(failures, '[]') END || jsonb_build_array(failure::jsonb)";

/// From when on a message can be received that shall wait `after` milliseconds.
const DUE: &str =
    "CASE WHEN coalesce(after, 0) = 0 THEN NULL ELSE now + after * interval '1 millisecond' END";

/// The statement of one deed: after `WITH`, and with what it did as `done (at)`.
pub(crate) fn deed(schema: &str, deed: Deed) -> String {
    let wanted = "wanted AS (SELECT *, \
        coalesce($7::timestamptz, statement_timestamp()) AS now FROM unnest($1::bigint[], \
        $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[]) WITH ORDINALITY \
        AS w (number, proof, after, failure, reason, entity, at))";
    let is_held = "position = number AND receipt = proof";
    let done = match deed {
        Deed::Ack => {
            format!(
                "done AS (DELETE FROM {schema}.queue USING wanted WHERE {is_held} RETURNING at)"
            )
        }
        // Given back without blame, the delivery does not count; and a message that never waited
        // goes back to its place.
        Deed::GiveBack => format!(
            "done AS (UPDATE {schema}.queue SET receipt = NULL, leased_until = NULL, \
             due_at = CASE WHEN coalesce(after, 0) = 0 THEN due_at ELSE {DUE} END, \
             deliveries = CASE WHEN failure IS NULL THEN greatest(deliveries - 1, 0) \
             ELSE deliveries END, \
             failure_count = failure_count + (failure IS NOT NULL)::integer, \
             failures = CASE WHEN failure IS NULL THEN failures ELSE {FAILURES} END \
             FROM wanted WHERE {is_held} RETURNING at)"
        ),
        Deed::Park => format!(
            "gone AS (DELETE FROM {schema}.queue USING wanted WHERE {is_held} \
             RETURNING queue.*, now, failure, reason, entity, at), \
             made AS (INSERT INTO {schema}.dead_letter (position, endpoint, reason, entity_id, \
             dead_since, deliveries, failure_count, failures, queued_at, partition_key, {ENVELOPE}) \
             SELECT position, endpoint, reason, entity, now, deliveries, failure_count + 1, \
             {FAILURES}, queued_at, partition_key, {ENVELOPE} FROM gone ORDER BY at), \
             done AS (SELECT at FROM gone)"
        ),
        Deed::Forget => format!(
            "done AS (DELETE FROM {schema}.dead_letter USING wanted \
             WHERE dead_letter.number = wanted.number RETURNING at)"
        ),
        // It starts anew, with its history but with all its tries.
        Deed::Replay => format!(
            "gone AS (DELETE FROM {schema}.dead_letter USING wanted \
             WHERE dead_letter.number = wanted.number RETURNING dead_letter.*, now, after, at), \
             made AS (INSERT INTO {schema}.queue (endpoint, due_at, failures, queued_at, \
             partition_key, {ENVELOPE}) SELECT endpoint, {DUE}, failures, now, partition_key, \
             {ENVELOPE} FROM gone ORDER BY at), done AS (SELECT at FROM gone)"
        ),
    };
    format!("{wanted}, {done}")
}

/// Queues messages, those without endpoint for each subscriber, and returns who got some.
pub(crate) fn send(schema: &str) -> String {
    format!(
        "WITH wanted AS (SELECT *, \
         coalesce($13::timestamptz, statement_timestamp()) AS now FROM unnest($1::text[], \
         $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], \
         $8::timestamptz[], $9::text[], $10::text[], $11::text[], $12::bytea[]) WITH ORDINALITY \
         AS w (endpoint, after, partition_key, message_id, source, type, subject, sent_at, \
         content_type, schema, extensions, data, at)), \
         done AS (INSERT INTO {schema}.queue (endpoint, due_at, queued_at, partition_key, {ENVELOPE}) \
         SELECT coalesce(wanted.endpoint, subscription.endpoint), {DUE}, now, partition_key, \
         message_id, source, wanted.type, subject, sent_at, content_type, schema, \
         extensions::jsonb, data FROM wanted LEFT JOIN {schema}.subscription \
         ON wanted.endpoint IS NULL AND subscription.type = wanted.type \
         WHERE coalesce(wanted.endpoint, subscription.endpoint) IS NOT NULL \
         ORDER BY at RETURNING endpoint) SELECT DISTINCT endpoint FROM done"
    )
}

/// The column of a receive that says where to look next.
pub(crate) const NEXT_KEY: usize = 13;
/// How many partition keys one receive looks at.
const KEYS_MAX: usize = 1_000;
/// How many messages of one partition key it takes.
const OF_KEY_MAX: usize = 100;

/// The moment at which a receive looks: one for all statements of its transaction.
const MOMENT: &str = "coalesce($2::timestamptz, transaction_timestamp())";

/// Takes up to `$3` messages of the endpoint `$1` under the receipt `$4` for `$5` milliseconds. The
/// last column says from which partition key on to look next; null where all were looked at.
///
/// A message with a partition key is taken only with all those before it of its key. Its place
/// decides: a message that another took, locked or removed meanwhile still counts. Keys are looked
/// at from `$6` on, a bounded number of them, and of each whose first message is not free, that one:
/// so what waits behind one key costs nothing.
///
/// Up to a half is left to messages without a key, as many as there seem to be; those with a key are
/// locked first, so that no more is locked of the others than is taken. Where all was left to them,
/// of one message, and another took it, the next look begins at the same key.
///
/// Messages without a key are updated where they were seen: one that was changed since is left for
/// the next receive. Of a key, none may be left out while a later one is taken, so these are updated
/// by their positions, which finds them as they were locked.
pub(crate) fn receive(schema: &str) -> String {
    let free = "(one.receipt IS NULL OR one.leased_until <= (SELECT now FROM moment)) \
         AND (one.due_at IS NULL OR one.due_at <= (SELECT now FROM moment))";
    let queue = format!("{schema}.queue AS one");
    // Ranges of one value: by an equality, the server may choose the index of all positions, and
    // filter.
    let loose = format!(
        "SELECT ctid FROM {queue} WHERE endpoint >= $1 AND endpoint <= $1 \
         AND partition_key IS NULL AND {free} AND due_at"
    );
    let keyed = format!("FROM {queue} WHERE endpoint = $1 AND partition_key");
    let of_key = format!("{keyed} >= k AND partition_key <= k");
    let in_order = "ORDER BY partition_key, position LIMIT";
    let take = format!(
        "UPDATE {schema}.queue SET receipt = $4, deliveries = deliveries + 1, \
         leased_until = (SELECT now FROM moment) + $5::bigint * interval '1 millisecond' WHERE"
    );
    let taken = format!("RETURNING position, deliveries, failure_count, failures, {ENVELOPE}");
    format!(
        "WITH RECURSIVE moment AS MATERIALIZED (SELECT {MOMENT} AS now), \
         key (k, number) AS ((SELECT partition_key, 1 {keyed} >= $6 ORDER BY partition_key LIMIT 1) \
         UNION ALL SELECT (SELECT partition_key {keyed} > k ORDER BY partition_key LIMIT 1), \
         number + 1 FROM key WHERE k IS NOT NULL AND number <= {KEYS_MAX}), \
         share (most) AS MATERIALIZED (SELECT CASE WHEN (SELECT k FROM key LIMIT 1) IS NULL \
         THEN $3::bigint ELSE $3 - (SELECT count(*) FROM ({loose} IS NOT NULL UNION ALL {loose} IS NULL \
         LIMIT ($3 + ($4::bigint & 1)) / 2) AS loose) END), \
         found AS MATERIALIZED (SELECT k, behind.position, behind.place FROM key, \
         LATERAL (SELECT position, {free} AS is_free {of_key} {in_order} 1) AS head, \
         LATERAL (SELECT position, row_number() OVER before AS place, \
         bool_and(is_free) OVER before AS is_free FROM (SELECT position, {free} AS is_free {of_key} \
         AND position >= head.position {in_order} {OF_KEY_MAX}) AS one \
         WINDOW before AS (ORDER BY position)) AS behind \
         WHERE number <= {KEYS_MAX} AND head.is_free AND behind.is_free \
         LIMIT (SELECT most FROM share)), \
         locked AS MATERIALIZED (SELECT one.ctid, k, one.position, place FROM found \
         JOIN {queue} ON one.position = found.position WHERE {free} \
         FOR UPDATE OF one SKIP LOCKED), \
         ranked AS (SELECT position, place, \
         row_number() OVER (PARTITION BY k ORDER BY position) AS rank FROM locked), \
         ordered AS MATERIALIZED (SELECT position FROM ranked WHERE rank = place), \
         waiting AS MATERIALIZED ({loose} IS NOT NULL ORDER BY endpoint, due_at, position \
         LIMIT $3 - (SELECT count(*) FROM ordered) FOR UPDATE SKIP LOCKED), \
         ready AS MATERIALIZED ({loose} IS NULL ORDER BY endpoint, position \
         LIMIT $3 - (SELECT count(*) FROM ordered) - (SELECT count(*) FROM waiting) \
         FOR UPDATE SKIP LOCKED), \
         of_key AS ({take} position = ANY (ARRAY(SELECT position FROM ordered)) {taken}), \
         of_none AS ({take} ctid = ANY (ARRAY(SELECT ctid FROM waiting \
         UNION ALL SELECT ctid FROM ready)) {taken}), \
         done AS (SELECT * FROM of_key UNION ALL SELECT * FROM of_none), \
         onward (next) AS (SELECT CASE WHEN (SELECT most FROM share) = 0 THEN $6 \
         WHEN (SELECT count(*) FROM found) < (SELECT most FROM share) \
         THEN (SELECT k FROM key WHERE number > {KEYS_MAX}) \
         ELSE (SELECT max(k) FROM found) || E'\\x01' END) \
         SELECT done.*, next FROM onward LEFT JOIN done ON true"
    )
}

/// How many milliseconds it takes until the next message of `$1` has waited long enough, of those
/// that a receive in the same transaction took to be waiting. What has become due since then was due
/// a negative number ago.
pub(crate) fn next_due(schema: &str) -> String {
    let next = |keyed: &str| {
        format!(
            "(SELECT due_at FROM {schema}.queue WHERE endpoint = $1 AND due_at > {MOMENT} \
             AND partition_key {keyed} ORDER BY due_at LIMIT 1)"
        )
    };
    format!(
        "SELECT ceil(extract(epoch FROM least({}, {}) - coalesce($2, clock_timestamp())) \
         * 1000)::bigint",
        next("IS NULL"),
        next("IS NOT NULL")
    )
}

/// Makes leases last longer.
pub(crate) fn extend(schema: &str) -> String {
    format!(
        "WITH wanted AS MATERIALIZED (SELECT * FROM unnest($1::bigint[], $2::bigint[]) \
         WITH ORDINALITY AS w (number, proof, at)) \
         UPDATE {schema}.queue SET leased_until = coalesce($4::timestamptz, clock_timestamp()) \
         + $3::bigint * interval '1 millisecond' FROM wanted \
         WHERE position = number AND receipt = proof RETURNING at"
    )
}

#[cfg(test)]
mod tests {
    use semel_core::broker::Receipt;

    use super::{Held, dead_receipt, parse, receipt};

    #[test]
    fn receipts_are_read_as_written() {
        let queued = Held::Queued { position: 7, receipt: -9 };
        assert_eq!(parse(&receipt(7, -9)), Some(queued));
        assert_eq!(parse(&dead_receipt(12)), Some(Held::Dead { number: 12 }));
    }

    #[test]
    fn a_receipt_of_another_place_is_none_of_ours() {
        for text in ["", "7", "7.", ".7", "dead.", "dead.x", "7.x", "a.b.c"] {
            assert_eq!(parse(&Receipt::new(text)), None, "{text}");
        }
    }
}
