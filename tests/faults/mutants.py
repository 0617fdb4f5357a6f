"""Faults of the runtime itself. Each one breaks a promise, and a scenario must find that out: they test the tests.

They reach into private names; where one no longer fits the runtime, it raises, and its test fails.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any, Final

import pytest
from trellis_nats._nats.jetstream import progress_thread
from trellis_nats._nats.jetstream.delivery import Delivery
from trellis_nats._nats.jetstream.pull import Pull
from trellis_nats.clock import now
from trellis_nats.jobs.model import outcome, triage
from trellis_nats.jobs.model.states import JobState
from trellis_nats.jobs.store import event_log
from trellis_nats.jobs.store.liveness import Liveness
from trellis_nats.jobs.work import executor
from trellis_nats.jobs.work.attempt import Attempt
from trellis_nats.jobs.work.worker import Worker

__all__ = ["MUTANTS"]

# Any: a mutation passes its arguments on, and so survives changes of the runtime.


def _everywhere(patch: pytest.MonkeyPatch, original: object, mutated: object) -> None:
    """Put something in the place of a function or class, under every name that the runtime has for it."""
    for name, module in list(sys.modules.items()):
        if name.startswith("trellis_nats"):
            for attribute, value in list(vars(module).items()):
                if value is original:
                    patch.setattr(module, attribute, mutated)


def ack_before_the_outcome(patch: pytest.MonkeyPatch) -> None:
    """Acknowledge the work message as soon as the handler begins."""
    invoke: Any = vars(executor)["invoke_handler"]

    async def mutated(registration: Any, job: Any, *others: Any, **more: Any) -> Any:
        await job._item.message.ack_confirmed()
        return await invoke(registration, job, *others, **more)

    patch.setattr(executor, "invoke_handler", mutated)


def no_terminal_gate(patch: pytest.MonkeyPatch) -> None:
    """Run finished jobs again."""
    decide = triage.triage

    def mutated(work: Any, newest: Any, **others: Any) -> Any:
        decided = decide(work, newest, **others)
        finished = isinstance(decided, triage.Finished)
        return triage.Start(JobState.PENDING, newest.tries + 1) if finished else decided

    _everywhere(patch, decide, mutated)


def no_fence(patch: pytest.MonkeyPatch) -> None:
    """Write events without a condition."""
    for name in ("begin_publish", "publish_acked"):
        publish: Any = vars(event_log)[name]

        def mutated(*given: Any, expected_last: object, publish: Any = publish, **others: Any) -> Any:
            del expected_last
            return publish(*given, **others)

        patch.setattr(event_log, name, mutated)


def no_heartbeats(patch: pytest.MonkeyPatch) -> None:
    """Send no progress acks."""

    def mutated(*_: object) -> bool:
        return True

    patch.setattr(progress_thread, "_send_progress", mutated)


def take_over_without_asking(patch: pytest.MonkeyPatch) -> None:
    """Take every worker for dead whose job is redelivered."""

    async def mutated(*_: object) -> bool:
        await asyncio.sleep(0)
        return False

    patch.setattr(Liveness, "is_held", mutated)


def claimed_once_begun(patch: pytest.MonkeyPatch) -> None:
    """Claim a job only when its `started` is known to be stored."""
    run: Any = vars(executor.Executor)["_run"]

    async def begun(*_: object, **__: object) -> None:
        """It has begun already."""

    async def mutated(self: Any, item: Any, payload: Any, attempt: Any, start: Any) -> Any:
        started = item.identity.started(
            previous=start.previous,
            tries=start.tries,
            instance_id=self._liveness.instance_id,
            at=now(),
            keyed=item.key_fields,
        )
        await attempt.begin(started, grace_over=self._grace_over)
        attempt.begin = begun
        return await run(self, item, payload, attempt, start)

    patch.setattr(executor.Executor, "_run", mutated)


def release_keeps_the_try(patch: pytest.MonkeyPatch) -> None:
    """Do not give back the try of a job that a stopping worker releases."""
    settle = outcome.settle

    def mutated(ending: outcome.Ending, *, tries: int, **others: Any) -> outcome.Settlement:
        settlement = settle(ending, tries=tries, **others)
        return settlement._replace(tries=tries) if isinstance(ending, outcome.Released) else settlement

    _everywhere(patch, settle, mutated)


def nothing_given_back(patch: pytest.MonkeyPatch) -> None:
    """Drop messages where they should be given back."""

    async def mutated(*_: object) -> bool:
        await asyncio.sleep(0)
        return True

    patch.setattr(Delivery, "nak", mutated)


def cancellation_never_looked_at(patch: pytest.MonkeyPatch) -> None:
    """Do not check whether a received cancellation is stored."""

    async def mutated(_: Attempt) -> bool:
        await asyncio.sleep(0)
        return True

    patch.setattr(Attempt, "refresh", mutated)


def twice_the_concurrency(patch: pytest.MonkeyPatch) -> None:
    """Run twice as many handlers at a time."""
    initialise = Worker.__init__

    def mutated(self: Worker, *given: Any, concurrency: int, **others: Any) -> None:
        initialise(self, *given, concurrency=2 * concurrency, **others)

    patch.setattr(Worker, "__init__", mutated)


def poison_tried_again(patch: pytest.MonkeyPatch) -> None:
    """Try a job again whose payload does not match its schema."""
    patch.setattr(executor, "Failed", outcome.Raised)


def one_try_too_many(patch: pytest.MonkeyPatch) -> None:
    """Give each job a try more than it has."""
    for rule in (outcome.settle, triage.triage):
        apply: Any = rule

        def mutated(*given: Any, max_attempts: int, apply: Any = apply, **others: Any) -> Any:
            return apply(*given, max_attempts=max_attempts + 1, **others)

        _everywhere(patch, apply, mutated)


def create_without_waiting(patch: pytest.MonkeyPatch) -> None:
    """Return from `create` before the server has said that the job is stored."""
    create = event_log.EventLog.create
    under_way: set[asyncio.Task[object]] = set()

    def ended(task: asyncio.Task[object]) -> None:
        under_way.discard(task)
        if not task.cancelled():
            task.exception()  # it is a mutant: its errors are not reported

    async def mutated(self: event_log.EventLog, event: Any) -> None:
        task = asyncio.create_task(create(self, event))
        under_way.add(task)
        task.add_done_callback(ended)
        await asyncio.sleep(0)

    patch.setattr(event_log.EventLog, "create", mutated)


def lost_requests_ignored(patch: pytest.MonkeyPatch) -> None:
    """Ask for work once, and never again when the server has forgotten the request."""
    begin: Any = vars(Pull)["_begin"]
    begun: set[int] = set()

    def mutated(self: Pull) -> None:
        if id(self) not in begun:
            begun.add(id(self))
            begin(self)

    patch.setattr(Pull, "_begin", mutated)


MUTANTS: Final[dict[str, Callable[[pytest.MonkeyPatch], None]]] = {
    each.__name__: each
    for each in (
        ack_before_the_outcome,
        no_terminal_gate,
        no_fence,
        no_heartbeats,
        take_over_without_asking,
        claimed_once_begun,
        release_keeps_the_try,
        nothing_given_back,
        cancellation_never_looked_at,
        twice_the_concurrency,
        poison_tried_again,
        one_try_too_many,
        create_without_waiting,
        lost_requests_ignored,
    )
}
