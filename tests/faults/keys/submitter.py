"""Submits jobs to the harbour from a process of its own, and writes down every answer.

Run as `python -m tests.faults.keys.submitter SETTINGS`, the settings as JSON. It says `works` when it begins, and ends
once the configured number of jobs was accepted. A submission whose answer is lost is made again, under the same
idempotency key, until there is an answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import sys
from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel
from trellis_nats import Accepted, Coalesced, Options, Rejected, Replaced, TransportError
from trellis_nats._nats.jetstream.streams import get_consumer_info
from trellis_nats.jobs.model.creation import derive_id

from tests.faults.harness.history import HistoryFile, What
from tests.faults.keys.harbour import LEASE, QUEUES, Boat, Harbour
from tests.support.shop_process import say

__all__ = ["SubmitterSettings", "submitted"]

_AGAIN = 0.2
"""Seconds before a submission is made again."""
_BACKLOG = 20
"""While more messages than this wait for a worker, nothing is submitted: what waits there shows how many processors the
machine has, not what the runtime does."""
_LOOK_EVERY = 0.5


class SubmitterSettings(BaseModel):
    """What a submitter process submits."""

    url: str
    history: Path
    name: str
    """Tells its jobs from those of others."""
    jobs: int
    """It ends when this many jobs were accepted."""
    seed: int = 0
    queues: tuple[str, ...] = QUEUES
    keys: int = 120
    """In each queue."""
    hot: int = 12
    """How many of the keys are hot."""
    heat: float = 0.5
    """The share of the submissions that goes to the hot keys."""
    at_once: int = 20
    pause: float = 0.1
    """Seconds between two submissions of each of those, on average."""
    seconds: float = 0.03
    """How long a handler takes, at most."""
    long: float = 0.005
    """The share of handlers that take longer than a lease."""
    raising: float = 0.05
    """The share of jobs whose first try raises."""


async def submitted(harbour: Harbour, history: HistoryFile, queue: str, boat: Boat, name: str) -> bool:
    """Submit one job until there is an answer, and return whether it was accepted. `name` is its idempotency key."""
    into = harbour.jobs.of(queue)
    job = derive_id("harbour", queue, name)
    history.write(What.SUBMIT, job, ends=[], queue=queue, key=boat.berth)
    is_unknown = False
    while True:
        try:
            outcome = await into.submit(boat, idempotency_key=name)
        except TransportError as error:
            history.write(What.UNKNOWN, job, error=repr(error))
            is_unknown = True
            await asyncio.sleep(_AGAIN)
            continue
        refused = What.UNKNOWN if is_unknown else What.REFUSED
        match outcome:
            case Accepted():
                history.write(What.ACCEPTED, job)
            case Replaced(replaced=replaced):
                history.write(What.ACCEPTED, job, replaced=replaced.id)
            case Rejected(reason=reason):
                history.write(refused, job, rejected=reason)
            case Coalesced(existing=existing):
                history.write(refused, job, coalesced=existing.id)
        return isinstance(outcome, Accepted | Replaced)


class _Choice:
    """Draws one job after another."""

    def __init__(self, settings: SubmitterSettings) -> None:
        self._settings = settings
        self._chance = random.Random(settings.seed)  # noqa: S311 - a seed is not a secret
        self.pauses = random.Random(settings.seed + 1)  # noqa: S311 - likewise
        self._number = 0

    def draw(self) -> tuple[str, Boat, str]:
        """Return the queue, the payload and the idempotency key of the next job."""
        its, chance = self._settings, self._chance
        is_hot = chance.random() < its.heat
        berth = chance.randrange(its.hot) if is_hot else chance.randrange(its.keys)
        seconds = chance.uniform(0, its.seconds)
        if chance.random() < its.long:
            seconds = LEASE.total_seconds() * 1.5
        self._number += 1
        boat = Boat(
            berth=f"b{berth}",
            number=self._number,
            seconds=seconds,
            raises=int(chance.random() < its.raising),
        )
        return chance.choice(its.queues), boat, f"{its.name}-{self._number}"


async def main(settings: SubmitterSettings) -> None:
    """Submit until enough were accepted."""
    history, choice = HistoryFile(settings.history), _Choice(settings)
    accepted = 0
    async with Harbour.connect(
        settings.url, options=Options(connect_timeout=timedelta(seconds=20))
    ) as harbour:
        say("works")

        workers_keep_up = asyncio.Event()
        looking = asyncio.create_task(_look(harbour, settings.queues, workers_keep_up))

        async def one_after_another() -> None:
            nonlocal accepted
            while accepted < settings.jobs:
                await workers_keep_up.wait()
                was_accepted = await submitted(harbour, history, *choice.draw())
                accepted += was_accepted  # not in one line: others count meanwhile
                await asyncio.sleep(choice.pauses.uniform(0, 2 * settings.pause))

        async with asyncio.TaskGroup() as group:
            for _ in range(settings.at_once):
                group.create_task(one_after_another())
        looking.cancel()


async def _look(harbour: Harbour, queues: tuple[str, ...], workers_keep_up: asyncio.Event) -> None:
    """Look again and again how many messages wait for a worker."""
    while True:
        with contextlib.suppress(TransportError):
            found = [
                await get_consumer_info(harbour.jobs.runtime.connection, "JOBS_WORK", f"harbour__{queue}")
                for queue in queues
            ]
            if sum(info.pending for info in found if info is not None) > _BACKLOG:
                workers_keep_up.clear()
            else:
                workers_keep_up.set()
        await asyncio.sleep(_LOOK_EVERY)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(relativeCreated)d %(name)s %(message)s")
    asyncio.run(main(SubmitterSettings.model_validate_json(sys.argv[1])))
