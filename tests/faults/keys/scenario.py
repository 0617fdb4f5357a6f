"""One keyed scenario: processes submit and work while something fails; then all is healed, and the audit judges."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Final

from trellis_nats import Options
from trellis_nats._nats.connection import Connection
from trellis_nats.jobs.keys.orphans import RESERVATION_TIMEOUT
from trellis_nats.testing import NatsServer

from tests.faults.harness.dump import Dump, dumped
from tests.faults.harness.history import HistoryFile, What, read_history
from tests.faults.harness.lives import lives
from tests.faults.injection.clocks import TurnedClock
from tests.faults.keys.audit import Audit, Told, audit
from tests.faults.keys.fleet import Fleet, Ship
from tests.faults.keys.harbour import ACK_WAIT, LEASE, QUEUES, Boat, Harbour, limits_of
from tests.faults.keys.idleness import SERVER_AWAY, SERVER_BACK
from tests.faults.keys.revisions import Revision, keep_every_revision, revisions
from tests.faults.keys.starvation import StarvationObserver
from tests.faults.keys.submitter import SubmitterSettings, submitted
from tests.faults.keys.worker import WorkerSettings
from tests.support.eventually import eventually

__all__ = ["HEALED", "KeyedScenario", "keyed_scenario"]

HEALED: Final = timedelta(seconds=30)
"""How long the queues may take to run dry, and the records to be empty, once nothing fails any more."""
_SECOND: Final = timedelta(seconds=1)
_LOOK_EVERY: Final = 0.2


@dataclass
class KeyedScenario:
    """What a test holds of a running scenario."""

    name: str
    server: NatsServer
    harbour: Harbour
    """The test's own side. It works no jobs."""
    fleet: Fleet
    history: HistoryFile
    folder: Path
    seed: int
    chance: random.Random
    """Where every random choice of the scenario comes from."""
    worker: WorkerSettings
    starvation: StarvationObserver
    _clocks: int = 0
    _numbers: int = 0

    @property
    def connection(self) -> Connection:
        """The test's own connection."""
        return self.harbour.jobs.runtime.connection

    async def hire(self, *, skew: timedelta | None = None, **changes: object) -> Ship:
        """Start a worker whose wall clock is ahead of the right time; return when it pulls."""
        settings = self.worker.model_copy(update=changes)
        return await self.fleet.launch("worker", settings, self._environment(skew))

    async def submitter(self, **settings: object) -> Ship:
        """Start a submitter with a seed and a name of its own."""
        told = SubmitterSettings.model_validate(
            {
                "url": self.server.url,
                "history": self.history.path,
                "name": secrets.token_hex(4),
                "seed": self.chance.randrange(2**32),
                **settings,
            }
        )
        print(f"{self.name}, seed {self.seed}: submitter {told.model_dump_json(exclude={'history', 'url'})}")  # noqa: T201 - how to repeat it
        return await self.fleet.launch("submitter", told)

    async def submit(self, queue: str, berth: str, *, seconds: float = 0, raises: int = 0) -> bool:
        """Submit one job from the test itself, and return whether it was accepted."""
        self._numbers += 1
        boat = Boat(berth=berth, number=self._numbers, seconds=seconds, raises=raises)
        name = f"{self.name}-{self._numbers}"
        return await submitted(self.harbour, self.history, queue, boat, name)

    async def entered(self, count: int, *, within: timedelta = 10 * _SECOND) -> None:
        """Wait until `count` handlers have begun.

        Raises:
            AssertionError: they have not.
        """

        def have_begun() -> bool:
            return sum(each.what is What.ENTER for each in read_history(self.history.path)) >= count

        await eventually(have_begun, within=within)

    async def kill_server(self, away: float) -> None:
        """Kill the server, and start it again after a number of seconds."""
        self.history.write(What.NEMESIS, fault=SERVER_AWAY)
        await asyncio.to_thread(self.server.kill)
        await asyncio.sleep(away)
        await asyncio.to_thread(self.server.start)
        self.history.write(What.NEMESIS, fault=SERVER_BACK)

    async def audit(self, within: timedelta = HEALED) -> Audit:
        """Wait until all is done or the time is over, of which starvation does not count, and judge."""
        await self.connection.wait_connected()
        dump, stored, clock = await self._done(within)
        left = [each for each in _newest(stored) if each.active or each.queued]
        if left and not dump.work:
            # The next job that has to wait evicts what dead processes left: with more jobs than may run, one has to wait.
            if any(each.queued for each in left):
                await asyncio.sleep(RESERVATION_TIMEOUT.total_seconds())
            for each in left:
                for _ in range(limits_of(each.key[0])[0] + 1):
                    await self.submit(*each.key, seconds=0.3)
            dump, stored, clock = await self._done(LEASE + _SECOND + ACK_WAIT)
        dump = replace(dump, records=tuple(replace(each, at=each.at - clock) for each in dump.records))
        judged = audit(
            Told(
                history=read_history(self.history.path),
                dump=dump,
                revisions=stored,
                limits={queue: limits_of(queue) for queue in QUEUES},
                lease=_nanoseconds(LEASE),
                ack_wait=_nanoseconds(ACK_WAIT),
            )
        )
        print(f"{self.name}, seed {self.seed}: {len(left)} keys left to be cleared, {judged}")  # noqa: T201 - the counts
        return judged

    async def _done(self, within: timedelta) -> tuple[Dump, list[Revision], int]:
        """Wait until nothing is left to do or the time is over, and return what is stored, with the server's clock."""
        began, starved = time.monotonic(), self.starvation.seconds
        while True:
            waited = time.monotonic() - began - (self.starvation.seconds - starved)
            clock = time.time_ns() - time.monotonic_ns()
            dump, stored = await dumped(self.connection), await revisions(self.connection, clock=clock)
            self.history.write(What.NEMESIS, fault="a look")  # the end of the history is now
            dry = not dump.work and all(life.end for life in lives(dump.records).values() if life.created)
            free = not any(each.active or each.queued for each in _newest(stored))
            if (dry and free) or waited > within.total_seconds():
                return dump, stored, clock
            if dry and waited > 2 * LEASE.total_seconds():
                return dump, stored, clock
            await asyncio.sleep(_LOOK_EVERY)

    def _environment(self, skew: timedelta | None) -> Mapping[str, str]:
        if skew is None:
            return {}
        self._clocks += 1
        clock = TurnedClock.at(self.folder / f"clock{self._clocks}")
        if clock is None:
            raise RuntimeError("libfaketime is not installed")
        clock.turn(skew)
        return clock.environment


