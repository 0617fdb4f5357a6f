"""What a worker stores about an exception, and what readers show of it."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Final

from pydantic import JsonValue
from trellis_nats import JobFailed, JobState
from trellis_nats._nats.jetstream.streams import get_last_message
from trellis_nats.jobs.model.states import EventType
from trellis_nats.testing import NatsServer

from tests.support.foreign_events import publish_foreign
from tests.support.shop import Parcel, ParcelJob, Receipt, Shop

SOON: Final = timedelta(seconds=20)


async def test_each_failed_attempt_has_its_exception(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            if job.payload.number:
                raise JobFailed("no such parcel")
            raise ConnectionError("the printer is off")

        await shop.jobs.start_workers()
        dead = await (await shop.jobs.pack.create(Parcel(number=0))).wait(timeout=SOON)
        failed = await (await shop.jobs.pack.create(Parcel(number=1))).wait(timeout=SOON)

        assert (dead.state, failed.state) == (JobState.DEAD, JobState.FAILED)
        assert dead.last_error_detail is not None
        assert dead.last_error_detail.type == "ConnectionError"
        assert 'raise ConnectionError("the printer is off")' in (dead.last_error_detail.stack or "")
        assert failed.last_error_detail is not None
        assert (failed.last_error_detail.type, failed.last_error_detail.message) == (
            "JobFailed",
            "no such parcel",
        )
        events = [event async for event in shop.jobs.pack.ref(dead.id).events()]
        assert [event.error_detail is not None for event in events] == [
            event.event in ("retry", "dead") for event in events
        ]
        stored = await get_last_message(
            shop.jobs.runtime.connection, "JOBS", f"trellis.jobs.shop.pack.{dead.id}.dead"
        )
        assert stored is not None
        detail = json.loads(stored.data)["errorDetail"]
        assert set(detail) == {"message", "type", "stack", "fingerprint"}


async def test_a_result_that_does_not_match_is_an_invalid_payload(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            return Receipt.model_construct(total="many")  # pyright: ignore[reportArgumentType]

        await shop.jobs.start_workers()
        failed = await (await shop.jobs.pack.create(Parcel(number=0))).wait(timeout=SOON)
        assert failed.last_error_detail is not None
        assert failed.last_error_detail.type == "InvalidPayload"


def fail_in_many_frames(depth: int) -> None:
    if depth:
        fail_in_many_frames(depth - 1)
    raise ConnectionError("the printer is off: " + "x" * 700)


async def test_a_server_that_accepts_small_messages_only_gets_the_error_alone() -> None:
    with NatsServer(config="max_payload: 3000") as server:
        async with Shop.connect(server.url) as shop:

            @shop.jobs.pack.handle
            async def pack(job: ParcelJob) -> Receipt:
                one = {"scope": fail_in_many_frames}
                exec(f"def {'a' * 900}(f):\n    f(3)\n{'a' * 900}(scope)\n", one)  # noqa: S102 - a function with a long name
                return Receipt(total=1)

            await shop.jobs.start_workers()
            dead = await (await shop.jobs.pack.create(Parcel(number=0))).wait(timeout=SOON)
            assert dead.state is JobState.DEAD
            assert (dead.last_error or "").startswith("ConnectionError: the printer is off")
            assert dead.last_error_detail is None


async def test_what_another_runtime_stores_is_shown(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        ref = await shop.jobs.pack.create(Parcel(number=1))
        await publish_foreign(shop, EventType.STARTED, ref.id)
        detail: JsonValue = {"message": "boom", "causes": ["x"], "fingerprint": "00"}
        await publish_foreign(shop, EventType.RETRY, ref.id, {"errorDetail": detail})
        snapshot = await ref.get()
        assert snapshot.last_error_detail is not None
        assert (snapshot.last_error_detail.message, snapshot.last_error_detail.stack) == ("boom", None)
