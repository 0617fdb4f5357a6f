"""Streams that hold many jobs already: finished ones, with the events `created` and `completed`."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Final

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.api import call
from trellis_nats._nats.jetstream.publish import PubAck, publish_acked
from trellis_nats.clock import now
from trellis_nats.codec import encode_json
from trellis_nats.context import new_context
from trellis_nats.ids import new_id
from trellis_nats.jobs.model.event_factory import JobIdentity
from trellis_nats.jobs.model.outcome import Completed, settle
from trellis_nats.jobs.model.states import EventType

from .service import PREFIX, TEXT, WITHOUT_DUTIES, Bench

_WINDOW: Final = 2_000
"""How many publishes are in flight at once."""
_DRAINED: Final = 0.05
_PATIENCE: Final = timedelta(seconds=60)


async def fill(url: str, jobs: int) -> None:
    """Store finished jobs of two events each; their work messages are purged, as acknowledged ones are."""
    async with Bench.connect(url, options=WITHOUT_DUTIES) as bench:
        connection = bench.jobs.runtime.connection
        events = [(kind, body) for kind, body in _events()]
        waiting: list[Coroutine[None, None, PubAck]] = []
        for _ in range(jobs):
            job = new_id()
            for kind, body in events:
                data = body.replace(_PLACE.encode(), job.encode())
                waiting.append(publish_acked(connection, f"{PREFIX}.{job}.{kind}", data, timeout=_PATIENCE))
            if len(waiting) >= _WINDOW:
                await asyncio.gather(*waiting)
                waiting.clear()
        await asyncio.gather(*waiting)
        await _purge_work(connection, jobs)


_PLACE: Final = "0" * 26


def _events() -> list[tuple[str, bytes]]:
    identity = JobIdentity(job_id=_PLACE, service="bench", queue="work", context=new_context())
    payload = encode_json({"number": 1, "text": TEXT})
    created = identity.created(
        payload, max_tries=5, deadline=None, trigger={"kind": "serviceCode"}, lineage=None, at=now()
    )
    end = settle(Completed(encode_json({"number": 1})), tries=1, max_attempts=5, backoff=())
    completed = identity.settled(end, EventType.COMPLETED, result=encode_json({"number": 1}), at=now())
    return [("created", created.encode()), ("completed", completed.encode())]


async def _purge_work(connection: Connection, jobs: int) -> None:
    """Wait until every `created` has been sourced into the work stream, then purge it."""
    purged = 0
    while purged < jobs:
        answer = await call(connection, "STREAM.PURGE.JOBS_WORK", timeout=_PATIENCE)
        match answer:
            case {"purged": int(count)}:
                purged += count
            case _:
                raise RuntimeError(f"no purge: {answer}")
        await asyncio.sleep(_DRAINED)


def resident_bytes(pid: int | str) -> int | None:
    """Return the memory that a process holds; None where the system does not show it (only Linux does)."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return None
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024
