"""What an operator can do with jobs, as the pages name it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from trellis_nats.jobs.model.states import JobState

__all__ = [
    "ACTIONS",
    "CANCEL",
    "DISMISS",
    "EDIT",
    "RECREATE",
    "REPLAY",
    "RETRY",
    "JobAction",
    "offer_actions",
]


@dataclass(frozen=True, slots=True)
class JobAction:
    """An action on jobs."""

    name: str
    """Its name in addresses and in the audit log."""
    verb: str
    """On buttons."""
    done: str
    """In sentences: "2,914 jobs replayed"."""
    icon: str
    key: str
    """The key that opens its question."""
    states: frozenset[JobState]
    """The states of the jobs that it takes."""
    needs_reason: bool = True


RETRY: Final = JobAction(
    "retry", "Retry now", "retried", "s-retry", "r", frozenset({JobState.FAILED}), needs_reason=False
)
REPLAY: Final = JobAction("replay", "Replay", "replayed", "s-retry", "r", frozenset({JobState.DEAD}))
CANCEL: Final = JobAction(
    "cancel",
    "Cancel",
    "cancelled",
    "s-cancelled",
    "c",
    frozenset({JobState.PENDING, JobState.ACTIVE, JobState.RETRY}),
)
DISMISS: Final = JobAction("dismiss", "Dismiss", "dismissed", "s-dismissed", "x", frozenset({JobState.DEAD}))
EDIT: Final = JobAction("edit", "Edit and replay", "replayed", "edit", "e", frozenset({JobState.DEAD}))
RECREATE: Final = JobAction(
    "recreate", "Create again", "created again", "s-retry", "r", frozenset({JobState.STALE})
)
ACTIONS: Final = {action.name: action for action in (RETRY, REPLAY, CANCEL, DISMISS)}
"""What can be done with many jobs."""


def offer_actions(states: Iterable[JobState]) -> list[JobAction]:
    """Return what can be done with jobs in these states, the usual one first."""
    found = frozenset(states)
    return [action for action in ACTIONS.values() if action.states & found]
