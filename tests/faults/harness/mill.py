"""The service of the fault scenarios. A job says in its payload what its handler does."""

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
    Model,
    Runtime,
    Service,
)

__all__ = ["ACK_WAIT", "Flour", "Grain", "GrainJob", "Mill", "MillJobs"]

ACK_WAIT: Final = timedelta(seconds=1)
"""Of the queues `brief` and `single`."""
_SOON: Final = (timedelta(milliseconds=50),)


class Grain(Model):
    """A payload: what the handler does, one after another."""

    number: int
    seconds: float = 0
    """How long it takes."""
    blocks: bool = False
    """Whether it blocks the event loop meanwhile."""
    heeds: bool = False
    """Whether it ends as soon as the job is cancelled."""
    raises: int = 0
    """In how many of its tries, from the first on, it raises at its end."""


class Flour(Model):
    """A result: the number of the try."""

    tries: int


GrainJob = ActiveJob[Grain, Flour]


class GrindQueue(JobQueue[Grain, Flour]):
    """For load: enough attempts that the faults of a scenario do not use them up."""

    spec: ClassVar[JobSpec] = JobSpec(
        name="grind",
        payload=Grain,
        result=Flour,
        max_deliver=30,
        backoff=_SOON,
        ack_wait=timedelta(seconds=2),
    )


class BriefQueue(JobQueue[Grain, Flour]):
    """For single moments: a dead worker is noticed after a second."""

    spec: ClassVar[JobSpec] = JobSpec(
        name="brief", payload=Grain, result=Flour, max_deliver=5, backoff=_SOON, ack_wait=ACK_WAIT
    )


class SingleQueue(JobQueue[Grain, Flour]):
    """Tried once."""

    spec: ClassVar[JobSpec] = JobSpec(
        name="single", payload=Grain, result=Flour, max_deliver=1, backoff=_SOON, ack_wait=ACK_WAIT
    )


class MillJobs(Jobs):
    """The queues."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.grind: Final = GrindQueue(runtime)
        self.brief: Final = BriefQueue(runtime)
        self.single: Final = SingleQueue(runtime)

    def of(self, name: str) -> JobQueue[Grain, Flour]:
        """Return a queue by its name."""
        return {each.spec.name: each for each in (self.grind, self.brief, self.single)}[name]


class Mill(Service):
    """The service."""

    contract: ClassVar[Contract] = Contract(
        id="mill@v1", digest="m" * 43, generator="0", runtime_api=RUNTIME_API
    )

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.jobs: Final = MillJobs(runtime)
