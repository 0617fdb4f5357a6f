"""Changes of job queues between two versions of a contract."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta
from typing import Any, Final

from pydantic import JsonValue
from trellis_nats import JobState, Rejected, Replaced, Service
from trellis_nats.testing import NatsServer

from tests.support.eventually import eventually
from tests.support.rolling.contract_cases import RECORD, ContractCase, Seen, deliver
from tests.support.rolling.deliveries import IMPATIENT, SOON, Delivery, Exchange
from tests.support.rolling.jobs import create_before, create_for_running, replay_dead, work_side_by_side
from tests.support.rolling.versions import Version, Versions, member
from tests.support.rule_contracts import JsonObject
from trellis_codegen.breaking.rules.grades import Column

__all__ = ["JOB_CASES", "create_next_to_old", "work"]

_QUEUE: Final = "q"
_OVERLAPPING: Final = timedelta(seconds=3)
_OUTLIVED: Final = 3
"""Seconds: as many leases of the shorter length as fit, and more than the old worker takes between renewals."""


async def work(it: Versions) -> Seen:
    """Use the queue as its producers, queued jobs, workers, replayed dead jobs and readers of results do."""
    new_queue = _QUEUE if _QUEUE in (it.new.manifest.jobs or {}) else "r"
    return {
        Column.PRODUCERS: await _deliver(create_for_running, it.old, it.new, _QUEUE),
        Column.QUEUED: await _deliver(create_before, it.old, it.new, _QUEUE),
        Column.OLD_WORKERS: await _deliver_back(it, new_queue),
        Column.DEAD: await _deliver(replay_dead, it.old, it.new, _QUEUE),
        Column.CALLERS: await _wait_for_results(it) if new_queue == _QUEUE else None,
    }


async def _deliver(exchange: Exchange, writer: Version, reader: Version, queue: str) -> str | None:
    return await deliver(exchange, writer, reader, queue) if queue in (writer.manifest.jobs or {}) else None


async def _deliver_back(it: Versions, queue: str) -> str | None:
    """Let the new version create jobs while old workers run: alone where they have the queue, else next to new ones."""
    exchange = create_for_running if queue in (it.old.manifest.jobs or {}) else create_next_to_old
    return await _deliver(exchange, it.new, it.old, queue)


async def create_next_to_old(url: str, writer: Version, reader: Version, deliveries: list[Delivery]) -> None:
    """Create jobs of a queue that the running old workers do not have; new workers run next to them."""
    async with reader.service.connect(url, options=IMPATIENT) as old:
        await old.start()
        await work_side_by_side(url, writer, writer, deliveries)


async def _wait_for_results(it: Versions) -> str | None:
    """Return what a reader of a result meets: a new one of an old job, or an old one whose job a new worker runs."""
    async with NatsServer() as server:
        async with _working(it.old, server.url) as old:
            ref = await member(old, "jobs", _QUEUE).create(it.old.read("R", RECORD))
            await ref.wait(timeout=SOON)
        async with (
            it.old.service.connect(server.url, options=IMPATIENT) as waiter,
            _working(it.new, server.url) as new,
        ):
            try:
                await member(new, "jobs", _QUEUE).ref(ref.id).result(timeout=SOON)
                later = await member(waiter, "jobs", _QUEUE).create(it.old.read("R", RECORD))
                await later.result(timeout=SOON)
            except Exception as error:  # noqa: BLE001 - it is what the test is about
                return f"{type(error).__name__}: {error}"
    return None


@asynccontextmanager
async def _working(version: Version, url: str, begun: set[str] | None = None) -> AsyncGenerator[Service]:
    """Run workers, which return a record where the queue has a result.

    With `begun`, each notes its job there, and works until it is stopped.
    """

    async def run(job: Any) -> object:  # Any: each version has its own types
        if begun is not None:
            begun.add(job.id)
            await asyncio.Event().wait()
        return job.payload if version.manifest.jobs and version.manifest.jobs[_QUEUE].result else None

    async with version.service.connect(url, options=IMPATIENT) as service:
        member(service, "jobs", _QUEUE).handle(run)
        await service.start()
        yield service


async def share_key(it: Versions) -> Seen:
    """Let a job of the new version come while one of the old version with the same key is queued, or runs."""
    return {
        Column.QUEUED: await _overlap(it, is_active=False),
        Column.OLD_WORKERS: await _overlap(it, is_active=True),
    }


async def share_removed_key(it: Versions) -> Seen:
    """Let a job of the new version, which has no keys, come while one of the old version with a key runs."""
    return {Column.OLD_WORKERS: await _overlap(it, is_active=True)}


async def _overlap(it: Versions, *, is_active: bool) -> str | None:
    return await _overlap_of(it, RECORD, RECORD, is_active=is_active)


async def _overlap_of(it: Versions, before: JsonValue, later: JsonValue, *, is_active: bool) -> str | None:
    begun: set[str] = set()
    async with NatsServer() as server, AsyncExitStack() as stack:
        old = await stack.enter_async_context(it.old.service.connect(server.url, options=IMPATIENT))
        if is_active:
            old = await stack.enter_async_context(_working(it.old, server.url, begun))
        first = await member(old, "jobs", _QUEUE).create(it.old.read("R", before))
        if is_active:
            await eventually(lambda: begun == {first.id}, within=SOON)
        new = await stack.enter_async_context(it.new.service.connect(server.url, options=IMPATIENT))
        submission: object = await member(new, "jobs", _QUEUE).submit(it.new.read("R", later))
        if isinstance(submission, Rejected):
            return None
        second = member(submission, "ref").id
        for _ in range(2):  # a worker runs one job at a time
            await stack.enter_async_context(_working(it.new, server.url, begun))
        with suppress(AssertionError):
            await eventually(lambda: begun == {first.id, second}, within=_OVERLAPPING)
            return "two jobs of one key run at once"
        return None


async def share_key_of_another_type(it: Versions) -> Seen:
    """Let a job with the number 5 as its key come while one with the text 5 is queued, or runs."""

    def of_key(key: JsonValue) -> JsonValue:
        return {**RECORD, "origin": key}

    return {
        Column.QUEUED: await _overlap_of(it, of_key("5"), of_key(5), is_active=False),
        Column.OLD_WORKERS: await _overlap_of(it, of_key("5"), of_key(5), is_active=True),
    }


async def outlive_lease(it: Versions) -> Seen:
    """Let an old worker hold a key for longer than the lease of the new version lasts."""
    begun: set[str] = set()
    async with NatsServer() as server, _working(it.old, server.url, begun) as old:
        first = await member(old, "jobs", _QUEUE).create(it.old.read("R", RECORD))
        await eventually(lambda: begun == {first.id}, within=SOON)
        async with _working(it.new, server.url, begun) as new:
            until = asyncio.get_running_loop().time() + _OUTLIVED
            while asyncio.get_running_loop().time() < until:
                submission = await member(new, "jobs", _QUEUE).submit(it.new.read("R", RECORD))
                if not isinstance(submission, Rejected):
                    return {Column.OLD_WORKERS: "its key was given to another job while it worked"}
                await asyncio.sleep(0.1)
    return {Column.OLD_WORKERS: None}


async def replace_waiting(it: Versions) -> Seen:
    """Let a job of the new version come while one of the old version waits for its key."""
    begun: set[str] = set()
    async with NatsServer() as server, _working(it.old, server.url, begun) as old:
        queue = member(old, "jobs", _QUEUE)
        first = await queue.create(it.old.read("R", RECORD))
        await eventually(lambda: begun == {first.id}, within=SOON)
        waiting = await queue.create(it.old.read("R", RECORD))
        async with it.new.service.connect(server.url, options=IMPATIENT) as new:
            submission = await member(new, "jobs", _QUEUE).submit(it.new.read("R", RECORD))
            end = await waiting.get()
    if not isinstance(submission, Replaced):
        return {Column.PRODUCERS: None, Column.QUEUED: None}
    assert end.state is JobState.SKIPPED
    return {Column.PRODUCERS: "its job was skipped", Column.QUEUED: "it was skipped"}


async def create_many_of_key(it: Versions) -> Seen:
    """Let an old producer create as many jobs of a key as its version allows, next to one of the new version."""
    async with (
        NatsServer() as server,
        it.old.service.connect(server.url, options=IMPATIENT) as old,
        it.new.service.connect(server.url, options=IMPATIENT) as new,
    ):
        allowed = 3
        for _ in range(allowed):
            submission = await member(old, "jobs", _QUEUE).submit(it.old.read("R", RECORD))
            if isinstance(submission, Rejected):
                return {Column.PRODUCERS: f"{submission}"}
        assert isinstance(await member(new, "jobs", _QUEUE).submit(it.new.read("R", RECORD)), Rejected)
    return {Column.PRODUCERS: None}


async def create_without_deadline(it: Versions) -> Seen:
    """Let an old producer create a job, for workers of the version with a deadline."""
    async with (
        NatsServer() as server,
        it.old.service.connect(server.url, options=IMPATIENT) as old,
        _working(it.new, server.url) as new,
    ):
        ref = await member(old, "jobs", _QUEUE).create(it.old.read("R", RECORD))
        end = await ref.wait(timeout=SOON)
        later = await member(new, "jobs", _QUEUE).create(it.new.read("R", RECORD))
        assert (await later.get()).deadline is not None
    return {Column.PRODUCERS: None if end.deadline is None else f"it expires at {end.deadline}"}


async def keep_attempts(it: Versions) -> Seen:
    """Look at the attempts of a queued job, and use the queue as all its parties do."""
    async with NatsServer() as server:
        async with it.old.service.connect(server.url, options=IMPATIENT) as old:
            ref = await member(old, "jobs", _QUEUE).create(it.old.read("R", RECORD))
        async with _working(it.new, server.url) as new:
            end = await member(new, "jobs", _QUEUE).ref(ref.id).wait(timeout=SOON)
    is_kept = (end.max_tries, end.tries) == (5, 1)
    return {**await work(it), Column.QUEUED: None if is_kept else f"{end.tries} of {end.max_tries} attempts"}


async def watch_updates(it: Versions) -> Seen:
    """Let an old watcher follow a job that a new worker runs."""
    async with (
        NatsServer() as server,
        it.old.service.connect(server.url, options=IMPATIENT) as old,
        _working(it.new, server.url),
    ):
        ref = await member(old, "jobs", _QUEUE).create(it.old.read("R", RECORD))
        updates = [update async for update in ref.updates()]
    return {Column.CALLERS: None if updates else "no update arrived"}


def _keyed(queue: JsonObject | None = None, **fields: JsonValue) -> JsonObject:
    """Return a queue with keys, of which one job may wait."""
    key: JsonObject = {"key": ["/origin"], **fields}
    waiting: JsonObject = {"maxQueuedPerKey": 1, **(queue or {})}
    return {"jobs": {_QUEUE: {"payload": {"schema": "R"}, "keyConcurrency": key, "queue": waiting}}}


_HANDLERS: Final = {Column.OLD_WORKERS: "it depends on whether handlers may overlap; no job fails for it"}

JOB_CASES: Final = (
    ContractCase(rule="QUEUE_REMOVED", scenario=work),
    ContractCase(rule="QUEUE_RENAMED", scenario=work),
    ContractCase(rule="JOB_RESULT_ADDED", scenario=work),
    ContractCase(rule="JOB_RESULT_REMOVED", scenario=work),
    ContractCase(rule="JOB_UPDATE_REMOVED", scenario=watch_updates),
    ContractCase(rule="QUEUE_KEY_CHANGED", scenario=share_key),
    ContractCase(rule="QUEUE_KEY_TYPE_CHANGED", scenario=share_key_of_another_type),
    ContractCase(rule="QUEUE_KEY_ADDED", scenario=share_key),
    ContractCase(rule="QUEUE_KEY_REMOVED", scenario=share_removed_key),
    ContractCase(
        rule="QUEUE_MAX_QUEUED_LOWERED",
        scenario=create_many_of_key,
        pair=(_keyed({"maxQueuedPerKey": 5}), _keyed({"maxQueuedPerKey": 1})),
    ),
    ContractCase(
        rule="QUEUE_WHEN_FULL_CHANGED",
        scenario=replace_waiting,
        pair=(_keyed({"whenFull": "reject"}), _keyed({"whenFull": "replace-oldest"})),
    ),
    ContractCase(
        rule="QUEUE_LEASE_SHORTENED",
        scenario=outlive_lease,
        pair=(
            _keyed({"maxQueuedPerKey": 0}, heartbeatTtlMs=6_000, heartbeatIntervalMs=2_000),
            _keyed({"maxQueuedPerKey": 0}, heartbeatTtlMs=600, heartbeatIntervalMs=200),
        ),
    ),
    ContractCase(rule="QUEUE_DEADLINE_LOWERED", scenario=create_without_deadline),
    ContractCase(rule="QUEUE_MAX_DELIVER_LOWERED", scenario=keep_attempts),
    ContractCase(rule="QUEUE_RETRY_CHANGED", scenario=work),
    ContractCase(rule="QUEUE_ACK_WAIT_CHANGED", scenario=work),
    ContractCase(rule="QUEUE_CONCURRENCY_LOWERED", scenario=work),
    ContractCase(
        rule="QUEUE_MAX_ACTIVE_RAISED",
        name="from more than one",
        scenario=work,
        pair=(_keyed(maxActive=2), _keyed(maxActive=4)),
    ),
    ContractCase(rule="QUEUE_MAX_ACTIVE_RAISED", scenario=work, unseen=_HANDLERS),
    ContractCase(rule="QUEUE_MAX_ACTIVE_LOWERED", scenario=work, unseen=_HANDLERS),
    ContractCase(rule="QUEUE_STALE_POLICY_CHANGED", scenario=work, unseen=_HANDLERS),
    ContractCase(rule="QUEUE_CONCURRENCY_RAISED_FROM_ONE", scenario=work, unseen=_HANDLERS),
    ContractCase(
        rule="JOB_DLQ_REMOVED",
        scenario=work,
        unseen={Column.DEAD: "this runtime does not enforce `dlq`: dead jobs can be replayed"},
    ),
)
"""What is driven of the rules about job queues."""
