"""A stream, a projection and processes that run a bulk action, in memory: killed, frozen and raced at any moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum, auto
from functools import partial

from trellis_admin.bulk.changes import abort, pause
from trellis_admin.bulk.record import BulkAction, BulkRecord, BulkState, Outcomes
from trellis_admin.bulk.runner import Acted, BulkRunner, Fate, Selected
from trellis_nats.errors import WriteUnknown

__all__ = ["BulkSimulation", "Killed", "Mishap", "Simulated", "new_record"]

PREFIX = "trellis.jobs.shop.pack"
BULK = "B1"


class Killed(BaseException):
    """The process was killed: nothing of it runs after this."""


class Mishap(Enum):
    """What happens at a moment of a run."""

    KILL = auto()
    KILL_AFTER = auto()
    """The effect happens, and its process does not learn of it."""
    FREEZE = auto()
    """The process stops until another one has ended the action, and then continues."""
    LAPSE = auto()
    """The lease of the process expires, and it renews the lease before another process takes it."""
    UNKNOWN = auto()
    """The effect happens, and its answer is lost."""
    UNSENT = auto()
    """It does not happen, and that is not known either."""
    RACE = auto()
    """Another operator changes the next job that is still as it was."""
    ABORT = auto()
    """An operator aborts the bulk action."""
    PAUSE = auto()


_FATAL = {Mishap.KILL, Mishap.KILL_AFTER}


@dataclass(slots=True)
class Simulated:
    """A job."""

    number: int
    is_refused: bool
    state_sequence: int = 0
    is_changed: bool = False


def new_record(count: int, **changes: object) -> BulkRecord:
    """Return a record with a selection of so many jobs."""
    values: dict[str, object] = {
        "id": BULK,
        "action": BulkAction.REPLAY,
        "filter": "state:dead",
        "at": count,
        "count": count,
        "counted_to": count,
        "actor": "anna",
        "source": "console",
        "reason": "",
        "created_at": datetime(2026, 11, 29, tzinfo=UTC),
        "rate": None,
        "begin_with": None,
    }
    return BulkRecord(**{**values, **changes})  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] - a test builds it from parts


@dataclass(slots=True)
class BulkSimulation:
    """The world of one bulk action."""

    record: BulkRecord
    refused: Sequence[int]
    mishaps: Mapping[int, Mishap]
    """What happens at which effect, counted over all processes."""
    jobs: list[Simulated] = field(init=False)
    events: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    """Those of the bulk action: sequence and job."""
    sequence: int = 0
    effects: int = 0
    runner_count: int = 0
    dead: set[str] = field(default_factory=set[str])
    holder: str = ""
    lapsed: str = ""
    """The process whose lease has expired, until it renews it."""
    thawed: asyncio.Event = field(default_factory=asyncio.Event)
    frozen: list[asyncio.Task[BulkRecord]] = field(default_factory=list[asyncio.Task[BulkRecord]])
    has_frozen: asyncio.Event = field(default_factory=asyncio.Event)
    reported: list[BulkRecord] = field(default_factory=list[BulkRecord])

    def __post_init__(self) -> None:
        self.jobs = [
            Simulated(number, number in self.refused, state_sequence=number + 1)
            for number in range(self.record.at)
        ]
        self.sequence = self.record.at

    async def run(self) -> BulkRecord:
        """Start a process, and another one whenever it is killed or frozen, until the action needs none."""
        while self.record.needs_runner:
            self.runner_count += 1
            me = self.holder = f"runner-{self.runner_count}"
            self.lapsed = ""
            process = _Process(self, me)
            runner = BulkRunner(BULK, me, process, process, partial(self._is_holder, me), _ignore)
            self.has_frozen.clear()
            task = asyncio.create_task(runner.run())
            frozen = asyncio.create_task(self.has_frozen.wait())
            await asyncio.wait([task, frozen], return_when=asyncio.FIRST_COMPLETED)
            frozen.cancel()
            if task.done():
                if isinstance(task.exception(), Killed):
                    continue
                task.result()
            else:
                self.frozen.append(task)
        self.thawed.set()
        await asyncio.gather(*self.frozen, return_exceptions=True)
        return self.record

    async def effect(self, me: str, happen: Callable[[], None]) -> None:
        """Let an effect happen, unless something comes in between."""
        await asyncio.sleep(0)
        if me in self.dead:
            raise Killed
        self.effects += 1
        mishap = self.mishaps.get(self.effects)
        if mishap in _FATAL:
            self.dead.add(me)
        if mishap is Mishap.FREEZE:
            self.has_frozen.set()
            self.holder = ""
            await self.thawed.wait()
        self._intervene(mishap)
        if mishap not in {Mishap.KILL, Mishap.UNSENT}:
            happen()
        if mishap in _FATAL:
            raise Killed
        if mishap in {Mishap.UNKNOWN, Mishap.UNSENT}:
            raise WriteUnknown("the answer was lost")

    def _intervene(self, mishap: Mishap | None) -> None:
        if mishap is Mishap.RACE:
            self._change_by_another()
        if mishap is Mishap.LAPSE and self.holder:
            self.holder, self.lapsed = "", self.holder
        if mishap is Mishap.ABORT and not self.record.is_final:
            self.record = abort(self.record, "", self.record.created_at)
        if mishap is Mishap.PAUSE and self.record.state is BulkState.RUNNING:
            self.record = pause(self.record)

    def _is_holder(self, me: str) -> bool:
        return self.holder == me

    def _change_by_another(self) -> None:
        for job in self.jobs:
            if not job.is_changed:
                self.sequence += 1
                job.is_changed, job.state_sequence = True, self.sequence
                return


def _ignore(_record: BulkRecord) -> None:
    pass


@dataclass(slots=True)
class _Process:
    """What one process sees: `Records` and `BulkWorld`."""

    world: BulkSimulation
    me: str

    async def read(self, bulk_id: str) -> BulkRecord:
        assert bulk_id == BULK
        await self.world.effect(self.me, lambda: None)
        return self.world.record

    async def change(self, bulk_id: str, reduce: Callable[[BulkRecord], BulkRecord]) -> BulkRecord:
        assert bulk_id == BULK
        if self.world.lapsed == self.me:
            self.world.holder, self.world.lapsed = self.me, ""
        # As `BulkStore.change`: after an answer that was lost, the record is read again.
        while True:
            before = self.world.record
            changed = reduce(before)
            if changed == before:
                return before
            try:
                await self.world.effect(self.me, partial(self._write, before, changed))
            except WriteUnknown:
                if self.world.record == changed:
                    return changed
            if self.world.record == changed:
                return changed

    def _write(self, before: BulkRecord, changed: BulkRecord) -> None:
        if self.world.record == before:  # compare and set
            self.world.record = changed

    async def add_refusals(self, bulk_id: str, refusals: dict[str, str]) -> None:
        assert bulk_id == BULK
        await self.world.effect(self.me, lambda: None)
        assert refusals

    async def find_roll_back(self, record: BulkRecord) -> str | None:
        await self.world.effect(self.me, lambda: None)
        assert record.id == BULK
        return None

    async def select(self, record: BulkRecord, *, limit: int) -> list[Selected]:
        await self.world.effect(self.me, lambda: None)
        return [
            Selected(PREFIX, str(job.number), job.state_sequence)
            for job in self.world.jobs
            if record.cursor < job.state_sequence <= record.at
        ][:limit]

    async def act(self, record: BulkRecord, job: Selected) -> Acted:
        world, found = self.world, self.world.jobs[int(job.job_id)]
        acted = Acted(Fate.CHANGED)

        def write() -> None:
            nonlocal acted
            own = [sequence for sequence, number in world.events if number == found.number]
            if own:
                acted = Acted(Fate.OURS, own[0])
            elif found.state_sequence != job.state_sequence:
                acted = Acted(Fate.CHANGED)
            elif found.is_refused:
                acted = Acted(Fate.REFUSED, reason="its deadline has passed")
            else:
                world.sequence += 1
                found.state_sequence, found.is_changed = world.sequence, True
                world.events.append((world.sequence, found.number))
                acted = Acted(Fate.SENT, world.sequence)

        await world.effect(self.me, write)
        assert record.id == BULK
        return acted

    async def count_events(self, record: BulkRecord, *, after: int) -> tuple[int, int]:
        await self.world.effect(self.me, lambda: None)
        assert record.id == BULK
        found = [sequence for sequence, _ in self.world.events if sequence > after]
        return len(found), max(found, default=0)

    async def count_outcomes(self, record: BulkRecord) -> Outcomes:
        assert record.id == BULK
        return Outcomes()

    async def report_end(self, record: BulkRecord) -> None:
        await self.world.effect(self.me, lambda: None)
        self.world.reported.append(record)
