CREATE TABLE token (
    endpoint   TEXT NOT NULL,
    token      TEXT NOT NULL,
    value      NOT NULL,
    version    INTEGER NOT NULL,
    expires_at INTEGER,
    PRIMARY KEY (endpoint, token)
) WITHOUT ROWID;
CREATE INDEX token_expires ON token (expires_at) WHERE expires_at IS NOT NULL;

-- The entity that the message is for, where the endpoint could tell when it parked it.
ALTER TABLE dead_letter ADD COLUMN entity_id TEXT;
