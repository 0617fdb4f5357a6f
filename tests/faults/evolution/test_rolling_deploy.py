"""A deploy under load, in processes: old instances are replaced by new ones, back, and forth again, while all create and work jobs."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
from pydantic import JsonValue
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.streams import count_by_subject, count_subjects
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats.testing import NatsServer

from tests.support.eventually import eventually
from tests.support.rolling.instance_process import QUEUE, Instance, run_instance
from tests.support.rolling.versions import Version, Versions
from tests.support.rule_contracts import JsonObject, complete

JOBS: Final = f"trellis.jobs.orders.{QUEUE}"
IN_TIME: Final = timedelta(seconds=120)
EACH: Final = 50
"""How many jobs are created, at least, before the next instance is replaced."""


@dataclass(frozen=True)
class Change:
    """A change, and a payload of each version."""

    old: JsonObject
    new: JsonObject
    old_payload: JsonValue
    new_payload: JsonValue
    is_upcast: bool = False

    def generate(self, folder: Path) -> Versions:
        return Versions.generate(complete(self.old), complete(self.new), folder)


def queue_of(schema: JsonObject, **fields: JsonValue) -> JsonObject:
    job: JsonObject = {"payload": {"schema": "Parcel"}, "concurrency": 4, **fields}
    return {"jobs": {QUEUE: job}, "schemas": {"Parcel": schema}, "exports": {}}


def parcel(*required: str, is_closed: bool = False) -> JsonObject:
    members: JsonObject = {"number": {"type": "integer"}, "grams": {"type": "integer"}}
    properties = {name: schema for name, schema in members.items() if name in required or not is_closed}
    closing: JsonObject = {"additionalProperties": False} if is_closed else {}
    return {"type": "object", "properties": properties, "required": [*required], **closing}


CHANGES: Final = {
    "another ack wait": Change(
        queue_of(parcel("number"), ackWaitMs=2_000),
        queue_of(parcel("number"), ackWaitMs=60_000),
        {"number": 1},
        {"number": 1},
    ),
    "an optional member": Change(
        queue_of({"type": "object", "properties": {"number": {"type": "integer"}}}),
        queue_of(parcel()),
        {"number": 1},
        {"number": 1, "grams": 1},
    ),
    "a required member with an upcaster": Change(
        queue_of(parcel("number", is_closed=True)),
        queue_of(parcel("number", "grams", is_closed=True)),
        {"number": 1},
        {"number": 1, "grams": 1},
        is_upcast=True,
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_a_deploy_there_and_back_loses_nothing(change: Change, tmp_path: Path) -> None:
    versions = change.generate(tmp_path)
    async with NatsServer() as server, AsyncExitStack() as stack:
        connection = await Connection.open(server.url, settings=ConnectionSettings())
        stack.push_async_callback(connection.close)

        async def start(version: Version) -> Instance:
            is_new = version is versions.new
            payload = change.new_payload if is_new else change.old_payload
            old = versions.old if is_new and change.is_upcast else None
            return await stack.enter_async_context(run_instance(server.url, version, payload, old=old))

        running = [await start(versions.old), await start(versions.old)]
        for version in (versions.new, versions.old, versions.new):
            for _ in range(2):
                await created(connection, EACH)
                running.append(await start(version))
                await running.pop(0).stop()
        await created(connection, EACH)
        for instance in running:
            await instance.stop()
        rest = run_instance(server.url, versions.new, None, old=versions.old if change.is_upcast else None)
        await stack.enter_async_context(rest)
        await eventually(lambda: has_ended(connection), within=IN_TIME)
        lives = await read_lives(connection)

    assert len(lives) >= 7 * EACH
    assert {each for each in lives.values() if each != ONCE} == set()


ONCE: Final = ("completed", "created", "started")
"""The events of a job that ran once, at its first attempt."""


async def read_lives(connection: Connection) -> dict[str, tuple[str, ...]]:
    """Return the events of each job, by its id: what an attempt, a retry or an end in another state would store is among them."""
    counts = await count_by_subject(connection, "JOBS", f"{JOBS}.>")
    lives: dict[str, list[str]] = {}
    for subject, count in counts.items():
        job_id, event = subject.removeprefix(f"{JOBS}.").split(".")
        lives.setdefault(job_id, []).extend([event] * count)
    return {job_id: tuple(sorted(events)) for job_id, events in lives.items()}


async def count_events(connection: Connection, event: str) -> int:
    return await count_subjects(connection, "JOBS", f"{JOBS}.*.{event}")


async def created(connection: Connection, more: int) -> None:
    """Wait until more jobs have been created than there are now."""
    before = await count_events(connection, "created")

    async def has_more() -> bool:
        return await count_events(connection, "created") >= before + more

    await eventually(has_more, within=IN_TIME)


async def has_ended(connection: Connection) -> bool:
    return await count_events(connection, "created") == await count_events(connection, "completed")
