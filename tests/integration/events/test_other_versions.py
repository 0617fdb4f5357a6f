"""An event of a group that another version of the contract wrote waits for an instance of that version, without an attempt."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from types import ModuleType
from typing import Any, ClassVar, Final

import pytest
from trellis_nats import (
    ConsumerGroup,
    Contract,
    DeliveredEvent,
    EventPublisher,
    GroupEvent,
    GroupSpec,
    Options,
    Runtime,
    Service,
    permissions,
)
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.streams import get_consumer_info
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats.events.groups.attempts import AttemptCounter
from trellis_nats.testing import LogEvent, LogSignals, NatsServer

from tests.support.depot import accounts, login
from tests.support.eventually import eventually
from tests.support.letter_versions import LetterVersions, generate_letters
from tests.support.versions import VERSIONS, binary_of

HEADER = "trellis-contract-digest"
SUBJECT = "events.v1.Letters.Sent"
SOON = timedelta(seconds=30)


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> LetterVersions:
    return generate_letters(tmp_path_factory.mktemp("letters"))


def delayed(delay: timedelta) -> Callable[[int], timedelta]:
    """Return what stands for `version_delay`, with the same delay each time."""

    def version_delay(delivered: int) -> timedelta:
        return delay

    return version_delay


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let postponed events come back after 10 ms."""
    monkeypatch.setattr(
        "trellis_nats.events.groups.other_version.version_delay", delayed(timedelta(milliseconds=10))
    )


@asynccontextmanager
async def instance(
    url: str, package: ModuleType, handle: Callable[[Any], None], options: Options | None = None
) -> AsyncGenerator[Any]:
    """Run an instance of a version, which works the group."""
    async with package.LettersService.connect(url, options=options) as service:

        async def archive(event: DeliveredEvent[Any]) -> None:
            handle(event)

        service.consumers.archive.letters_sent.handle(archive)
        await service.start()
        yield service


async def deliveries(service: Any) -> int:
    info = await get_consumer_info(service._runtime.connection, "trellis", "letters__archive")
    assert info is not None
    return info.delivered


async def is_done(service: Any) -> bool:
    info = await get_consumer_info(service._runtime.connection, "trellis", "letters__archive")
    return info is not None and (info.pending, info.ack_pending) == (0, 0)


@pytest.mark.parametrize("server_version", [None, *VERSIONS])
async def test_in_a_rolling_deploy_each_event_is_handled_once_by_its_version_in_order(
    versions: LetterVersions, server_version: str | None
) -> None:
    old, new = versions
    seen: list[tuple[str, int, int]] = []
    binary = None if server_version is None else binary_of(server_version)
    async with (
        NatsServer(binary=binary) as server,
        instance(server.url, old, lambda e: seen.append(("old", e.event.number, e.attempt))) as older,
        instance(server.url, new, lambda e: seen.append(("new", e.event.number, e.attempt))) as newer,
    ):
        for number in range(0, 12, 2):
            await older.events.letters.sent.publish(old.Letter(number=number))
            await newer.events.letters.sent.publish(new.Letter(number=number + 1, grams=1))
        await eventually(lambda: is_done(newer), within=SOON)

    assert seen == [("new" if number % 2 else "old", number, 1) for number in range(12)]


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("stops_first", [True, False])
async def test_an_event_that_waited_has_all_its_attempts(
    nats_server: NatsServer, versions: LetterVersions, stops_first: bool
) -> None:
    old, new = versions
    attempts: list[int] = []

    def fail_once(event: DeliveredEvent[Any]) -> None:
        attempts.append(event.attempt)
        if event.attempt == 1:
            raise ConnectionError("the archive is away")

    with LogSignals() as signals:
        async with (
            new.LettersService.connect(nats_server.url) as producer,
            instance(nats_server.url, old, never) as older,
        ):
            await producer.events.letters.sent.publish(new.Letter(number=1, grams=2))

            async def is_far_beyond_its_attempts() -> bool:
                return await deliveries(older) > 10

            await eventually(is_far_beyond_its_attempts)
            if stops_first:
                await older.stop()
            async with instance(nats_server.url, new, fail_once) as newer:
                await eventually(lambda: is_done(newer), within=SOON)

    assert attempts == [1, 2]
    assert signals.of(LogEvent.EVENT_GIVEN_UP) == []
    assert len(signals.of(LogEvent.EVENT_RETRIED)) == 1


def never(event: DeliveredEvent[Any]) -> None:
    raise AssertionError("this version cannot read it")


