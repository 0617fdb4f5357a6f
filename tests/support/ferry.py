"""A small service whose queues have concurrency keys: short leases, one queue per policy."""

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

ACK_WAIT: Final = timedelta(seconds=1)
LEASE: Final = timedelta(seconds=1)
LATE_LEASE: Final = timedelta(seconds=2)


class Cargo(Model):
    """A payload. Its key is the ship, unless the queue has another key."""

    ship: str
    number: int = 0
    takes: float = 0
    """How long its handler takes, in seconds."""
    note: str | None = None


class Stowed(Model):
    """A result."""

    number: int


CargoJob = ActiveJob[Cargo, Stowed]
CargoQueue = JobQueue[Cargo, Stowed]


def _spec(name: str, key: KeySpec, *, ack_wait: timedelta = ACK_WAIT) -> JobSpec:
    return JobSpec(
        name=name,
        payload=Cargo,
        result=Stowed,
        max_deliver=5,
        backoff=(timedelta(milliseconds=50),),
        ack_wait=ack_wait,
        concurrency=8,
        key=key,
    )


class LoadQueue(CargoQueue):
    """One active job for each ship, and any number of waiting jobs."""

    spec: ClassVar[JobSpec] = _spec(
        "load", KeySpec(template=("ferry", "/ship"), max_queued=1_000, lease=LEASE)
    )


class PairQueue(CargoQueue):
    """Two active jobs for each ship."""

    spec: ClassVar[JobSpec] = _spec(
        "pair", KeySpec(template=("/ship",), max_active=2, max_queued=1_000, lease=LEASE)
    )


class StrictQueue(CargoQueue):
    """One job for each ship, waiting or active."""

    spec: ClassVar[JobSpec] = _spec("strict", KeySpec(template=("/ship",), lease=LEASE))


class OnceQueue(CargoQueue):
    """A second submission is answered with the first job."""

    spec: ClassVar[JobSpec] = _spec(
        "once", KeySpec(template=("/ship",), max_queued=1, when_full="coalesce", lease=LEASE)
    )


class SoloQueue(CargoQueue):
    """While one is active, another is answered with it; none waits."""

    spec: ClassVar[JobSpec] = _spec("solo", KeySpec(template=("/ship",), when_full="coalesce", lease=LEASE))


class DuoQueue(CargoQueue):
    """While two are active, another is answered with one of them; none waits."""

    spec: ClassVar[JobSpec] = _spec(
        "duo", KeySpec(template=("/ship",), max_active=2, when_full="coalesce", lease=LEASE)
    )


class LatestQueue(CargoQueue):
    """The newest job replaces the waiting one."""

    spec: ClassVar[JobSpec] = _spec(
        "latest", KeySpec(template=("/ship",), max_queued=1, when_full="replace-oldest", lease=LEASE)
    )


class GuardedQueue(CargoQueue):
    """A slot is never taken over by another job."""

    spec: ClassVar[JobSpec] = _spec(
        "guarded", KeySpec(template=("/ship",), max_queued=10, stale_policy="block", lease=LEASE)
    )


class LateQueue(CargoQueue):
    """A lease expires long before the message of a dead worker's job is redelivered."""

    spec: ClassVar[JobSpec] = _spec(
        "late",
        KeySpec(template=("/ship",), max_queued=10, lease=LATE_LEASE),
        ack_wait=timedelta(minutes=1),
    )


class NumberedQueue(CargoQueue):
    """Keyed by a number."""

    spec: ClassVar[JobSpec] = _spec("numbered", KeySpec(template=("/number",), max_queued=10, lease=LEASE))


class FerryJobs(Jobs):
    """The queues."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.load: Final = LoadQueue(runtime)
        self.pair: Final = PairQueue(runtime)
        self.strict: Final = StrictQueue(runtime)
        self.once: Final = OnceQueue(runtime)
        self.solo: Final = SoloQueue(runtime)
        self.duo: Final = DuoQueue(runtime)
        self.latest: Final = LatestQueue(runtime)
        self.guarded: Final = GuardedQueue(runtime)
        self.late: Final = LateQueue(runtime)
        self.numbered: Final = NumberedQueue(runtime)


class Ferry(Service):
    """The service."""

    contract: ClassVar[Contract] = Contract(
        id="ferry@v1", digest="y" * 43, generator="0", runtime_api=RUNTIME_API
    )

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.jobs: Final = FerryJobs(runtime)
