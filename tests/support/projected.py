"""Streams of job events without a server, and the rows that a projection has of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Final

from hypothesis import strategies as st
from pydantic import JsonValue
from trellis_admin.projection.codes import from_milliseconds
from trellis_admin.projection.database import Database
from trellis_admin.projection.incoming import Incoming
from trellis_admin.projection.writer import Writer
from trellis_nats.clock import timestamp
from trellis_nats.jobs.model.states import EventType
from trellis_nats.jobs.model.subjects import worker_heartbeat_subject

from tests.support.foreign_events import foreign_body

__all__ = ["START", "Rows", "dump", "heartbeat", "histories", "job_event", "open_projection", "write_pages"]

Rows = dict[str, list[tuple[object, ...]]]

START: Final = 1_750_000_000_000
"""When the first message is stored: in June 2025."""
SALT: Final = b"0123456789abcdef"
_NOTHING: Final[Mapping[str, JsonValue]] = MappingProxyType({})
_TABLES: Final = {
    "job": "SELECT * FROM job JOIN queue ON number = queue ORDER BY created_seq",
    "counter": "SELECT prefix, state, jobs FROM counter JOIN queue ON number = queue WHERE jobs != 0 ORDER BY 1, 2",
    "series": "SELECT step, at, prefix, kind, series.number FROM series JOIN queue ON queue.number = queue "
    "WHERE series.number != 0 ORDER BY 1, 2, 3, 4",
    "span": "SELECT * FROM span ORDER BY minute",
    "argument": "SELECT * FROM argument WHERE job IN (SELECT created_seq FROM job) ORDER BY 1, 2",
    "pattern": "SELECT * FROM pattern WHERE fingerprint IN (SELECT fingerprint FROM job) ORDER BY 1",
    "worker": "SELECT * FROM worker ORDER BY 1, 2",
    "checkpoint": "SELECT sequence, stored_at, subject, malformed FROM checkpoint",
}
_WORDS: Final = ("error_type", "worker", "digest", "trigger", "actor")


def job_event(
    sequence: int,
    job_id: str,
    kind: EventType,
    fields: Mapping[str, JsonValue] = _NOTHING,
    *,
    queue: str = "pack",
    at: int | None = None,
    digest: str = "",
) -> Incoming:
    """Return an event as it is stored. `at` is when it was written, in milliseconds since 1970."""
    stored_at = START + sequence * 1_000
    written = timestamp(from_milliseconds(stored_at if at is None else at))
    body = foreign_body(kind, job_id, {"timestamp": written, **fields}, queue=queue)
    subject = f"trellis.jobs.shop.{queue}.{job_id}.{kind.value}"
    return Incoming(sequence, stored_at, subject, json.dumps(body).encode(), digest)


def heartbeat(sequence: int, instance: str, *, queue: str = "pack", **more: JsonValue) -> Incoming:
    """Return a heartbeat as it is stored."""
    stored_at = START + sequence * 1_000
    body = {
        "service": "shop",
        "jobType": queue,
        "instanceId": instance,
        "concurrency": 4,
        "timestamp": timestamp(from_milliseconds(stored_at)),
        **more,
    }
    return Incoming(
        sequence, stored_at, worker_heartbeat_subject("shop", queue, instance), json.dumps(body).encode()
    )


def open_projection(path: Path) -> Database:
    """Open a file whose index of arguments is the same in every test."""
    database = Database.open(path)
    database.connection.execute("PRAGMA synchronous = OFF")
    database.connection.execute("UPDATE checkpoint SET salt = ?", (SALT,))
    return database


def write_pages(path: Path, pages: Sequence[Sequence[Incoming]]) -> Rows:
    """Write pages of messages to a new file, and return its rows."""
    path.unlink(missing_ok=True)
    with closing(open_projection(path)) as database:
        writer = Writer(database)
        for page in pages:
            checkpoint = writer.checkpoint()
            writer.apply(page, generation=checkpoint.salt, after=checkpoint.sequence)
        return dump(database)


def dump(database: Database) -> Rows:
    """Return the rows of a file, with names in the places of numbers that depend on the order of writing."""
    connection = database.connection
    rows: Rows = {table: connection.execute(query).fetchall() for table, query in _TABLES.items()}
    names = [column[0] for column in connection.execute(_TABLES["job"]).description]
    words = dict(connection.execute("SELECT number, text FROM word").fetchall())
    skipped = {"queue", "number"}
    rows["job"] = [
        tuple(
            words.get(value, value) if name in _WORDS else value
            for name, value in zip(names, row, strict=True)
            if name not in skipped
        )
        for row in rows["job"]
    ]
    rows["error_text"] = connection.execute("SELECT rowid FROM error_text ORDER BY rowid").fetchall()
    return rows


def _fields(kind: EventType, number: int) -> dict[str, JsonValue]:
    fields: dict[str, JsonValue] = {
        "tries": 0 if kind in (EventType.CREATED, EventType.RETRIED) else number % 4
    }
    if kind is EventType.STARTED and number % 2:
        fields["worker"] = {"instanceId": f"worker-{number % 3}"}
    if kind in (EventType.FAILED, EventType.RETRY, EventType.DEAD, EventType.EXPIRED) and number % 5:
        fields["error"] = f"ValueError: order {number} is {'late' if number % 2 else 'wrong'}"
    if kind is EventType.RETRY and number % 3 == 0:
        fields["notBefore"] = timestamp(from_milliseconds(START) + timedelta(seconds=60 * (number % 30)))
    if kind is EventType.RETRIED and number % 2:
        fields["adminAction"] = {
            "actor": f"op-{number % 2}",
            "bulkId": f"b-{number % 3}",
            "reason": "because",
        }
    if kind is EventType.CREATED:
        fields["payload"] = {"number": number, "to": {"city": f"c-{number % 4}"}}
        if number % 2:
            fields["deadline"] = timestamp(from_milliseconds(START) + timedelta(seconds=number))
    return fields


@st.composite
def histories(draw: st.DrawFn, *, most: int = 40) -> list[Incoming]:
    """Draw a stream: events of a few jobs of two queues in any order, legal or not, with heartbeats and noise."""
    stream: list[Incoming] = []
    sequence = 0
    for number in draw(st.lists(st.integers(0, 2**20), max_size=most)):
        sequence += 1 + number % 3
        kind = draw(st.sampled_from(EventType))
        job_id, queue = f"JOB{number % 5}", ("pack", "sort")[number % 2]
        match number % 17:
            case 0:
                stream.append(heartbeat(sequence, f"worker-{number % 3}", queue=queue, running=number % 4))
            case 1:
                subject = f"trellis.jobs.shop.{queue}.{job_id}.{kind.value}"
                stream.append(Incoming(sequence, START + sequence * 1_000, subject, b'{"jobId": 1}'))
            case 2:
                stream.append(
                    job_event(
                        sequence, job_id, EventType.CREATED, _fields(EventType.CREATED, number), queue=queue
                    )
                )
            case _:
                stream.append(job_event(sequence, job_id, kind, _fields(kind, number), queue=queue))
    return stream
