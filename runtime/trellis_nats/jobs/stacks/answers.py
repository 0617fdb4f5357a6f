"""Answers from the heartbeat thread what the handlers of this process do."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final, Protocol

from trellis_nats._support.loop_lag import LoopLag
from trellis_nats.clock import now
from trellis_nats.jobs.stacks.capture import capture_stack
from trellis_nats.jobs.stacks.job_stack import JobStack

__all__ = ["RunningAttempt", "StackAnswers"]

_JOB_ID_MAX: Final = 64


class RunningAttempt(Protocol):
    """An attempt of a job that runs in this process."""

    @property
    def tries(self) -> int:
        """Its number, counted from 1."""
        ...

    @property
    def handler(self) -> asyncio.Task[Any] | None:
        """The task that runs the handler; None while none does."""
        ...


class StackAnswers:
    """Answers requests about the jobs of one queue that run here. Other processes of the queue do not answer."""

    def __init__(self, attempts: Mapping[str, RunningAttempt], instance_id: str, loop_lag: LoopLag) -> None:
        """Prepare; call it in the thread of the event loop.

        Args:
            attempts: the attempts that run now, by job id.
            instance_id: the id of this process.
            loop_lag: how late the event loop is.
        """
        self._attempts = attempts
        self._instance_id = instance_id
        self._loop_lag = loop_lag
        self._loop_thread = threading.get_ident()

    def answer(self, request: bytes) -> bytes | None:
        """Answer a request, which is the id of a job. None: the job does not run here. Callable from any thread."""
        job_id = request[: _JOB_ID_MAX + 1].decode(errors="replace")
        attempt = self._attempts.get(job_id)
        if attempt is None:
            return None
        task = attempt.handler
        name = "" if task is None else task.get_name()
        place, frames, is_cut = capture_stack(task, name, loop_thread=self._loop_thread)
        return JobStack(
            job_id=job_id,
            instance_id=self._instance_id,
            attempt=attempt.tries,
            at=now(),
            place=place,
            frames=frames,
            is_cut=is_cut,
            loop_lag=timedelta(seconds=self._loop_lag.read()),
        ).encode()