@pytest.mark.usefixtures("often")
async def test_an_event_that_waited_and_then_always_fails_is_given_up_after_its_attempts(
    nats_server: NatsServer, versions: LetterVersions
) -> None:
    old, new = versions
    attempts: list[int] = []

    def fail(event: DeliveredEvent[Any]) -> None:
        attempts.append(event.attempt)
        raise ConnectionError("the archive is away")

    with LogSignals() as signals:
        async with instance(nats_server.url, old, never), instance(nats_server.url, new, fail) as newer:
            await newer.events.letters.sent.publish(new.Letter(number=1, grams=2))
            await signals.wait_for(LogEvent.EVENT_GIVEN_UP, group="archive", attempt=2)
            await eventually(lambda: is_done(newer))

    assert attempts == [1, 2]


async def test_an_event_that_waited_long_enough_is_removed_and_the_group_goes_on(
    nats_server: NatsServer, versions: LetterVersions
) -> None:
    old, new = versions
    seen: list[int] = []
    options = Options(version_patience=timedelta(seconds=1))
    with LogSignals() as signals:
        async with (
            new.LettersService.connect(nats_server.url) as producer,
            instance(nats_server.url, old, lambda e: seen.append(e.event.number), options) as older,
        ):
            for number in range(3):
                await producer.events.letters.sent.publish(new.Letter(number=number, grams=2))
            await older.events.letters.sent.publish(old.Letter(number=9))
            waiting = await signals.wait_for(LogEvent.EVENT_OF_OTHER_VERSION, group="archive")
            assert seen == [], "the later event waits: the group keeps the order"
            first = await signals.wait_for(LogEvent.EVENT_REMOVED, group="archive")
            await eventually(lambda: seen)

    assert waiting.levelno == logging.INFO
    for text in (f"contract version {new.CONTRACT.digest} wrote it", f"has version {old.CONTRACT.digest}"):
        assert text in waiting.getMessage()
        assert text in first.getMessage()
    assert "within 1.0 s" in first.getMessage()
    assert seen == [9]


@pytest.mark.parametrize(
    ("digest", "patience"),
    [
        ("", timedelta(hours=1)),
        ("same", timedelta(hours=1)),
        ("not a digest", timedelta(hours=1)),
        ("other", timedelta(0)),
    ],
)
async def test_an_event_of_the_same_or_of_no_version_or_without_patience_is_removed_at_once(
    nats_server: NatsServer, versions: LetterVersions, digest: str, patience: timedelta
) -> None:
    old, new = versions
    known = {"same": old.CONTRACT.digest, "other": new.CONTRACT.digest}
    with LogSignals() as signals:
        options = Options(version_patience=patience)
        async with instance(nats_server.url, old, never, options) as older:
            headers = {HEADER: known.get(digest, digest)} if digest else {}
            older._runtime.connection.send(SUBJECT, b'{"number":1,"grams":2}', headers=headers)
            removed = await signals.wait_for(LogEvent.EVENT_REMOVED, group="archive")
            await eventually(lambda: is_done(older))

    assert signals.of(LogEvent.EVENT_OF_OTHER_VERSION) == []
    assert ("wrote it" in removed.getMessage()) == (digest == "other")


async def test_a_backlog_waits_once(nats_server: NatsServer, versions: LetterVersions) -> None:
    old, new = versions
    options = Options(version_patience=timedelta(seconds=2))
    async with new.LettersService.connect(nats_server.url) as producer:
        for number in range(5):
            await producer.events.letters.sent.publish(new.Letter(number=number, grams=2))
    loop = asyncio.get_running_loop()
    with LogSignals() as signals:
        async with instance(nats_server.url, old, never, options) as older:
            await signals.wait_for(LogEvent.EVENT_OF_OTHER_VERSION)
            began = loop.time()
            await eventually(lambda: is_done(older), within=SOON)
            waited = loop.time() - began

    assert waited < 8, "five events that wait one after the other take ten seconds"


