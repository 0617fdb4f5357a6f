"""The operations that have not ended, as far as a process needs to know them to take one over. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic

from trellis_nats.operations.store import Stored

__all__ = ["OpenOperation", "OpenOperations"]


@dataclass(frozen=True, slots=True)
class OpenOperation:
    """An operation that has not ended."""

    id: str
    name: str
    runner: str | None
    revision: int
    seen_at: float
    """By this process' monotonic clock."""


class OpenOperations:
    """Those of one service. Operations that were left open on purpose are not among them."""

    def __init__(self) -> None:
        self._open: dict[str, OpenOperation] = {}

    def list(self) -> list[OpenOperation]:
        """Return them, oldest knowledge first."""
        return [*self._open.values()]

    @property
    def runners(self) -> set[str]:
        """The leases of the processes that run them."""
        return {each.runner for each in self._open.values() if each.runner is not None}

    def forget(self, operation_id: str) -> None:
        """Forget an operation whose record was removed."""
        self._open.pop(operation_id, None)

    def take(self, stored: Stored) -> OpenOperation | None:
        """Take a record as it is stored now, and return the operation if it is open."""
        record = stored.record
        execution = record.execution
        known = self._open.get(record.id)
        if known is not None and known.revision >= stored.revision:
            return known
        if record.has_ended or execution is None or execution.is_deferred:
            self._open.pop(record.id, None)
            return None
        taken = OpenOperation(
            record.id, record.snapshot.operation, execution.runner, stored.revision, monotonic()
        )
        self._open[record.id] = taken
        return taken
