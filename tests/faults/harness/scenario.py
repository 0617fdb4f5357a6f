"""One scenario: jobs are submitted while something fails; then all is healed, the queue runs dry, and the checker judges.

The jobs are submitted by the test's own process, straight to the server, under ids that are known before the answer,
so that a job whose creation is unknown can be found again. Workers are processes of their own.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from pydantic import JsonValue
from trellis_nats import JobRef, JobState, Options, TransportError
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.api import call
from trellis_nats._nats.jetstream.streams import get_stream_info
from trellis_nats.errors import WriteUnknown
from trellis_nats.jobs.model.creation import derive_id
from trellis_nats.testing import LogEvent

from tests.faults.harness.checker import Verdict, check
from tests.faults.harness.crew import Crew
from tests.faults.harness.dump import Dump, dumped, number_at
from tests.faults.harness.history import HistoryFile, What, read_history
from tests.faults.harness.lives import lives
from tests.faults.harness.mill import Flour, Grain, Mill
from tests.faults.harness.table import ROWS, Row
from tests.faults.harness.worker import Settings
from tests.support.eventually import eventually

__all__ = ["DRAIN", "Scenario", "scenario"]

DRAIN: Final = timedelta(seconds=60)
"""How long a queue may take to run dry once all is healed."""
SEEN_WITHIN: Final = 10
"""Seconds within which a fault is to be seen, where a scenario does not say otherwise."""
_LOOK_EVERY: Final = 0.1
_DRY_LOOKS: Final = 3
"""A message can be on its way between the streams at the moment of one look."""

Ref = JobRef[Grain, Flour]


@dataclass
class Scenario:
    """What a test holds of a running scenario."""

    name: str
    mill: Mill
    """The submitting side. It works no jobs."""
    crew: Crew
    history: HistoryFile
    queue: str
    seed: int
    chance: random.Random
    """Where every random choice of the scenario comes from."""
    note: str = ""
    """Goes into the table."""
    refs: list[Ref] = field(default_factory=list[Ref])
    """The accepted jobs."""
    began: float = field(default_factory=time.monotonic)
    _run: str = field(default_factory=lambda: secrets.token_hex(4))
    _numbers: int = 0

    @property
    def connection(self) -> Connection:
        """The submitting side's connection."""
        return self.mill.jobs.runtime.connection

    async def submit(
        self,
        *,
        seconds: float = 0,
        blocks: bool = False,
        heeds: bool = False,
        raises: int = 0,
        ends: tuple[str, ...] = (),
        delay: timedelta | None = None,
        deadline: timedelta | datetime | None = None,
        queue: str = "",
    ) -> Ref | None:
        """Create one job; None when NATS did not say that it took it. `ends`: the ends it may have; empty: any."""
        self._numbers += 1
        key = f"{self._run}-{self._numbers}"
        grain = Grain(number=self._numbers, seconds=seconds, blocks=blocks, heeds=heeds, raises=raises)
        into = self.mill.jobs.of(queue or self.queue)
        job = derive_id("mill", into.spec.name, key)
        self.history.write(What.SUBMIT, job, ends=list(ends))
        try:
            ref = await into.create(grain, idempotency_key=key, delay=delay, deadline=deadline)
        except WriteUnknown:
            self.history.write(What.UNKNOWN, job)
            return None
        except TransportError as error:
            self.history.write(What.REFUSED, job, error=repr(error))
            return None
        self.history.write(What.ACCEPTED, job)
        self.refs.append(ref)
        return ref

    async def submit_many(
        self,
        count: int,
        *,
        at_once: int = 50,
        pause: float = 0,
        seconds: float = 0,
        raises: int = 0,
        ends: tuple[str, ...] = (),
    ) -> None:
        """Create jobs, some at a time, each of them after a pause in seconds."""
        left = iter(range(count))

        async def one_after_another() -> None:
            for _ in left:
                await self.submit(seconds=seconds, raises=raises, ends=ends)
                if pause:
                    await asyncio.sleep(pause)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(at_once, count)):
                group.create_task(one_after_another())

    async def submit_batch(
        self, count: int, *, delay: timedelta | None = None, ends: tuple[str, ...] = ()
    ) -> list[Ref]:
        """Create jobs in one batch, which the server must take."""
        numbers = range(self._numbers + 1, self._numbers + count + 1)
        self._numbers += count
        refs = await self.mill.jobs.of(self.queue).create_many(
            [Grain(number=number) for number in numbers], delay=delay
        )
        for ref in refs:
            self.history.write(What.SUBMIT, ref.id, ends=list(ends))
            self.history.write(What.ACCEPTED, ref.id)
        self.refs += refs
        return refs

    async def cancel(self, ref: Ref) -> bool | None:
        """Cancel a job, and return whether that was its end; None when NATS did not say."""
        self.history.write(What.CANCEL, ref.id)
        try:
            snapshot = await ref.cancel("by the scenario")
        except TransportError:
            return None
        won = snapshot.state is JobState.CANCELLED
        self.history.write(What.CANCELLED if won else What.NOT_CANCELLED, ref.id)
        return won

    async def entered(self, ref: Ref | None, tries: int = 1) -> None:
        """Wait until a handler has begun a job, in a given try.

        Raises:
            AssertionError: the job was not accepted, or none has.
        """
        await self._written(What.ENTER, ref, tries)

    async def exited(self, ref: Ref | None, tries: int = 1) -> None:
        """Wait until a handler of a job has ended, in a given try. Raises as `entered`."""
        await self._written(What.EXIT, ref, tries)

    async def _written(self, what: What, ref: Ref | None, tries: int) -> None:
        if ref is None:
            raise AssertionError("the job was not accepted")

        def is_written() -> bool:
            entries = read_history(self.history.path)
            return any((each.what, each.job, each.tries) == (what, ref.id, tries) for each in entries)

        await eventually(is_written)

    def nemesis(self, fault: str, *seen: LogEvent, within: int = SEEN_WITHIN) -> None:
        """Record a fault. A worker must log one of the events within `within` seconds."""
        names: list[JsonValue] = [str(event) for event in seen]
        self.history.write(What.NEMESIS, fault=fault, seen=names, within=within)

    def logged_events(self) -> set[str]:
        """Return the names of the events that the workers logged from INFO on."""
        return {
            entry.text("event_name") for entry in read_history(self.history.path) if entry.what is What.LOGGED
        }

    async def drained(self, within: timedelta = DRAIN) -> Dump:
        """Wait until every stored job has an end and no work is left, or the time is over; return what is stored."""
        due = time.monotonic() + within.total_seconds()
        while True:
            try:
                dry = await self._is_dry()
                if dry or time.monotonic() > due:
                    dump = await dumped(self.connection)
                    ended = all(life.end for life in lives(dump.records).values() if life.created)
                    if (dry and ended) or time.monotonic() > due:
                        return dump
            except TransportError:
                if time.monotonic() > due:
                    raise
            await asyncio.sleep(_LOOK_EVERY)

    async def verdict(self, within: timedelta = DRAIN) -> Verdict:
        """Let the queue run dry, judge the scenario, and put it into the table."""
        dump = await self.drained(within)
        verdict = check(read_history(self.history.path), dump)
        ROWS.append(Row(self.name, verdict, time.monotonic() - self.began, self.note))
        print(f"{self.name}, seed {self.seed}: {verdict}")  # noqa: T201 - the counts, and how to repeat it
        return verdict

    async def _is_dry(self) -> bool:
        for look in range(_DRY_LOOKS):
            if look:
                await asyncio.sleep(_LOOK_EVERY)
            if not await _has_no_work(self.connection):
                return False
        return True


