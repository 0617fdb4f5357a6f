"""One operation from its start to its end, while a process is killed at one point, and all who look at it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final, Literal, TypeAlias, TypeVar

from trellis_nats import (
    NoResponders,
    NotConnected,
    OperationAlreadyTerminal,
    OperationCancelled,
    OperationInterrupted,
    OperationState,
    RequestTimeout,
    ResumePolicy,
    UnexpectedError,
)
from trellis_nats._nats.jetstream.kv import KvBucket
from trellis_nats._nats.read_budget import AnswerSize
from trellis_nats.operations.model.record import OperationRecord
from trellis_nats.operations.store import read_stored
from trellis_nats.testing import NatsServer

from tests.faults.operations.crew import Instances
from tests.faults.operations.instance import InstanceSettings, KilledService, result_of
from tests.faults.operations.judge import (
    Update,
    judge_handlers,
    judge_records,
    judge_signals,
    judge_watch,
)
from tests.faults.operations.record_tap import BUCKET, Point, Writes
from tests.support.eventually import eventually
from tests.support.processing import Approval, Hurry, ProcessClient, ProcessInput, ProcessRun
from tests.support.proxy import Proxy

__all__ = ["Case", "Mode", "Records", "following", "play"]

T = TypeVar("T")

Mode: TypeAlias = Literal["signals", "short", "attach", "defer", "cancel"]
LONG: Final = timedelta(seconds=90)
ANSWER: Final = timedelta(seconds=2)
ORDER: Final = "o1"
_AWAY: Final = (RequestTimeout, NoResponders, NotConnected, UnexpectedError)


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is played."""

    mode: Mode
    resume: ResumePolicy
    instances: int
    point: Point
    lease_seconds: float = 1.5

    def __str__(self) -> str:
        number, passing = self.point
        return (
            f"{self.mode}, {self.resume}, {self.instances} instances, killed when write {number} is {passing}"
        )


@dataclass
class Records:
    """Every stored revision of every operation, as a follower of the bucket gets them."""

    of: dict[str, list[OperationRecord]] = field(default_factory=dict[str, list[OperationRecord]])

    def newest(self, operation_id: str) -> OperationRecord:
        """Return the newest revision."""
        return self.of[operation_id][-1]

    def has_ended(self, operation_id: str) -> bool:
        """Return whether the follower has the end of an operation; it may be behind the operation, and know nothing of it yet."""
        return operation_id in self.of and self.newest(operation_id).has_ended


@asynccontextmanager
async def following(client: ProcessClient) -> AsyncGenerator[Records]:
    """Follow the bucket."""
    records = Records()
    bucket = KvBucket(client.runtime.connection, BUCKET, answer=AnswerSize.LARGE)
    async with bucket.follow("*") as changes:

        async def follow() -> None:
            async for change in changes:
                stored = read_stored(change)
                if stored is not None:
                    records.of.setdefault(stored.record.id, []).append(stored.record)

        task = asyncio.create_task(follow())
        try:
            yield records
        finally:
            task.cancel()
            await asyncio.wait((task,))


async def until_answered(send: Callable[[], Awaitable[T]]) -> T:
    """Repeat a request until a process answers it."""
    while True:
        with contextlib.suppress(*_AWAY):
            return await send()
        await asyncio.sleep(0.05)


async def play(case: Case, folder: Path) -> list[str]:
    """Play a case in a folder that exists, and return what went wrong."""
    writes = Writes(case.point)
    settings = InstanceSettings(
        url="", lines=folder / "lines", resume=case.resume, lease_seconds=case.lease_seconds
    )
    async with (
        NatsServer() as server,
        Instances(server, folder, settings, writes) as instances,
        ProcessClient.connect(server.url) as client,
        Proxy(server.port) as proxy,
        ProcessClient.connect(proxy.url) as unsteady,
        KilledService.connect(server.url) as other,
    ):
        await asyncio.gather(*(instances.start() for _ in range(case.instances)))
        async with following(client) as records:
            return await _Play(case, instances, writes, records, client, unsteady, proxy, other).run()


