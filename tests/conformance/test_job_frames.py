"""The recorded events of jobs and records of keys: ours have the same members, and every recorded one is read."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats._nats.wire.message import Message
from trellis_nats.errors import JobFailed
from trellis_nats.jobs.keys.model.record import KeyRecord
from trellis_nats.jobs.model.event import LifecycleEvent
from trellis_nats.testing import NatsServer

from tests.conformance.wire import NEEDS_RECORDINGS, Recorded, cases_of, frames_of
from tests.support.eventually import eventually
from tests.support.shop import Parcel, ParcelJob, Receipt, Shop

pytestmark = NEEDS_RECORDINGS

FILES: Final = ("jobs.json", "jobs_keyed.json")


def events_of(file: str) -> list[Recorded]:
    """Return the lifecycle events that were published, without heartbeats of workers."""
    return [
        frame
        for case in cases_of(file)
        for frame in frames_of(file, case)
        if frame.direction.endswith("->nats")
        and frame.subject.startswith("trellis.jobs.")
        and not frame.subject.startswith("trellis.jobs.workers.")
    ]


def records_of(file: str) -> list[Recorded]:
    """Return the records of keys that were written."""
    return [
        frame
        for case in cases_of(file)
        for frame in frames_of(file, case)
        if frame.subject.startswith("$KV.JOBS_KEYS_") and frame.direction.endswith("->nats") and frame.body
    ]


@pytest.mark.parametrize("file", FILES)
def test_every_recorded_event_is_read_and_written_again_without_a_change(file: str) -> None:
    recorded = events_of(file)

    assert len(recorded) > 20
    for frame in recorded:
        event = LifecycleEvent.parse(frame.body)
        assert event is not None, frame.body
        assert json.loads(event.encode()) == json.loads(frame.body)


def test_every_recorded_record_of_a_key_is_read_and_written_again_without_a_change() -> None:
    recorded = records_of("jobs_keyed.json")

    assert len(recorded) > 20
    for frame in recorded:
        _, _, service, queue, key_hash = frame.subject.split(".")
        record = KeyRecord.parse(frame.body, service=service, queue=queue, key_hash=key_hash)
        assert json.loads(record.encode()) == json.loads(frame.body)


async def test_the_events_of_our_jobs_have_the_recorded_members(nats_server: NatsServer) -> None:
    ours: dict[str, dict[str, Any]] = {}
    listener = await Connection.open(nats_server.url, settings=ConnectionSettings())

    def collect(message: Message) -> None:
        if not message.data.startswith(b'{"'):
            return  # a probe of what the account may publish
        body = json.loads(message.data)
        ours.setdefault(body["eventType"], {**body, "headers": dict(message.headers)})

    listener.subscribe("trellis.jobs.shop.*.*.*", collect)
    await listener.flush()
    async with Shop.connect(nats_server.url) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            if job.payload.number < 0:
                raise JobFailed("negative")
            await job.progress(step="packing", current=1, total=2)
            await job.log("a line")
            return Receipt(total=1)

        await shop.jobs.start_workers()
        await shop.jobs.pack.create(Parcel(number=1))
        await shop.jobs.pack.create(Parcel(number=-1))
        await (await shop.jobs.charge.create(Parcel(number=1))).cancel()
        await eventually(lambda: {"completed", "failed", "cancelled"} <= ours.keys())
    await listener.close()

    recorded: dict[str, Recorded] = {}
    for frame in [*frames_of("jobs.json", "jobs.cancel_pending"), *events_of("jobs.json")]:
        recorded.setdefault(json.loads(frame.body)["eventType"], frame)
    for name in ("created", "started", "progress", "logged", "completed", "failed", "cancelled"):
        body, theirs = ours[name], json.loads(recorded[name].body)
        assert body.keys() - {"headers"} >= theirs.keys(), name
        assert body["context"].keys() == theirs["context"].keys(), name
        assert body["headers"].keys() >= recorded[name].headers.keys(), name
        for member in ("eventType", "state", "tries"):
            assert body[member] == theirs[member], name
        if name == "progress":
            assert body["progress"].keys() >= {"step", "current", "total"}
        if name == "logged":
            assert [entry.keys() for entry in body["logs"]] == [entry.keys() for entry in theirs["logs"]]