@asynccontextmanager
async def scenario(
    name: str,
    url: str,
    folder: Path,
    *,
    queue: str = "grind",
    work_url: str = "",
    seed: int | None = None,
    **settings: object,
) -> AsyncGenerator[Scenario]:
    """Prepare a scenario for the length of an `async with` block; hire its workers there.

    Args:
        name: its line in the table.
        url: where jobs are submitted, the server's own address.
        folder: where the history and the workers' logs go; made where it is missing.
        queue: the queue of the mill that is used.
        work_url: where workers connect to; by default `url`.
        seed: of its random choices; by default a new one, which is printed.
        settings: other fields of the workers' `Settings`.
    """
    await asyncio.to_thread(folder.mkdir, exist_ok=True)
    chosen = random.randrange(2**32) if seed is None else seed  # noqa: S311 - a seed is not a secret
    history = HistoryFile(folder / "history.jsonl")
    told = Settings(url=work_url or url, history=history.path, queues=(queue,)).model_copy(update=settings)
    print(f"{name}, seed {chosen}: workers {told.model_dump_json(exclude={'history'})}")  # noqa: T201 - how to repeat it
    options = Options(connect_timeout=timedelta(seconds=20))
    try:
        async with Mill.connect(url, options=options) as mill, Crew(told, history, folder) as crew:
            yield Scenario(name, mill, crew, history, queue, chosen, random.Random(chosen))  # noqa: S311 - likewise
    finally:
        history.close()


async def _has_no_work(connection: Connection) -> bool:
    info = await get_stream_info(connection, "JOBS_WORK")
    if info is None or number_at(info, "state", "messages"):
        return False
    sources = info.get("sources")
    lags = [
        number_at(each, "lag")
        for each in (sources if isinstance(sources, list) else [])
        if isinstance(each, dict)
    ]
    listed = (await call(connection, "CONSUMER.LIST.JOBS_WORK", {})).get("consumers")
    consumers = [each for each in (listed if isinstance(listed, list) else []) if isinstance(each, dict)]
    return not any(lags) and not any(number_at(each, "num_ack_pending") for each in consumers)
