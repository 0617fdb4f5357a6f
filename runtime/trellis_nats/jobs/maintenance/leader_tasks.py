"""Repeats tasks in one process at a time: the one that holds a lease."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats.errors import PermissionDenied, TransportError
from trellis_nats.jobs.maintenance.leader import Leadership

__all__ = ["LeaderTask", "log_crash", "run_leader_tasks"]

_log = logging.getLogger(__name__)

_PROBE_INTERVAL: Final = timedelta(seconds=5)
"""The pause between two probes while NATS does not answer."""


@dataclass(frozen=True, slots=True)
class LeaderTask:
    """What the leader repeats."""

    name: str
    interval: timedelta
    probe: Callable[[], Awaitable[None]]
    """Raises `PermissionDenied` when the account may not run the task."""
    run: Callable[[Callable[[], bool]], Awaitable[None]]
    """Runs the task once, for as long as the function that it gets returns True."""
    is_extra: bool = False
    """Whether it is not probed, and alone does not make a process the leader."""


async def run_leader_tasks(leadership: Leadership, tasks: Sequence[LeaderTask]) -> None:
    """Run the tasks that the account permits, whenever this process is the leader, until cancelled."""
    allowed = [task for task in tasks if task.is_extra or await _is_allowed(task)]
    if all(task.is_extra for task in allowed):
        return
    leading = asyncio.create_task(leadership.run(), name="leader lease")
    repeating = asyncio.create_task(_repeat_all(leadership, allowed), name="leader tasks")
    try:
        done, _ = await asyncio.wait({leading, repeating}, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    except PermissionDenied as denial:
        fields = log_fields(LogEvent.MAINTENANCE_OFF)
        _log.warning("this instance cannot become the leader: %s", denial, extra=fields)
    finally:
        leading.cancel()
        repeating.cancel()
        await asyncio.wait({leading, repeating})


async def _repeat_all(leadership: Leadership, tasks: Sequence[LeaderTask]) -> None:
    await asyncio.gather(*(_repeat(leadership, task) for task in tasks))


async def _repeat(leadership: Leadership, task: LeaderTask) -> None:
    while True:
        await leadership.wait_until_held()
        try:
            await task.run(lambda: leadership.is_held)
        except PermissionDenied as denial:
            fields = log_fields(LogEvent.MAINTENANCE_OFF)
            _log.warning("%s is off in this process: %s", task.name, denial, extra=fields)
            return
        except TransportError as error:
            fields = log_fields(LogEvent.MAINTENANCE_FAILED)
            _log.warning("%s failed, next run in %s: %s", task.name, task.interval, error, extra=fields)
        await asyncio.sleep(task.interval.total_seconds())


async def _is_allowed(task: LeaderTask) -> bool:
    while True:
        try:
            await task.probe()
        except PermissionDenied as denial:
            fields = log_fields(LogEvent.MAINTENANCE_OFF)
            _log.info("%s is off in this process: %s", task.name, denial, extra=fields)
            return False
        except TransportError as error:
            fields = log_fields(LogEvent.MAINTENANCE_FAILED)
            _log.debug("%s cannot start yet: %s", task.name, error, extra=fields)
            await asyncio.sleep(_PROBE_INTERVAL.total_seconds())
        else:
            return True


def log_crash(task: asyncio.Task[None]) -> None:
    """Log the exception of a task that ended with one."""
    if not task.cancelled() and (error := task.exception()) is not None:
        fields = log_fields(LogEvent.INTERNAL_ERROR)
        _log.error("task %s ended in an internal error", task.get_name(), exc_info=error, extra=fields)
