-- Messages with a partition key are found by their keys alone, so that those behind one key are not
-- looked through by whoever looks for others.
DROP INDEX {schema}.queue_ready;
DROP INDEX {schema}.queue_waiting;
CREATE INDEX queue_ready ON {schema}.queue (endpoint, position)
    WHERE due_at IS NULL AND partition_key IS NULL;
CREATE INDEX queue_waiting ON {schema}.queue (endpoint, due_at, position)
    WHERE due_at IS NOT NULL AND partition_key IS NULL;
CREATE INDEX queue_order_waiting ON {schema}.queue (endpoint, due_at)
    WHERE due_at IS NOT NULL AND partition_key IS NOT NULL;