class _Play:
    def __init__(
        self,
        case: Case,
        instances: Instances,
        writes: Writes,
        records: Records,
        client: ProcessClient,
        unsteady: ProcessClient,
        proxy: Proxy,
        other: KilledService,
    ) -> None:
        self._case = case
        self._instances = instances
        self._writes = writes
        self._records = records
        self._client = client
        self._unsteady = unsteady
        self._proxy = proxy
        self._other = other
        self._accepted: list[int] = []
        self._is_cancelled = False
        self._wrong: list[str] = []

    async def run(self) -> list[str]:
        async with AsyncExitStack() as stack:
            replacing = asyncio.create_task(self._replace())
            stack.callback(replacing.cancel)
            operation_id = await self._start()
            if operation_id is None:
                return self._wrong
            run = self._client.process.ref(operation_id)
            watches = {
                "the first watch": self._watch(run),
                "the watch that is cut": self._watch(self._unsteady.process.ref(operation_id)),
            }
            steering = asyncio.create_task(self._steer(run))
            async with asyncio.timeout(LONG.total_seconds()):
                ending = await self._end(run)
                await steering
                found = {name: await task for name, task in watches.items()}
                found["the late watch"] = await self._watch(run)
                await eventually(lambda: self._records.has_ended(operation_id))
                if not self._writes.acted:
                    self._wrong.append("nothing was killed")
            self._judge(operation_id, ending, found)
        return self._wrong

    def _judge(self, operation_id: str, ending: str, found: dict[str, list[Update]]) -> None:
        records = self._records.of[operation_id]
        lines = [line for line in self._instances.lines() if line.operation in {operation_id, "-"}]
        self._wrong += judge_records(records) + judge_handlers(lines)
        for name, updates in found.items():
            self._wrong += judge_watch(name, updates, records)
        newest = records[-1]
        if ending != newest.state.value:
            self._wrong.append(f"the starter got {ending!r} and {newest.state.value!r} is stored")
        if ending == "completed":
            self._wrong += judge_signals(lines, newest)
        if self._accepted != sorted(set(self._accepted)) or len(newest.signals) < len(self._accepted):
            self._wrong.append(f"signals {self._accepted} were accepted")
        if self._is_cancelled and newest.state is not OperationState.CANCELLED:
            self._wrong.append("the cancellation is lost")
        killed = {line.pid for line in lines if line.what == "killed"}
        began = {line.pid for line in lines if line.what == "began"}
        may_fail = self._case.resume == "fail" and killed & (began or killed)
        if ending == "failed" and not may_fail:
            self._wrong.append("it failed although no handler was interrupted")

    async def _replace(self) -> None:
        await eventually(lambda: self._writes.acted, within=LONG)
        self._proxy.cut()
        if not self._instances.alive:
            await self._instances.start()

    async def _start(self) -> str | None:
        request = ProcessInput(order_id=ORDER, mode=self._case.mode)
        try:
            return (await self._client.process.start(request, timeout=ANSWER)).id
        except RequestTimeout:
            if self._case.point not in {(1, "sent"), (1, "stored")}:
                self._wrong.append("the start was not answered")
            return next(iter(self._records.of), None)

    def _watch(self, run: ProcessRun) -> asyncio.Task[list[Update]]:
        async def watch() -> list[Update]:
            return [update async for update in run.watch()]

        return asyncio.create_task(watch())

    async def _end(self, run: ProcessRun) -> str:
        try:
            result = await run.result(timeout=LONG)
        except OperationInterrupted:
            return "failed"
        except OperationCancelled:
            return "cancelled"
        if result != result_of(ORDER):
            self._wrong.append(f"the result is {result}")
        return "completed"

    async def _steer(self, run: ProcessRun) -> None:
        """Do what the mode asks callers and operators for."""

        def is_waiting() -> bool:
            records = self._records.of.get(run.id, [])
            return any(record.has_ended or record.snapshot.progress == {"step": 2} for record in records)

        if self._case.mode == "short":
            return
        await eventually(is_waiting, within=LONG)
        with contextlib.suppress(OperationAlreadyTerminal):
            if self._case.mode == "cancel":
                await until_answered(lambda: run.cancel(timeout=ANSWER))
                self._is_cancelled = True
                return
            for level in (1, 2):
                hurry = Hurry(level=level)
                answer = await until_answered(lambda: run.signal.hurry(hurry, timeout=ANSWER))  # noqa: B023 - awaited here
                self._accepted.append(answer.sequence)
            answer = await until_answered(lambda: run.signal.approve(Approval(by="me"), timeout=ANSWER))
            self._accepted.append(answer.sequence)
        if self._case.mode == "defer":
            await self._complete(run.id)

    async def _complete(self, operation_id: str) -> None:
        def is_left_open() -> bool:
            newest = self._records.newest(operation_id)
            return newest.has_ended or (newest.execution is not None and newest.execution.is_deferred)

        await eventually(is_left_open, within=LONG)
        with contextlib.suppress(OperationAlreadyTerminal):
            await self._other.process.ref(operation_id).complete(result_of(ORDER))
