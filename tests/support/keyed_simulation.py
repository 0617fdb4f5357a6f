"""Processes that wait for slots of keys, on a virtual clock: the runtime's own `SlotAcquirer` over records in memory.

Every read, write, answer and notification takes as long as chance says, as in a process that the machine keeps from
running, and notifications and answers may be lost. The loop jumps to its next timer, so that no time passes in reality.
"""

from __future__ import annotations

import asyncio
import random
import selectors
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Final, NamedTuple, TypeVar, cast

import pytest
from trellis_nats import clock
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.progress_thread import ProgressThread
from trellis_nats._nats.wire.message import Message
from trellis_nats._support.capacity import Capacity, Permit
from trellis_nats.clock import Clock, timestamp
from trellis_nats.jobs.keys import acquire, lease, orphans, wait_queue
from trellis_nats.jobs.keys.acquire import NoSlot, SlotAcquirer, SlotRequest
from trellis_nats.jobs.keys.key_store import KeyStores, Reducer
from trellis_nats.jobs.keys.lease import SlotLease
from trellis_nats.jobs.keys.model.policy import KeyPolicy
from trellis_nats.jobs.keys.model.record import KeyRecord, QueueEntry
from trellis_nats.jobs.keys.model.template import JobKey
from trellis_nats.jobs.keys.orphans import OrphanFinder
from trellis_nats.jobs.keys.reservations import Reservations
from trellis_nats.jobs.pause.intake import Intake
from trellis_nats.jobs.store.event_log import EventLog
from trellis_nats.jobs.store.liveness import Answer, Liveness
from trellis_nats.metrics.registry import Number

__all__ = ["Pace", "Process", "Server", "WorkMessage", "simulate"]

T = TypeVar("T")

_EPOCH: Final = datetime(2026, 7, 1, tzinfo=UTC)
_ANSWER_TIMEOUT: Final = 5.0
"""Seconds after which a process notices that the answer to a write is lost."""
_REDELIVERY: Final = 1.0
"""Seconds after which a message that a process gave back is delivered again."""
_SKEW: Final = 60.0
_LIMIT: Final = 3600.0
"""Seconds of virtual time in which a scenario must end."""


class _Clock(selectors.SelectSelector):
    """Lets the time pass that the loop would sleep."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(0)
        if not found and timeout is None:
            raise RuntimeError("every process waits, and no timer runs")
        if not found:
            self.now += max(0.0, timeout or 0.0)
        return found


class _VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._clock = _Clock()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.now


def simulate(scenario: Callable[[], Coroutine[None, None, T]]) -> T:
    """Run a scenario on a loop with a virtual clock, which the runtime's keyed part reads too."""
    with pytest.MonkeyPatch.context() as patch, asyncio.Runner(loop_factory=_VirtualLoop) as runner:
        loop = runner.get_loop()

        def now() -> datetime:
            return _EPOCH + timedelta(seconds=loop.time())

        async def write_stale(*_: object, **__: object) -> None:
            """Store nothing: the scenario has no event log."""

        for module in (acquire, lease, orphans, wait_queue):
            patch.setattr(module, "monotonic", loop.time)
        for module in (acquire, lease, clock):
            patch.setattr(module, "now", now)
        patch.setattr(acquire, "write_stale", write_stale)
        patch.setattr("random.uniform", random.Random(0).uniform)  # noqa: S311 - to be repeatable
        return runner.run(asyncio.wait_for(scenario(), _LIMIT))


@dataclass(frozen=True)
class Pace:
    """How slow everything is, in seconds at most, and the share of what gets lost."""

    step: float = 0.0
    """From a request to its arrival at the server, and from there to its answer."""
    notice: float = 0.0
    """From a change of a record to its notification."""
    lost_notices: float = 0.0
    lost_answers: float = 0.0
    work: float = 0.0
    """What a step costs of the only processor: others wait meanwhile."""


class WorkMessage(NamedTuple):
    """The work message of a job."""

    key: JobKey
    job: str
    seconds: float
    """How long its handler takes."""
    created_at: str
    """By the clock of its creator, which is ahead or behind."""


@dataclass
class _Stored:
    record: KeyRecord
    revision: int = 0
    listeners: list[Callable[[Message], None]] = field(default_factory=list[Callable[[Message], None]])


