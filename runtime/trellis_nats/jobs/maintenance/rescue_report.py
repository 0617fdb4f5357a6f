"""The counts of one search for lost jobs."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["RescueReport"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RescueReport:
    """The counts of one search for lost jobs. Add two reports with `+`."""

    examined: int = 0
    """Jobs that have not ended and are old enough to be checked."""
    waiting: int = 0
    """Of these, jobs that have a work message: a worker holds it or will receive it."""
    running: int = 0
    """Jobs without a work message whose worker answers that it works on them."""
    enqueued: int = 0
    """Lost jobs that got a new work message."""
    undecided: int = 0
    """Jobs that must be checked again: the work stream could not be read, an event was unreadable, or the stream
    dropped the new message as a duplicate."""

    def __add__(self, other: RescueReport) -> RescueReport:
        return RescueReport(
            examined=self.examined + other.examined,
            waiting=self.waiting + other.waiting,
            running=self.running + other.running,
            enqueued=self.enqueued + other.enqueued,
            undecided=self.undecided + other.undecided,
        )
