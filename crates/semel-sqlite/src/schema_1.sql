CREATE TABLE counter (
    name  TEXT NOT NULL PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO counter VALUES ('next_version', 1);

CREATE TABLE entity (
    endpoint   TEXT NOT NULL,
    entity_id  TEXT NOT NULL,
    state      NOT NULL,
    version    INTEGER NOT NULL,
    expires_at INTEGER,
    PRIMARY KEY (endpoint, entity_id)
) WITHOUT ROWID;
CREATE INDEX entity_expires ON entity (expires_at) WHERE expires_at IS NOT NULL;

-- message is the CloudEvents source and id, apart by a space.
CREATE TABLE inbox (
    endpoint   TEXT NOT NULL,
    message    TEXT NOT NULL,
    entity_id  NOT NULL,
    version    INTEGER NOT NULL,
    expires_at INTEGER,
    PRIMARY KEY (endpoint, message)
) WITHOUT ROWID;
CREATE INDEX inbox_expires ON inbox (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE outbox (
    endpoint   TEXT NOT NULL,
    message    TEXT NOT NULL,
    effects    NOT NULL,
    version    INTEGER NOT NULL,
    expires_at INTEGER,
    PRIMARY KEY (endpoint, message)
) WITHOUT ROWID;
CREATE INDEX outbox_expires ON outbox (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE reply (
    resource        TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    reply           NOT NULL,
    version         INTEGER NOT NULL,
    expires_at      INTEGER,
    PRIMARY KEY (resource, idempotency_key)
) WITHOUT ROWID;
CREATE INDEX reply_expires ON reply (expires_at) WHERE expires_at IS NOT NULL;

-- available_at: from when on the message can be received; while receipt is set, the end of the
-- lease under which a worker holds it.
CREATE TABLE queue (
    position      INTEGER PRIMARY KEY,
    endpoint      TEXT NOT NULL,
    available_at  INTEGER NOT NULL,
    receipt       INTEGER,
    deliveries    INTEGER NOT NULL,
    failure_count INTEGER NOT NULL,
    failures      TEXT,
    queued_at     INTEGER NOT NULL,
    message_id    TEXT NOT NULL,
    source        TEXT NOT NULL,
    type          TEXT NOT NULL,
    subject       TEXT,
    sent_at       INTEGER,
    content_type  TEXT,
    schema        TEXT,
    extensions    TEXT,
    data          NOT NULL,
    partition_key TEXT
);
CREATE INDEX queue_available ON queue (endpoint, available_at, position);
CREATE INDEX queue_order ON queue (endpoint, partition_key, position)
    WHERE partition_key IS NOT NULL;

CREATE TABLE dead_letter (
    number        INTEGER PRIMARY KEY,
    endpoint      TEXT NOT NULL,
    reason        TEXT NOT NULL,
    dead_since    INTEGER NOT NULL,
    deliveries    INTEGER NOT NULL,
    failure_count INTEGER NOT NULL,
    failures      TEXT,
    queued_at     INTEGER NOT NULL,
    message_id    TEXT NOT NULL,
    source        TEXT NOT NULL,
    type          TEXT NOT NULL,
    subject       TEXT,
    sent_at       INTEGER,
    content_type  TEXT,
    schema        TEXT,
    extensions    TEXT,
    data          NOT NULL,
    partition_key TEXT
);

CREATE TABLE endpoint (
    name          TEXT NOT NULL PRIMARY KEY,
    protocol      TEXT NOT NULL,
    registered_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE subscription (
    type     TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    PRIMARY KEY (type, endpoint)
) WITHOUT ROWID;
