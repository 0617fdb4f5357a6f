"""Two versions of a contract whose payloads have closed schemas: neither reads what the other writes."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import ClassVar, Final

from pydantic import ConfigDict
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

__all__ = ["NEW", "OLD", "NewParcel", "NewService", "OldParcel", "OldService"]

OLD: Final = Contract(id="parcels@v1", digest="1" * 43, generator="0.1.0", runtime_api=RUNTIME_API)
NEW: Final = replace(OLD, digest="2" * 43)
_KEY: Final = KeySpec(template=("/number",))


class OldParcel(Model):
    """A payload of the old version."""

    model_config = ConfigDict(extra="forbid")

    number: int


class NewParcel(Model):
    """A payload of the new version."""

    model_config = ConfigDict(extra="forbid")

    number: int
    grams: int


class _OldPack(JobQueue[OldParcel, None]):
    spec: ClassVar[JobSpec] = JobSpec(name="pack", payload=OldParcel, ack_wait=timedelta(seconds=2))


class _OldShip(JobQueue[OldParcel, None]):
    spec: ClassVar[JobSpec] = JobSpec(name="ship", payload=OldParcel, key=_KEY)


class _NewPack(JobQueue[NewParcel, None]):
    spec: ClassVar[JobSpec] = JobSpec(name="pack", payload=NewParcel, ack_wait=timedelta(seconds=2))


class _NewShip(JobQueue[NewParcel, None]):
    spec: ClassVar[JobSpec] = JobSpec(name="ship", payload=NewParcel, key=_KEY)


class _OldJobs(Jobs):
    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.pack: Final = _OldPack(runtime)
        self.ship: Final = _OldShip(runtime)


class _NewJobs(Jobs):
    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.pack: Final = _NewPack(runtime)
        self.ship: Final = _NewShip(runtime)


class OldService(Service):
    """The old version."""

    contract: ClassVar[Contract] = OLD

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.runtime: Final = runtime
        self.jobs: Final = _OldJobs(runtime)


class NewService(Service):
    """The new version."""

    contract: ClassVar[Contract] = NEW

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.runtime: Final = runtime
        self.jobs: Final = _NewJobs(runtime)


OldJob = ActiveJob[OldParcel, None]
NewJob = ActiveJob[NewParcel, None]
