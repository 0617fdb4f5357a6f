"""What the errors of actions say. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from trellis_nats.clock import timestamp
from trellis_nats.errors import ActionRefused
from trellis_nats.errors.job import RefusedAction
from trellis_nats.jobs.model.event import StoredEvent
from trellis_nats.jobs.model.states import EventType, JobState

__all__ = ["Action", "describe_age", "refuse"]


class Action(StrEnum):
    """What is done to a job."""

    CANCEL = "cancel"
    RETRY = "retry"
    REPLAY = "replay"
    DISMISS = "dismiss"
    RECREATE = "recreate"


_DONE: Final = {
    Action.CANCEL: "cancelled",
    Action.RETRY: "retried",
    Action.REPLAY: "replayed",
    Action.DISMISS: "dismissed",
    Action.RECREATE: "created again",
}
_HAPPENED: Final[dict[str, str]] = {
    EventType.CREATED: "it had been created",
    EventType.RETRIED: "it had been sent again",
    EventType.STARTED: "an attempt had begun",
    EventType.RETRY: "an attempt had failed",
    EventType.COMPLETED: "it had completed",
    EventType.FAILED: "it had failed",
    EventType.CANCELLED: "it had been cancelled",
    EventType.EXPIRED: "it had expired",
    EventType.SKIPPED: "a newer job of its key had replaced it",
    EventType.STALE: "its worker had died, and another job had taken its slot of its key",
    EventType.DEAD: "its last attempt had failed",
    EventType.DISMISSED: "it had been dismissed",
}
_RECREATE: Final = "it does not run again: create a new job with its payload, with `trellis jobs recreate` or `ref.recreate()`"
_REMEDIES: Final = {
    (Action.RETRY, JobState.STALE): _RECREATE,
    (Action.REPLAY, JobState.STALE): _RECREATE,
    (Action.RECREATE, JobState.DEAD): "replay it",
    (Action.RECREATE, JobState.FAILED): "retry it",
    (Action.RETRY, JobState.DEAD): "replay it",
    (Action.REPLAY, JobState.FAILED): "retry it",
    (Action.DISMISS, JobState.FAILED): "other runtimes do not dismiss failed jobs, which need nothing more",
}

_UNITS: Final = (
    (timedelta(days=2), timedelta(days=1), "days"),
    (timedelta(hours=2), timedelta(hours=1), "h"),
    (timedelta(minutes=2), timedelta(minutes=1), "min"),
    (timedelta(seconds=10), timedelta(seconds=1), "s"),
)


def describe_age(age: timedelta) -> str:
    """Return a duration as people say it: `0.2 s`, `45 s`, `12 min`, `3 h`, `4 days`."""
    for least, unit, name in _UNITS:
        if age >= least:
            return f"{age // unit} {name}"
    return f"{max(age, timedelta(0)).total_seconds():.1f} s"


def refuse(
    action: Action,
    decided: StoredEvent,
    state: JobState,
    *,
    why: RefusedAction,
    at: datetime,
    allowed: Iterable[JobState] = (),
    detail: str = "",
) -> ActionRefused:
    """Build the error of an action that a job does not allow.

    Args:
        action: what was asked for.
        decided: the event that made the state of the job.
        state: that state.
        why: the kind of the refusal.
        at: the current time.
        allowed: the states in which the action is possible.
        detail: more than what happened to the job; by default what it allows.
    """
    event, done = decided.event, _DONE[action]
    happened_at = decided.stored_at or event.at
    happened = _HAPPENED.get(event.event_type, f"it had become {state}")
    if why == "changed":
        detail = detail or "that was after it was looked at"
    elif not detail:
        only = f"a job in state {state} cannot be {done}, only one in state {' or '.join(allowed)}"
        detail = _REMEDIES.get((action, state), only)
    said = f"job {event.job_id} was not {done}: {happened} {describe_age(at - happened_at)} earlier"
    return ActionRefused(
        f"{said} ({timestamp(happened_at)}); {detail}",
        job_id=event.job_id,
        action=action.value,
        why=why,
        state=state.value,
        event=event.event_type,
        sequence=decided.sequence,
        at=happened_at,
    )