@asynccontextmanager
async def keyed_scenario(
    name: str, server: NatsServer, folder: Path, *, seed: int | None = None, **settings: object
) -> AsyncGenerator[KeyedScenario]:
    """Prepare a scenario for the length of an `async with` block; hire its workers there.

    `settings` are fields of `WorkerSettings`; `seed` is of its random choices, by default a new one, which is printed.
    """
    await asyncio.to_thread(folder.mkdir, exist_ok=True)
    chosen = random.randrange(2**32) if seed is None else seed  # noqa: S311 - a seed is not a secret
    chance = random.Random(chosen)  # noqa: S311 - likewise
    history = HistoryFile(folder / "history.jsonl")
    worker = WorkerSettings(url=server.url, history=history.path).model_copy(update=settings)
    print(f"{name}, seed {chosen}: workers {worker.model_dump_json(exclude={'history', 'url'})}")  # noqa: T201 - how to repeat it
    options = Options(connect_timeout=20 * _SECOND)
    try:
        async with (
            Harbour.connect(server.url, options=options) as harbour,
            Fleet(history, folder) as fleet,
        ):
            await keep_every_revision(harbour.jobs.runtime.connection)
            observer = StarvationObserver(history, lambda: _pids(server, fleet))
            observing = asyncio.create_task(observer.observe())
            try:
                yield KeyedScenario(
                    name, server, harbour, fleet, history, folder, chosen, chance, worker, observer
                )
            finally:
                observing.cancel()
    finally:
        history.close()


def _pids(server: NatsServer, fleet: Fleet) -> list[int]:
    """Return the processes of which a key may have to wait for one."""
    servers = [server.pid] if server.is_running else []
    return [*servers, *(each.pid for each in fleet.ships if each.process.returncode is None)]


def _newest(stored: list[Revision]) -> list[Revision]:
    return list({each.key: each for each in stored}.values())


def _nanoseconds(time_: timedelta) -> int:
    return int(time_.total_seconds() * 1e9)