class Server:
    """What the server has stored, and when each key had work in a process and handlers."""

    def __init__(self, policy: KeyPolicy, pace: Pace, *, seed: int) -> None:
        self.policy = policy
        self.pace = pace
        self.chance = random.Random(seed)  # noqa: S311 - a seed is not a secret
        self.messages: deque[WorkMessage] = deque()
        self.ended: set[str] = set()
        self.longest_idle = 0.0
        """The longest time for which a key had work in a process, and no handler."""
        self.most_active = 0
        """The most handlers of a key at a time."""
        self._stored: dict[str, _Stored] = {}
        self._jobs: list[str] = []
        self._waiting: dict[JobKey, int] = defaultdict(int)
        self._running: dict[JobKey, int] = defaultdict(int)
        self._idle_since: dict[JobKey, float] = {}
        self.lost = 0
        """How many attempts lost their slot."""
        self.steps = 0
        """How many messages there were between processes and the server."""
        self._busy_until = 0.0
        self._all_ended = asyncio.Event()

    async def step(self) -> None:
        """Let a message between a process and the server take its time."""
        now = asyncio.get_running_loop().time()
        self._busy_until = max(self._busy_until, now) + self.pace.work
        self.steps += 1
        await asyncio.sleep(self._busy_until - now + self.chance.uniform(0, self.pace.step))

    def stored(self, name: str) -> _Stored:
        """Return what is stored of a key, by its hash."""
        if name not in self._stored:
            empty = KeyRecord("svc", "q", "key", name, self.policy.max_active, self.policy.max_queued)
            self._stored[name] = _Stored(empty)
        return self._stored[name]

    def submit(self, key: JobKey, job: str, *, seconds: float) -> None:
        """Store a job and its entry."""
        record = self.stored(key.hash).record
        entry = QueueEntry(job, timestamp(_EPOCH), "r", None)
        self.write(key, record.with_jobs(record.active, (*record.queued, entry)))
        created_at = timestamp(_EPOCH + timedelta(seconds=self.chance.uniform(-_SKEW, _SKEW)))
        self.messages.append(WorkMessage(key, job, seconds, created_at))
        self._jobs.append(job)

    def write(self, key: JobKey, record: KeyRecord) -> None:
        """Store a record, and notify those who listen, unless the notification is lost."""
        stored = self.stored(key.hash)
        stored.record, stored.revision = record, stored.revision + 1
        message = cast("Message", SimpleNamespace(data=record.encode()))
        for listener in stored.listeners:
            if self.chance.random() >= self.pace.lost_notices:
                delay = self.chance.uniform(0, self.pace.notice)
                asyncio.get_running_loop().call_later(delay, listener, message)

    def count(self, key: JobKey, *, waiting: int = 0, running: int = 0) -> None:
        """Note that a job of the key has arrived in a process or ended, and that a handler has begun or ended."""
        now = asyncio.get_running_loop().time()
        self._waiting[key] += waiting
        self._running[key] += running
        self.most_active = max(self.most_active, self._running[key])
        if self._waiting[key] > 0 and self._running[key] == 0:
            self._idle_since.setdefault(key, now)
        elif (since := self._idle_since.pop(key, None)) is not None:
            self.longest_idle = max(self.longest_idle, now - since)

    def end(self, job: str) -> None:
        """Store the end of a job."""
        self.ended.add(job)
        if len(self.ended) == len(self._jobs):
            self._all_ended.set()

    async def all_ended(self) -> float:
        """Return at which time every job has ended."""
        await self._all_ended.wait()
        return asyncio.get_running_loop().time()


