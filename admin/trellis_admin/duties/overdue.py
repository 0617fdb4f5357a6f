"""Decides whether a job whose deadline has passed expires. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import Enum, auto

from trellis_nats.jobs.model.states import JobState

from trellis_admin.duties.job_life import JobLife

__all__ = ["OverdueDecision", "judge_overdue"]


class OverdueDecision(Enum):
    """What to do with a job that may be overdue."""

    ENDED = auto()
    NOT_DUE = auto()
    """It has no deadline, or its deadline has not passed for long enough: its workers come first."""
    EXPIRE = auto()
    ASK_WORKER = auto()
    """A process has begun it. While that process lives, the job goes on."""


def judge_overdue(life: JobLife, *, at: datetime, grace: timedelta) -> OverdueDecision:
    """Decide about a job.

    Args:
        life: the job as it stands now.
        at: the server's time.
        grace: how long after a deadline the workers of the queue may still write `expired` themselves.
    """
    if life.has_ended:
        return OverdueDecision.ENDED
    if life.deadline is None or at - life.deadline < grace:
        return OverdueDecision.NOT_DUE
    if life.state is JobState.ACTIVE and life.started_by is not None:
        return OverdueDecision.ASK_WORKER
    return OverdueDecision.EXPIRE
