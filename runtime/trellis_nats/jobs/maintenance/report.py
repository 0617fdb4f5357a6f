"""What the reconciler found."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ReconcileReport"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileReport:
    """Counts of one reconciliation. Add two with `+`."""

    examined: int = 0
    """Jobs that had not ended and were old enough to be looked at."""
    waiting: int = 0
    """Of these, jobs with a work message: a worker will have them, or has them now."""
    running: int = 0
    """Jobs without a work message whose worker answers that it works on them."""
    enqueued: int = 0
    """Lost jobs that were given a work message again."""
    undecided: int = 0
    """Jobs that must be looked at again: the work stream could not be listed, or refused a repeated message."""

    def __add__(self, other: ReconcileReport) -> ReconcileReport:
        return ReconcileReport(
            examined=self.examined + other.examined,
            waiting=self.waiting + other.waiting,
            running=self.running + other.running,
            enqueued=self.enqueued + other.enqueued,
            undecided=self.undecided + other.undecided,
        )