class _Store:
    """The key store of one process."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.queue = "q"
        self.main = self

    def get_for_thread(self, _: object) -> _Store:
        return self

    def subject(self, key: JobKey) -> str:
        return key.hash

    def parse(self, key: JobKey, data: bytes) -> KeyRecord:
        return KeyRecord.parse(data, service="svc", queue="q", key_hash=key.hash)

    async def read(self, key: JobKey) -> KeyRecord:
        return await self.change(key, lambda record: (record, record))

    async def change(self, key: JobKey, reduce: Reducer[T]) -> T:
        server, stored = self._server, self._server.stored(key.hash)
        while True:
            await server.step()
            record, revision = stored.record, stored.revision
            await server.step()
            changed, result = reduce(record)
            if changed == record:
                return result
            await server.step()
            if revision != stored.revision:
                await server.step()
                continue
            server.write(key, changed)
            if server.chance.random() >= server.pace.lost_answers:
                await server.step()
                return result
            await asyncio.sleep(_ANSWER_TIMEOUT)


class _Connection:
    """What the acquirer uses of a connection."""

    def __init__(self, server: Server) -> None:
        self.loop = asyncio.get_running_loop()
        self._server = server

    def subscribe(self, subject: str, listener: Callable[[Message], None]) -> SimpleNamespace:
        listeners = self._server.stored(subject).listeners
        listeners.append(listener)
        return SimpleNamespace(drain=lambda: listeners.remove(listener))


class _Thread:
    """The heartbeat thread of one process."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def repeat(self, call: Callable[[object], Awaitable[None]], interval: timedelta) -> SimpleNamespace:
        async def repeat() -> None:
            while True:
                await asyncio.sleep(interval.total_seconds())
                await call(None)

        task = asyncio.create_task(repeat())
        self._tasks.add(task)
        return SimpleNamespace(release=task.cancel)


class Process:
    """A process that works the jobs of the queue, as `Worker` and `Executor` do."""

    def __init__(self, server: Server, name: str, *, concurrency: int) -> None:
        self._server = server
        self._tasks: set[asyncio.Task[None]] = set()
        self._capacity = Capacity(concurrency, self.pull)
        held = set[str]()
        liveness = cast(
            "Liveness",
            SimpleNamespace(instance_id=name, hold=held.add, release=held.discard, ask=self._ask),
        )
        event_log = cast("EventLog", SimpleNamespace(newest=self._read_newest, subjects=None))
        finder = OrphanFinder(event_log, liveness, server.policy)
        self._acquirer = SlotAcquirer(
            cast("Connection", _Connection(server)),
            cast("KeyStores", _Store(server)),
            cast("Reservations", SimpleNamespace(policy=server.policy, orphan_finder=finder)),
            event_log,
            liveness,
            cast("ProgressThread", _Thread()),
            intake=Intake(asyncio.Event()),
            clock=Clock(),
            waiting=Number(),
        )

    async def _read_newest(self, job: str) -> SimpleNamespace:
        await self._server.step()
        ended = job in self._server.ended
        event = SimpleNamespace(event_type="completed" if ended else "created", is_terminal=ended)
        return SimpleNamespace(event=event)

    async def _ask(self, *_: object, **__: object) -> Answer:
        await self._server.step()
        return Answer.HELD

    def pull(self) -> None:
        """Take in as many messages as there are free permits."""
        while self._capacity.free > 0 and self._server.messages:
            message = self._server.messages.popleft()
            task = asyncio.get_running_loop().create_task(self._work(message, self._capacity.acquire()))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _work(self, message: WorkMessage, permit: Permit) -> None:
        server, (key, job, _, created_at) = self._server, message
        await server.step()
        server.count(key, waiting=1)
        request = SlotRequest(job, created_at, 1, None, skips_queue=False, deadline=None)
        while job not in server.ended:
            found = await self._acquirer.acquire(key, request, permit)
            if found is NoSlot.REREAD_HISTORY:
                await server.step()
            elif isinstance(found, SlotLease):
                await self._attempt(message, found, permit)
                request = request._replace(skips_queue=True)
                if job not in server.ended:
                    permit = self._capacity.acquire()  # as if it was redelivered to this process at once
            else:
                asyncio.get_running_loop().call_later(_REDELIVERY, self._return, message)
                if found is NoSlot.TOO_SLOW:
                    await self._acquirer.slow_down(key, job)
                break
        server.count(key, waiting=-1)
        permit.release()

    async def _attempt(self, message: WorkMessage, found: SlotLease, permit: Permit) -> None:
        server, (key, job, seconds, _) = self._server, message
        await server.step()  # for `started`
        lost = asyncio.Event()
        found.watch(lost.set)
        server.count(key, running=1)
        with suppress(TimeoutError):
            await asyncio.wait_for(lost.wait(), seconds)
        server.count(key, running=-1)
        permit.end_handler()
        await server.step()  # for the outcome
        if lost.is_set():
            server.lost += 1
        else:
            server.end(job)
        permit.release()
        await self._acquirer.release(found)

    def _return(self, message: WorkMessage) -> None:
        self._server.messages.append(message)
        self.pull()
