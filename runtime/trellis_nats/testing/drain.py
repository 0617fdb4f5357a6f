"""Lets a service work until nothing is left, moving the clock over every wait."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import datetime, timedelta
from time import monotonic
from typing import Final, NamedTuple

from trellis_nats._nats.jetstream.streams import get_consumer_info
from trellis_nats.clock import describe_duration
from trellis_nats.events.groups.group import worked_groups
from trellis_nats.jobs.model.event import LifecycleEvent
from trellis_nats.jobs.model.states import EventType, JobState
from trellis_nats.jobs.pause import read_pause
from trellis_nats.jobs.queue_surface import QueueSurface
from trellis_nats.operations.host import OperationsHost
from trellis_nats.runtime import Runtime
from trellis_nats.testing.clock import TestClock
from trellis_nats.testing.job_history import JobHistory
from trellis_nats.testing.worked_jobs import DrainReport

__all__ = ["Drain", "NotDrained"]

_POLL_SECONDS: Final = 0.002
_PAUSES_SECONDS: Final = 0.1
"""Between two looks at the pauses of queues."""
_HANDLER_SECONDS: Final = 0.5
"""How long a drain with nothing left waits for handlers of operations, which may create jobs. One that is silent for so long waits itself."""
_NEARLY: Final = timedelta(milliseconds=100)
"""What is due so soon after the end of a drain is still worked: clocks differ a little."""
_LISTED_MAX: Final = 5


class NotDrained(AssertionError):
    """Work did not end: a handler does not return, a queue is paused, or jobs create jobs without end."""


class _Outlook(NamedTuple):
    busy: list[str]
    """What is being worked, or about to be."""
    waits: list[datetime]
    """When what waits for the clock is due."""
    held: set[str]
    """The queues of the jobs that are about to begin; empty while anything else is in progress."""


class Drain:
    """Drains one service, several times if need be."""

    def __init__(self, runtime: Runtime, clock: TestClock, history: JobHistory) -> None:
        self._runtime = runtime
        self._clock = clock
        self._history = history
        self._reported = 0
        """How many events of the history earlier drains have reported."""

    async def run(self, *, advance: timedelta | None, attempts_max: int, timeout: timedelta) -> DrainReport:
        """Work until nothing is left; or for as long as `advance`, by the clock. The real time that work takes is added.

        Raises:
            NotDrained: `timeout` passed, more than `attempts_max` attempts were made, or what is left is in paused queues.
        """
        ahead = self._clock.ahead

        def moved() -> timedelta:
            return self._clock.ahead - ahead

        def is_beyond(due: datetime) -> bool:
            return advance is not None and due - self._clock.now() > advance - moved() + _NEARLY

        attempts_before = await self._count_attempts()
        outlook: _Outlook | None = None
        look_at_pauses = monotonic() + _PAUSES_SECONDS
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                while (outlook := await self._look_until_settled()) is not None:
                    if not outlook.busy:
                        due = min(outlook.waits)
                        if is_beyond(due):
                            break
                        self._clock.advance(max(timedelta(0), due - self._clock.now()))
                    elif await self._count_attempts() - attempts_before > attempts_max:
                        raise NotDrained(self._endless(attempts_max))
                    elif monotonic() >= look_at_pauses:
                        await self._refuse_pauses(outlook.held)
                        look_at_pauses = monotonic() + _PAUSES_SECONDS
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            raise NotDrained(_unfinished(timeout, outlook)) from None
        if advance is not None:
            self._clock.advance(max(timedelta(0), advance - moved()))
        await self._runtime.connection.flush()  # what was published has arrived, for captured events
        return self._report(moved())

    async def _count_attempts(self) -> int:
        events = await self._history.read()
        return sum(event.event_type == EventType.STARTED for event in events)

    async def _look_until_settled(self) -> _Outlook | None:
        """Return what is left to do; None when nothing is, and no handler of an operation is about to create a job."""
        until = monotonic() + _HANDLER_SECONDS
        while True:
            # Before the look: during it a handler may create its job, and end.
            is_handling = self._is_handling_operations()
            outlook = await self._look()
            if outlook is not None or not is_handling or monotonic() >= until:
                return outlook
            await asyncio.sleep(_POLL_SECONDS)

    async def _look(self) -> _Outlook | None:
        """Return what is left to do; None when nothing is."""
        while True:
            events = await self._history.read()
            seen, waiting = self._history.sequence, self._waiting()
            jobs = [event for event in _newest(events) if self._is_open(event)]
            moving = [event for event in jobs if event.job_id not in waiting]
            busy = [_describe(event) for event in moving]
            waits = [waiting[event.job_id] for event in jobs if event.job_id in waiting]
            for group in worked_groups(self._runtime):
                info = await get_consumer_info(self._runtime.connection, group.stream, group.consumer_name)
                if info is None or not info.pending + info.ack_pending:
                    continue
                due = [
                    until for what, until in waiting.items() if what.startswith(f"event group {group.alias} ")
                ]
                waits += due
                has_room = info.pending and info.ack_pending < group.concurrency
                if has_room or len(due) < info.ack_pending:
                    busy.append(f"event group {group.alias}: {info.pending + info.ack_pending} events")
            if busy or waits:
                is_held = len(busy) == len(moving) and all(
                    event.effective_state != JobState.ACTIVE for event in moving
                )
                return _Outlook(busy, waits, {event.job_type for event in moving} if is_held else set())
            await self._history.read()
            if self._history.sequence == seen:  # else the handler of an event created a job meanwhile
                return None

    async def _refuse_pauses(self, queues: set[str]) -> None:
        """Raise if all of these queues are paused: none of their jobs begins."""
        jobs = self._runtime.binding.jobs
        if jobs is None or not queues:
            return
        texts: list[str] = []
        for queue in sorted(queues):
            pause = await read_pause(self._runtime.connection, jobs.namespace, queue)
            if pause is None:
                return
            texts.append(f"queue {queue} is {pause}")
        raise NotDrained(f"{'; '.join(texts)}. Its jobs begin after `resume()` of the queue")

    def _is_handling_operations(self) -> bool:
        return any(
            isinstance(surface, OperationsHost) and surface.is_handling for surface in self._runtime.surfaces
        )

    def _waiting(self) -> dict[str, datetime]:
        now = self._clock.now()
        return {what: due for what, due in self._clock.waiting.items() if due > now}

    def _is_open(self, event: LifecycleEvent) -> bool:
        return not event.is_terminal and event.job_type in {
            surface.spec.name
            for surface in self._runtime.surfaces
            if isinstance(surface, QueueSurface) and surface.has_handler()
        }

    def _endless(self, attempts_max: int) -> str:
        queues = Counter(
            event.job_type for event in self._history.events if event.event_type == EventType.STARTED
        )
        counts = ", ".join(f"{count} of queue {queue}" for queue, count in queues.most_common())
        return (
            f"more than {attempts_max} attempts in one drain, and jobs are left; attempts so far: {counts}. Does a handler "
            "always create another job? If so many are expected: drain(attempts_max=…)"
        )

    def _report(self, moved: timedelta) -> DrainReport:
        events = self._history.events
        histories: dict[str, list[LifecycleEvent]] = {}
        for event in events:
            histories.setdefault(event.job_id, []).append(event)
        fresh = {event.job_id for event in events[self._reported :]}
        self._reported = len(events)
        return DrainReport(
            (
                history
                for job_id, history in histories.items()
                if job_id in fresh or not history[-1].is_terminal
            ),
            self._history.writers,
            moved,
        )


def _newest(events: list[LifecycleEvent]) -> list[LifecycleEvent]:
    return [*{event.job_id: event for event in events}.values()]


def _describe(event: LifecycleEvent) -> str:
    return f"job {event.job_id} of queue {event.job_type}: {event.effective_state}, attempt {event.tries}"


def _unfinished(timeout: timedelta, outlook: _Outlook | None) -> str:
    busy = [] if outlook is None else outlook.busy
    shown = "; ".join(busy[:_LISTED_MAX]) + (
        f"; and {len(busy) - _LISTED_MAX} more" if len(busy) > _LISTED_MAX else ""
    )
    text = f"not drained within {describe_duration(timeout)} of real time. In progress: {shown or 'nothing'}."
    if outlook is not None and outlook.waits:
        text += (
            f" {len(outlook.waits)} more wait for the clock, which moves only when nothing is in progress: does a handler "
            "wait for the result of a job that is retried or delayed?"
        )
    return text
