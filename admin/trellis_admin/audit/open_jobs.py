"""Finds the jobs that wait and those that are dead, from the subjects of their events. Pure.

Which events count, and which one ended a job, is the runtime's own rule (`jobs.model.lifecycle`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from trellis_nats.jobs.model.lifecycle import is_counted
from trellis_nats.jobs.model.states import TERMINAL_EVENTS, EventType

__all__ = ["OPENING", "SCANNED", "AuditedJob", "OpenJobs", "Place", "parse_subject"]

OPENING: Final = (EventType.CREATED, EventType.RETRIED)
"""The events that open a job, and hold its payload."""
SCANNED: Final = (*OPENING, *sorted(TERMINAL_EVENTS))
"""The events that open or end a job."""
_MAY_GO_ON: Final = frozenset({EventType.FAILED, EventType.EXPIRED, EventType.DEAD})
"""The endings after which another event may count. A job that ended otherwise is forgotten."""


class Place(NamedTuple):
    """What the subject of an event says."""

    queue: str
    job_id: str
    kind: str


class AuditedJob(NamedTuple):
    """A job whose payload a worker may still read."""

    sequence: int
    """Where the event with its payload is; 0 if the stream does not have it any more."""
    is_dead: bool
    """Whether it is dead, and may be retried by an operator; else it has not ended."""
    created: int = 0
    """Where the event is that created the job, if another one has its payload."""


def parse_subject(subject: str) -> Place:
    """Split the subject of an event: `trellis.jobs.<service>.<queue>.<job>.<event>`."""
    *_, queue, job_id, kind = subject.split(".")
    return Place(queue, job_id, kind)


@dataclass(slots=True)
class _Queue:
    """The jobs of one queue: for each, the sequence of the event that has its payload."""

    open: dict[str, int] = field(default_factory=dict[str, int])
    ended: dict[str, tuple[str, int]] = field(default_factory=dict[str, tuple[str, int]])
    """With the type of the event that ended it: those that an event may open again."""


class OpenJobs:
    """Follows the jobs of a service through the events of the stream, oldest first.

    It holds those that are open at a time, and those that failed, expired or are dead: about 200 bytes for each.
    """

    def __init__(self, *, reopened: Iterable[str] = (), results: int = 0) -> None:
        """Prepare.

        Args:
            reopened: the ids of jobs with an event that may follow an ending: `retried` or `dead`.
            results: how many places of results to remember for each queue, the newest ones.
        """
        self._reopened = frozenset(reopened)
        self._results = results
        self._queues: dict[str, _Queue] = {}
        self._created: dict[tuple[str, str], int] = {}
        self._completed: dict[str, deque[int]] = {}

    def add(self, place: Place, sequence: int) -> None:
        """Add the next event, which is one of `SCANNED`."""
        name, job_id, kind = place
        queue = self._queues.get(name)
        if queue is None:
            queue = self._queues[name] = _Queue()
        payload_at = queue.open.get(job_id, 0)
        ended_by, ended_at = (None, 0) if payload_at else queue.ended.get(job_id, (None, 0))
        if not is_counted(kind, ended_by):
            return
        if kind in OPENING:
            queue.open[job_id] = sequence
            if kind == EventType.CREATED and job_id in self._reopened:
                self._created[name, job_id] = sequence
            if ended_by is not None:
                del queue.ended[job_id]
            return
        queue.open.pop(job_id, None)
        if kind in _MAY_GO_ON or job_id in self._reopened:
            queue.ended[job_id] = (kind, payload_at or ended_at)
        elif ended_by is not None:
            del queue.ended[job_id]
        if kind == EventType.COMPLETED and self._results:
            self._completed.setdefault(name, deque(maxlen=self._results)).append(sequence)

    def audited(self) -> Iterator[tuple[str, AuditedJob]]:
        """Yield each job that waits or is dead, with its queue. Each is forgotten."""
        for name, queue in self._queues.items():
            while queue.open:
                job_id, sequence = queue.open.popitem()
                yield name, AuditedJob(sequence, is_dead=False, created=self._origin(name, job_id, sequence))
            while queue.ended:
                job_id, (ended_by, sequence) = queue.ended.popitem()
                if ended_by == EventType.DEAD:
                    created = self._origin(name, job_id, sequence)
                    yield name, AuditedJob(sequence, is_dead=True, created=created)

    def _origin(self, queue: str, job_id: str, sequence: int) -> int:
        created = self._created.get((queue, job_id), 0)
        return 0 if created == sequence else created

    def results(self) -> list[int]:
        """Return where the newest results are, in order."""
        return sorted(sequence for places in self._completed.values() for sequence in places)
