"""The layout of the projection's file. Instants are milliseconds since 1970, states are codes (`codes`)."""

from __future__ import annotations

from typing import Final

__all__ = ["TABLES", "VERSION"]

VERSION: Final = 6
"""Raised by every change of the layout or of the folding. A file of another version is emptied and read again."""

_SQL: Final = """
CREATE TABLE checkpoint (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    stream_created TEXT NOT NULL DEFAULT '',   -- a stream that was deleted and made again has another one
    sequence INTEGER NOT NULL DEFAULT 0,       -- every event up to this one is in the rows
    stored_at INTEGER NOT NULL DEFAULT 0,      -- when the server stored that event: a stream that was rolled back has
    subject TEXT NOT NULL DEFAULT '',          -- another event in its place
    first_sequence INTEGER NOT NULL DEFAULT 0,
    last_sequence INTEGER NOT NULL DEFAULT 0,  -- the end of the stream when it was last looked at
    looked_at INTEGER NOT NULL DEFAULT 0,      -- when that was, by the clock of this machine
    is_complete INTEGER NOT NULL DEFAULT 0,    -- whether the end was reached since the file was emptied
    malformed INTEGER NOT NULL DEFAULT 0,      -- messages that are not events, or that name another job
    orphans INTEGER NOT NULL DEFAULT 0,        -- jobs that were dropped, whose arguments are still here
    purges_at INTEGER NOT NULL DEFAULT 0,      -- when purged jobs were last looked for
    salt BLOB NOT NULL
)

CREATE TABLE queue (
    number INTEGER PRIMARY KEY,
    prefix TEXT NOT NULL UNIQUE,
    service TEXT NOT NULL,
    name TEXT NOT NULL
)

-- Texts that many jobs repeat: workers, digests, types of errors, triggers, actors.
CREATE TABLE word (
    number INTEGER PRIMARY KEY,
    text TEXT NOT NULL UNIQUE
)

CREATE TABLE job (
    created_seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    queue INTEGER NOT NULL,
    state INTEGER NOT NULL,
    state_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    state_at INTEGER NOT NULL,
    started_at INTEGER,
    ended_at INTEGER,
    next_at INTEGER,
    deadline INTEGER,
    tries INTEGER NOT NULL,
    max_tries INTEGER NOT NULL,
    error TEXT,
    error_type INTEGER,
    fingerprint INTEGER,
    key TEXT,
    key_hash TEXT,
    worker INTEGER,
    digest INTEGER,
    trace_id TEXT,
    request_id TEXT,
    trigger INTEGER,
    parent_id TEXT,
    root_id TEXT,
    progress TEXT,
    bulk TEXT,
    actor INTEGER,
    payload_bytes INTEGER NOT NULL
)

CREATE UNIQUE INDEX job_id ON job (id, queue)

CREATE INDEX job_state ON job (queue, state)

-- With next_at it answers how long the oldest job has waited without a look at the rows.
CREATE INDEX job_state_seq ON job (queue, state, state_seq, next_at)

CREATE INDEX job_next ON job (queue, state, next_at) WHERE next_at IS NOT NULL

CREATE INDEX job_deadline ON job (deadline) WHERE deadline IS NOT NULL AND state < 3

CREATE INDEX job_fingerprint ON job (fingerprint, state, ended_at) WHERE fingerprint IS NOT NULL

CREATE INDEX job_error_type ON job (error_type) WHERE error_type IS NOT NULL

CREATE INDEX job_key ON job (key) WHERE key IS NOT NULL

CREATE INDEX job_key_hash ON job (key_hash) WHERE key_hash IS NOT NULL

CREATE INDEX job_key_open ON job (queue, key_hash, state) WHERE key_hash IS NOT NULL AND state < 3

CREATE INDEX job_worker ON job (worker) WHERE worker IS NOT NULL

CREATE INDEX job_digest ON job (digest) WHERE digest IS NOT NULL

CREATE INDEX job_open_digest ON job (queue, state, digest) WHERE digest IS NOT NULL AND state < 3

CREATE INDEX job_trace ON job (trace_id) WHERE trace_id IS NOT NULL

CREATE INDEX job_parent ON job (parent_id) WHERE parent_id IS NOT NULL

CREATE INDEX job_root ON job (root_id) WHERE root_id IS NOT NULL

CREATE INDEX job_bulk ON job (bulk) WHERE bulk IS NOT NULL

CREATE INDEX job_actor ON job (actor) WHERE actor IS NOT NULL

CREATE TABLE counter (
    queue INTEGER NOT NULL,
    state INTEGER NOT NULL,
    jobs INTEGER NOT NULL,
    PRIMARY KEY (queue, state)
) WITHOUT ROWID

-- How often something happened in `step` minutes from the minute `at` on.
CREATE TABLE series (
    step INTEGER NOT NULL,
    at INTEGER NOT NULL,
    queue INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    number INTEGER NOT NULL,
    PRIMARY KEY (step, at, queue, kind)
) WITHOUT ROWID

-- The sequences of the events that made states in a minute: it turns ranges of time into ranges of sequences.
CREATE TABLE span (
    minute INTEGER PRIMARY KEY,
    first_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL
)

CREATE TABLE pattern (
    fingerprint INTEGER PRIMARY KEY,
    error_type TEXT,
    text TEXT NOT NULL
)

-- The scalars of payloads, as hashes of 64 bits.
CREATE TABLE argument (
    hash INTEGER NOT NULL,
    job INTEGER NOT NULL,
    PRIMARY KEY (hash, job)
) WITHOUT ROWID

-- The newest heartbeat of each process for each of its queues.
CREATE TABLE worker (
    instance TEXT NOT NULL,
    prefix TEXT NOT NULL,
    service TEXT NOT NULL,
    queue TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    at INTEGER NOT NULL,
    first_at INTEGER NOT NULL,
    concurrency INTEGER NOT NULL,
    version TEXT,
    extension TEXT NOT NULL,
    PRIMARY KEY (instance, prefix)
) WITHOUT ROWID

-- The words of errors. It holds no text: that is in the rows of jobs.
CREATE VIRTUAL TABLE error_text USING fts5 (text, content='')
"""

TABLES: Final = tuple(_SQL.strip().split("\n\n"))
"""The statements that create everything, in order."""
