"""Many jobs that no worker has worked: their events are written at once, as a worker would have stored them."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import Final

from pydantic import JsonValue
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.bulk_reader import BulkReader
from trellis_nats._nats.jetstream.publish import begin_publish
from trellis_nats.ids import new_id
from trellis_nats.jobs.model.states import EventType

from tests.support.foreign_events import foreign_body

__all__ = ["actions_of", "store_jobs"]

_ENDINGS: Final = {
    "pending": [],
    "dead": [EventType.STARTED, EventType.DEAD],
    "failed": [EventType.STARTED, EventType.FAILED],
    "stale": [EventType.STARTED, EventType.STALE],
}
_NOTHING: Final[Mapping[str, JsonValue]] = MappingProxyType({})
_TOGETHER: Final = 500


async def store_jobs(
    connection: Connection,
    count: int,
    state: str = "dead",
    *,
    service: str = "shop",
    queue: str = "pack",
    error: str = "ValueError: no box is large enough",
    created: Mapping[str, JsonValue] = _NOTHING,
    ids: Sequence[str] = (),
) -> Sequence[str]:
    """Store jobs in a state, and return their ids. `created` has members for the events that create them."""
    ids = ids or [new_id() for _ in range(count)]
    publishes: list[asyncio.Future[object]] = []
    for number, job_id in enumerate(ids):
        for kind in (EventType.CREATED, *_ENDINGS[state]):
            fields: dict[str, JsonValue] = {"payload": {"number": number}, **created}
            if kind is not EventType.CREATED:
                fields = {} if kind is EventType.STARTED else {"error": error}
            fields["service"] = service
            body = json.dumps(foreign_body(kind, job_id, fields, queue=queue)).encode()
            subject = f"trellis.jobs.{service}.{queue}.{job_id}.{kind}"
            publishes.append(
                begin_publish(
                    connection,
                    subject,
                    body,
                    message_id=f"{queue}.{job_id}.{kind}",
                    timeout=timedelta(seconds=30),
                )  # type: ignore[arg-type]
            )
        if len(publishes) > _TOGETHER:
            await asyncio.gather(*publishes)
            publishes.clear()
    await asyncio.gather(*publishes)
    return ids


async def actions_of(connection: Connection, kind: str = "retried") -> Counter[tuple[str, str | None]]:
    """Return how often each job has an event of a kind, by its id and the bulk action that wrote it."""
    found: Counter[tuple[str, str | None]] = Counter()
    async with BulkReader(connection, "JOBS", [f"trellis.jobs.*.*.*.{kind}"]) as reader:
        while page := await reader.read():
            for stored in page:
                body = json.loads(stored.message.data)
                found[body["jobId"], body.get("adminAction", {}).get("bulkId")] += 1
    return found
