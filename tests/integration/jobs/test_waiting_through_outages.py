"""`result()` and `wait()` go through outages in every phase, until their own timeout; other readers while they may."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import timedelta
from typing import Final, TypeVar

import pytest
from trellis_nats import (
    ApiError,
    JobEvent,
    JobState,
    NoResponders,
    NotConnected,
    Options,
    PermissionDenied,
    RequestTimeout,
    TransportError,
)
from trellis_nats._nats.connection import Connection
from trellis_nats.jobs.model.states import EventType
from trellis_nats.jobs.store.event_log import EventLog
from trellis_nats.testing import NatsServer

from tests.support.foreign_events import publish_foreign
from tests.support.shop import Parcel, Receipt, Shop

LONG: Final = timedelta(seconds=60)
CALLS: Final = ("newest", "newest_of", "latest_by_type")
REQUEST: Final = timedelta(seconds=2)
LONGER_THAN_A_REQUEST: Final = 2.5
"""Seconds."""

T = TypeVar("T")

UNAVAILABLE: Final = ApiError(request="a read", code=503, err_code=10008, description="unavailable")
OUTAGES: Final = [RequestTimeout("silent"), NoResponders("starting"), NotConnected("down"), UNAVAILABLE]


class FailingCalls:
    """Lets one of the calls that read or subscribe fail, counted from 0."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int, error: TransportError) -> None:
        self.count = 0
        self._at = at
        self._error = error
        for name in CALLS:
            monkeypatch.setattr(EventLog, name, self._wrap(getattr(EventLog, name)))
        monkeypatch.setattr(Connection, "flush", self._wrap(Connection.flush))

    def _wrap(self, call: Callable[..., Awaitable[T]]) -> Callable[..., Awaitable[T]]:
        async def wrapped(*arguments: object, **options: object) -> T:
            number, self.count = self.count, self.count + 1
            if number == self._at:
                raise self._error
            return await call(*arguments, **options)

        return wrapped


@pytest.mark.parametrize("error", OUTAGES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("history", ["started completed", "started failed retried started completed"])
@pytest.mark.parametrize("reader", ["wait", "result", "events", "updates"])
async def test_every_phase_goes_through_an_outage(
    nats_server: NatsServer, error: TransportError, history: str, reader: str
) -> None:
    async with Shop.connect(nats_server.url) as shop:
        queue = shop.jobs.weigh
        ref = await queue.create(Parcel(number=1))
        for kind in history.split():
            await publish_foreign(shop, EventType(kind), ref.id, queue="weigh")
        calls_made, at = 1, 0
        while at < calls_made:
            with pytest.MonkeyPatch.context() as monkeypatch:
                calls = FailingCalls(monkeypatch, at, error)
                other = queue.ref(ref.id)
                match reader:
                    case "wait":
                        assert (await other.wait(timeout=LONG)).state is JobState.COMPLETED
                    case "result":
                        assert await other.result(timeout=LONG) == Receipt(total=1)
                    case "events":
                        assert [event.event async for event in other.events()][-1] == "completed"
                    case _:
                        assert [update async for update in other.updates()] == []
                calls_made = calls.count
            at += 1
        assert at > 1


async def collect(events: AsyncGenerator[JobEvent, None]) -> list[str]:
    return [event.event async for event in events]


async def test_a_call_during_an_outage_waits_for_its_end(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url, options=Options(request_timeout=REQUEST)) as shop:
        ended, waiting = [await shop.jobs.pack.create(Parcel(number=number)) for number in range(2)]
        for kind in (EventType.STARTED, EventType.COMPLETED):
            await publish_foreign(shop, kind, ended.id)
        await asyncio.to_thread(nats_server.kill)

        refs = (ended, shop.jobs.pack.ref(ended.id), waiting, shop.jobs.pack.ref(waiting.id))
        readers = [getattr(ref, name) for name in ("wait", "result") for ref in refs]
        calls = [asyncio.create_task(read(timeout=LONG)) for read in readers]
        calls += [asyncio.create_task(collect(ref.events())) for ref in refs]
        done, _ = await asyncio.wait(calls, timeout=LONGER_THAN_A_REQUEST)
        assert not done
        for reader in (ended.wait, ended.result):
            with pytest.raises(
                TimeoutError, match=f"job {ended.id} of queue pack has not ended within 50 ms"
            ):
                await reader(timeout=timedelta(milliseconds=50))

        await asyncio.to_thread(nats_server.start)
        for kind in (EventType.STARTED, EventType.COMPLETED):
            await publish_foreign(shop, kind, waiting.id)
        answers = await asyncio.gather(*calls)
        assert answers[len(readers) :] == [["created", "started", "completed"]] * len(refs)


@pytest.mark.parametrize("reader", ["wait", "result"])
async def test_only_documented_errors_leave(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch, reader: str
) -> None:
    async with Shop.connect(nats_server.url) as shop:
        ref = await shop.jobs.pack.create(Parcel(number=1))
        denied = PermissionDenied("publish to", "$JS.API.DIRECT.GET.JOBS")
        with monkeypatch.context() as patch:
            FailingCalls(patch, 1, denied)
            with pytest.raises(PermissionDenied):
                await getattr(ref, reader)(timeout=LONG)

        waiting = asyncio.create_task(getattr(ref, reader)())
        await asyncio.sleep(0)
    with pytest.raises(NotConnected, match="closed"):
        await waiting
