"""The job that a handler works on, so that the jobs it creates name it as their parent."""

from __future__ import annotations

from contextvars import ContextVar
from typing import NamedTuple

from pydantic import JsonValue

from trellis_nats.jobs.model.event import LifecycleEvent

__all__ = ["Origin", "current_origin", "origin_of", "work_on"]


class Origin(NamedTuple):
    """The job that a handler works on, and the first one of its family."""

    job_id: str
    root_id: str

    def trigger(self) -> JsonValue:
        """Write why a child of this job exists (reference, 6.4)."""
        return {"kind": "parentJob", "parentJobId": self.job_id}

    def lineage(self) -> JsonValue:
        """Write where a child of this job comes from."""
        return {"parentJobId": self.job_id, "rootJobId": self.root_id}


def origin_of(work: LifecycleEvent) -> Origin:
    """Return the origin that the children of a job have."""
    root = work.lineage.get("rootJobId") if isinstance(work.lineage, dict) else None
    return Origin(work.job_id, root if isinstance(root, str) else work.job_id)


_current: ContextVar[Origin | None] = ContextVar("trellis_job", default=None)


def current_origin() -> Origin | None:
    """Return the job whose handler is running, if one is."""
    return _current.get()


def work_on(origin: Origin) -> None:
    """Mark the job that a handler works on, from now on in this task."""
    _current.set(origin)