async def test_a_stop_does_not_wait_for_another_version(
    nats_server: NatsServer, versions: LetterVersions, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = versions
    monkeypatch.setattr(
        "trellis_nats.events.groups.other_version.version_delay", delayed(timedelta(minutes=10))
    )
    async with new.LettersService.connect(nats_server.url) as producer:
        with LogSignals() as signals:
            async with instance(nats_server.url, old, never) as older:
                await producer.events.letters.sent.publish(new.Letter(number=1, grams=2))
                await signals.wait_for(LogEvent.EVENT_OF_OTHER_VERSION)
                async with asyncio.timeout(20):
                    await older.stop(grace=timedelta(minutes=10))


@pytest.mark.usefixtures("often")
async def test_a_parallel_group_goes_on(nats_server: NatsServer, versions: LetterVersions) -> None:
    old, new = versions
    seen: list[int] = []

    class Parallel(Service):
        contract: ClassVar[Contract] = old.CONTRACT

        def __init__(self, runtime: Runtime) -> None:
            super().__init__(runtime)
            self.group: Final = ConsumerGroup(runtime, GroupSpec(name="fast", concurrency=3, replay="all"))
            self.sent: Final = GroupEvent[Any](self.group, old.events.LETTERS_SENT)
            self.publisher: Final = EventPublisher[Any](runtime, old.events.LETTERS_SENT)

    async with (
        new.LettersService.connect(nats_server.url) as producer,
        Parallel.connect(nats_server.url) as service,
    ):

        async def record(event: DeliveredEvent[Any]) -> None:
            seen.append(event.event.number)

        service.sent.handle(record)
        await service.start()
        with LogSignals() as signals:
            await producer.events.letters.sent.publish(new.Letter(number=1, grams=2))
            await signals.wait_for(LogEvent.EVENT_OF_OTHER_VERSION)
        for number in range(5):
            await service.publisher.publish(old.Letter(number=number))
        await eventually(lambda: len(seen) == 5)


@pytest.mark.parametrize(
    "notice",
    [
        b"",
        b"{",
        b"[]",
        b'{"sequence":"1","postponed":1}',
        b'{"sequence":1,"postponed":-5}',
        b'{"sequence":1}',
    ],
)
async def test_a_malformed_notice_is_ignored(
    nats_server: NatsServer, versions: LetterVersions, notice: bytes
) -> None:
    old, _ = versions
    attempts: list[int] = []
    other = await Connection.open(nats_server.url, settings=ConnectionSettings())
    async with instance(nats_server.url, old, lambda e: attempts.append(e.attempt)) as service:
        other.send("trellis.groups.letters__archive", notice)
        await other.flush()
        await service.events.letters.sent.publish(old.Letter(number=1))
        await eventually(lambda: attempts)
    await other.close()

    assert attempts == [1]


async def test_an_instance_that_may_not_tell_the_others_postpones_all_the_same(
    versions: LetterVersions, caplog: pytest.LogCaptureFixture
) -> None:
    old, new = versions
    caplog.set_level(logging.INFO, logger="trellis_nats.permissions")
    worker = permissions(old.LettersService, "worker")
    notices = "trellis.groups.letters__archive"
    assert notices in worker.publish
    assert notices in worker.subscribe
    limited = replace(
        worker,
        publish=tuple(subject for subject in worker.publish if subject != notices),
        subscribe=tuple(subject for subject in worker.subscribe if subject != notices),
    )
    with NatsServer(config=accounts({"root": None, "limited": limited})) as server:
        async with new.LettersService.connect(server.url, options=login("root")) as producer:
            await producer.events.letters.sent.publish(new.Letter(number=1, grams=2))
            options = replace(login("limited"), version_patience=timedelta(seconds=1))
            with LogSignals() as signals:
                async with instance(server.url, old, never, options):
                    await signals.wait_for(LogEvent.EVENT_OF_OTHER_VERSION)
                    await signals.wait_for(LogEvent.EVENT_REMOVED)
                assert signals.of(LogEvent.PERMISSION_DENIED) == []

    assert f'publish to "{notices}" (to tell which events of group archive' in caplog.text
    assert f'subscribe to "{notices}" (to learn which events of group archive' in caplog.text


def test_attempts_are_deliveries_that_were_not_postponed() -> None:
    attempts = AttemptCounter(max_deliver=2)

    assert [attempts.count(1, delivered, may_be_postponed=True) for delivered in (1, 2, 3)] == [1, 2, 3]
    assert [attempts.postpone(2, delivered) for delivered in (1, 2)] == [1, 2]
    assert attempts.count(2, 3, may_be_postponed=True) == 1
    attempts.learn(2, 4)
    attempts.learn(2, 3)
    assert attempts.count(2, 6, may_be_postponed=True) == 2
    assert attempts.count(2, 1, may_be_postponed=True) == 1, "the consumer was created again"


def test_more_deliveries_than_attempts_show_that_an_event_was_postponed() -> None:
    attempts = AttemptCounter(max_deliver=2)

    assert attempts.count(1, 4, may_be_postponed=False) == 4
    assert [attempts.count(1, delivered, may_be_postponed=True) for delivered in (4, 5)] == [1, 2]


def test_few_events_are_remembered() -> None:
    attempts = AttemptCounter(max_deliver=2)
    for sequence in range(5_000):
        attempts.learn(sequence, 1)

    assert attempts.count(0, 2, may_be_postponed=True) == 2
    assert attempts.count(4_999, 2, may_be_postponed=True) == 1
