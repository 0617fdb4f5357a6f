"""Notices handlers that wait for jobs of their own queue while no handler is left to run those."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager

from trellis_nats.jobs.model.lineage import current_origin

__all__ = ["NestedWaits"]


class NestedWaits:
    """The handlers of one queue in this process that wait for another job of the queue."""

    def __init__(self) -> None:
        self.concurrency = 0
        """How many handlers of the queue run at a time in this process; 0 while none does."""
        self.running: set[str] = set()
        """The ids of the jobs whose handlers run in this process."""
        self._waiting: Counter[str] = Counter()

    @contextmanager
    def waiting(self) -> Generator[bool]:
        """Count the running handler, if it is one of this queue, as waiting. Yield whether it is one."""
        origin = current_origin()
        if origin is None or origin.job_id not in self.running:
            yield False
            return
        self._waiting[origin.job_id] += 1
        try:
            yield True
        finally:
            self._waiting[origin.job_id] -= 1
            if not self._waiting[origin.job_id]:
                del self._waiting[origin.job_id]

    @property
    def are_all_waiting(self) -> bool:
        """Whether every handler that may run at a time in this process waits for a job of the queue."""
        return 0 < self.concurrency <= len(self._waiting)
