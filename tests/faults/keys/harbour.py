"""The service of the keyed fault scenarios: one queue for each way to answer when a key is full."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar, Final

from trellis_nats import (
    RUNTIME_API,
    ActiveJob,
    Contract,
    JobQueue,
    Jobs,
    JobSpec,
    KeySpec,
    Model,
    Runtime,
    Service,
)

__all__ = ["ACK_WAIT", "LEASE", "QUEUES", "Boat", "BoatJob", "BoatQueue", "Harbour", "Moored", "limits_of"]

ACK_WAIT: Final = timedelta(seconds=2)
LEASE: Final = timedelta(seconds=2)
"""Long enough that a process which the machine keeps from running for a moment does not lose its slots."""


class Boat(Model):
    """A payload: the key, and what the handler does."""

    berth: str
    number: int = 0
    seconds: float = 0
    """How long the handler takes."""
    raises: int = 0
    """In how many of its tries, from the first on, it raises at its end."""


class Moored(Model):
    """A result: the number of the try."""

    tries: int


BoatJob = ActiveJob[Boat, Moored]
BoatQueue = JobQueue[Boat, Moored]


def _spec(name: str, key: KeySpec) -> JobSpec:
    return JobSpec(
        name=name,
        payload=Boat,
        result=Moored,
        max_deliver=30,
        backoff=(timedelta(milliseconds=50),),
        ack_wait=ACK_WAIT,
        concurrency=8,
        key=key,
    )


class DockQueue(BoatQueue):
    """One active job; a job beyond the limit is rejected."""

    spec: ClassVar[JobSpec] = _spec("dock", KeySpec(template=("/berth",), max_queued=4, lease=LEASE))


class PierQueue(BoatQueue):
    """Two active jobs; a job beyond the limit is answered with an existing one."""

    spec: ClassVar[JobSpec] = _spec(
        "pier",
        KeySpec(template=("/berth",), max_active=2, max_queued=3, when_full="coalesce", lease=LEASE),
    )


class QuayQueue(BoatQueue):
    """One active job; a job beyond the limit replaces the job that waits longest."""

    spec: ClassVar[JobSpec] = _spec(
        "quay", KeySpec(template=("/berth",), max_queued=3, when_full="replace-oldest", lease=LEASE)
    )


QUEUES: Final = ("dock", "pier", "quay")


class HarbourJobs(Jobs):
    """The queues."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.dock: Final = DockQueue(runtime)
        self.pier: Final = PierQueue(runtime)
        self.quay: Final = QuayQueue(runtime)

    def of(self, name: str) -> BoatQueue:
        """Return a queue by its name."""
        return {each.spec.name: each for each in (self.dock, self.pier, self.quay)}[name]


class Harbour(Service):
    """The service."""

    contract: ClassVar[Contract] = Contract(
        id="harbour@v1", digest="h" * 43, generator="0", runtime_api=RUNTIME_API
    )

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.jobs: Final = HarbourJobs(runtime)


def limits_of(queue: str) -> tuple[int, int]:
    """Return how many jobs of a key of a queue may be active, and how many may wait then."""
    for each in (DockQueue, PierQueue, QuayQueue):
        key = each.spec.key
        if each.spec.name == queue and key is not None:
            return key.max_active, key.max_queued
    raise ValueError(f'no queue is named "{queue}"')
