"""Works one queue in this process: as many handlers at a time as the queue's concurrency allows."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from contextvars import copy_context
from datetime import timedelta
from typing import Any, Final

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.consumer_info import ConsumerInfo
from trellis_nats._nats.jetstream.progress_thread import Hold, ProgressThread
from trellis_nats._nats.jetstream.pull import Delivery, Pull, PullState
from trellis_nats._nats.subscriptions import Subscription
from trellis_nats._nats.wire.message import Message
from trellis_nats._support.capacity import Capacity, Permit
from trellis_nats._support.grace_period import GracePeriod
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats._support.log_throttle import LogThrottle
from trellis_nats.binding import JobsBinding, QueueBinding
from trellis_nats.contract import Contract
from trellis_nats.errors import (
    MalformedJobEvent,
    MalformedKeyRecord,
    PayloadTooLarge,
    PermissionDenied,
    TransportError,
)
from trellis_nats.health.consumer_health import ConsumerHealth
from trellis_nats.health.service_health import Health
from trellis_nats.jobs.delay.due_pull import DuePull
from trellis_nats.jobs.delay.parking import Parking
from trellis_nats.jobs.model.job_streams import work_consumer
from trellis_nats.jobs.model.queue_pause import QueuePause
from trellis_nats.jobs.model.subjects import JobSubjects
from trellis_nats.jobs.pause.intake import Intake
from trellis_nats.jobs.pause.pause_watch import PauseWatch
from trellis_nats.jobs.work.attempt import Attempt
from trellis_nats.jobs.work.attempt_counts import WorkerCounts
from trellis_nats.jobs.work.executor import Executor
from trellis_nats.jobs.work.redelivery import RedeliveryPolicy, postponed_delay
from trellis_nats.jobs.work.shutdown import Shutdown
from trellis_nats.jobs.work.work_message import BodyMissing
from trellis_nats.provision import compare_consumer, log_oddities, require_consumer
from trellis_nats.provision.compare import consumer_differences

__all__ = ["Worker"]

_log = logging.getLogger(__name__)

_INFRASTRUCTURE_DELAY: Final = timedelta(seconds=1)
"""The redelivery delay of a message whose job could not begin because NATS failed."""
_HEARTBEATS_PER_ACK_WAIT: Final = 3
"""Two may be lost before the server gives a job to another worker (faults.md, R3)."""
_CANCEL_STORED_WITHIN: Final = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0)
"""Seconds between reads after a cancellation was received: it arrives before it is stored."""
_CANCELLED: Final = timedelta(seconds=1)
"""How long `release` waits for tasks that it cancelled."""
_STORING: Final = timedelta(seconds=10)
"""How long the outcomes of released jobs may take to be stored after the grace period."""
_RELEASING: Final = timedelta(seconds=2)
"""How long the release of the last jobs may take."""


class Worker:
    """Pulls the messages of one queue and executes them.

    In memory are at most: as many running handlers as the concurrency allows, as many outcomes that are being stored, as
    many due jobs that were parked, 256 jobs that are being parked, and 256 messages that wait for a slot of their key.
    """

    def __init__(
        self,
        connection: Connection,
        binding: QueueBinding,
        executor: Executor[Any, Any, Any],  # Any: a worker never looks at a payload
        heartbeats: ProgressThread,
        health: Health,
        parking: Parking,
        *,
        find_write_problem: Callable[[], Awaitable[str | None]],
        concurrency: int,
        jobs: JobsBinding,
        shutdown: Shutdown,
        intake: Intake,
        counts: WorkerCounts,
        on_pause_change: Callable[[str], None],
    ) -> None:
        """Prepare; nothing is pulled before `start`.

        Args:
            connection: the service's connection.
            binding: the queue's names on the server.
            executor: works one message.
            heartbeats: keeps messages from being redelivered while their jobs run.
            health: shows whether the queue is worked.
            parking: where the queue's jobs wait for long.
            find_write_problem: returns why what the worker writes cannot be stored; None when it can.
            concurrency: how many handlers may run at a time.
            jobs: names the stream with the queue's work messages, and the bucket with the record that pauses it.
            shutdown: the steps of the stop, which `stop` and `release` take and the executor reads.
            intake: whether jobs may begin, which the worker decides and the executor reads.
            counts: the metrics of the worker.
            on_pause_change: called with the queue's name after the worker obeyed a pause, or its end.
        """
        self._connection, self._binding = connection, binding
        self._executor, self._server_clock = executor, parking.server_clock
        self._heartbeats, self._health = heartbeats, health
        self._stream, self._concurrency = jobs.work_stream, concurrency
        self._intake, self._counts, self._on_obeyed = intake, counts, on_pause_change
        self._shutdown = shutdown
        self._stopping = shutdown.stopping
        self._subjects, self._task_name = JobSubjects(binding.publish_prefix), f"work {binding.queue_type}"
        self._log_throttle = LogThrottle(_log)
        self._running: set[asyncio.Task[None]] = set()
        # Made once, so that each message in memory needs two objects less.
        self._on_task_done = self._forget_task
        self._context = copy_context()
        self._capacity = Capacity(concurrency, self._request_more)
        self._cancellation_checks: set[asyncio.Task[None]] = set()
        self._redelivery = RedeliveryPolicy(binding.ack_wait)
        self._heartbeat = binding.ack_wait / _HEARTBEATS_PER_ACK_WAIT
        self._holds: set[Hold] = set()
        self._cancellations: Subscription | None = None
        self._unwatch: Callable[[], None] | None = None
        self._consumer_health = self._new_consumer_health(find_write_problem)
        self._pull = self._new_pull()
        self._due = self._new_due_pull(parking)
        self._pause_watch = PauseWatch(
            connection, bucket=jobs.keys_bucket, queue=binding.queue_type, on_change=self._on_pause_change
        )

    def _new_pull(self) -> Pull:
        return Pull(
            self._connection,
            stream=self._stream,
            consumer=self._binding.consumer_name,
            deliver=self._take,
            on_state=self._on_state,
            accept=self._accept,
        )

    def _new_due_pull(self, parking: Parking) -> DuePull:
        return DuePull(
            self._connection,
            self._binding,
            parking,
            self._health,
            count=self._concurrency,
            deliver=self._take_due,
            describe_pause=self._describe_pause,
        )

    def _new_consumer_health(self, find_write_problem: Callable[[], Awaitable[str | None]]) -> ConsumerHealth:
        return ConsumerHealth(
            f"jobs.{self._binding.queue_type}",
            stream=self._stream,
            consumer=self._binding.consumer_name,
            has_free_capacity=lambda: self._intake.is_open and self._capacity.free > 0,
            on_report=self._on_report,
            find_write_problem=find_write_problem,
            describe_pause=self._describe_pause,
        )

    async def start(self, contract: Contract, *, may_create: bool, may_park: bool, may_pause: bool) -> None:
        """Begin to pull, unless the queue is paused.

        Args:
            contract: marks the consumer if it is created.
            may_create: whether to create the queue's consumer if it is missing.
            may_park: whether the account has the permissions to park jobs.
            may_pause: whether it has those to notice that the queue is paused.

        Raises:
            ProvisioningError: the queue's consumer does not exist, or cannot be used.
            TransportError: NATS did not answer.
        """
        wanted = work_consumer(self._stream, self._binding)
        info = await require_consumer(self._connection, wanted, create=may_create, contract=contract)
        self._read_policy(info)
        self._cancellations = self._connection.subscribe(
            self._subjects.cancellations(), self._on_cancellation
        )
        if may_pause:
            self._intake.is_unknown = True
            await self._pause_watch.start()
        self._unwatch = self._health.watch(self._consumer_health)
        await self._due.start(is_allowed=may_park)  # first: until it pulls, no delayed job can be parked
        self._pull.start()
        self._request_more()

    def _accept(self, info: ConsumerInfo) -> str | None:
        """Check a consumer that was deleted and exists again. Return why it cannot be used; None if it can."""
        wanted = work_consumer(self._stream, self._binding)
        problems, oddities = compare_consumer(wanted, info)
        log_oddities(wanted, info, oddities)
        if problems:
            return "; ".join(problems)
        self._read_policy(info)
        return None

    def _on_report(self, info: ConsumerInfo) -> None:
        if consumer_differences(work_consumer(self._stream, self._binding), info.config):
            self._pull.recheck()
        else:
            self._read_policy(info)

    def _read_policy(self, info: ConsumerInfo) -> None:
        self._server_clock.observe(info.server_time)
        self._redelivery = RedeliveryPolicy.of(info, otherwise=self._binding.ack_wait)
        heartbeat = self._redelivery.ack_wait / _HEARTBEATS_PER_ACK_WAIT
        if heartbeat != self._heartbeat:  # a changed ack wait applies at once, also to messages that are held
            self._heartbeat = heartbeat
            for hold in self._holds:
                self._heartbeats.change(hold, heartbeat)

    async def stop(self, grace: GracePeriod) -> None:
        """Stop pulling at once, let handlers end within the grace period, then stop them and release their jobs.

        Returns while handlers that cannot be stopped still run; `release` gives their jobs back.
        """
        self._stopping.set()
        self._executor.return_waiting()
        self._capacity.close()
        await asyncio.gather(self._pause_watch.stop(), self._pull.stop(), self._due.stop())
        await grace.wait(self._running)
        self._shutdown.grace_over.set()
        self._interrupt()
        storing = asyncio.create_task(self._wait_until_done())
        await grace.settle((storing,), _STORING)
        storing.cancel()

    async def release(self) -> None:
        """Release the jobs of the handlers that still run, and end. Call it when all that can be stopped has stopped."""
        self._interrupt()
        if self._running:
            await asyncio.wait(self._running, timeout=_RELEASING.total_seconds())
        left = [*self._running, *self._cancellation_checks]
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=_CANCELLED.total_seconds())
        if self._cancellations is not None:
            await self._cancellations.unsubscribe()
        self._due.close()
        if self._unwatch is not None:
            self._unwatch()

    def _interrupt(self) -> None:
        for attempt in self._executor.attempts.values():
            attempt.interrupt()

    async def _wait_until_done(self) -> None:
        """Wait until every message is done, except those whose handlers outlast the stop."""
        attempts = self._executor.attempts
        while len(self._running) > sum(attempt.is_outlasting for attempt in attempts.values()):
            self._shutdown.changed.clear()
            await self._shutdown.changed.wait()

    def _on_state(self, state: PullState) -> None:
        self._counts.consuming.value = int(state.consuming)
        self._consumer_health.on_state(state)

    def _take(self, message: Delivery) -> None:
        self._consumer_health.on_message()
        self._run(self._execute(message, self._capacity.acquire(), is_due=False))

    def _take_due(self, message: Delivery) -> None:
        self._run(self._execute(message, self._capacity.request(), is_due=True))

    def _run(self, work: Coroutine[None, None, None]) -> None:
        self._counts.fetched.value += 1
        task = asyncio.create_task(work, name=self._task_name)
        self._running.add(task)
        task.add_done_callback(self._on_task_done, context=self._context)

    def _forget_task(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._shutdown.changed.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            queue = self._binding.queue_type
            fields = log_fields(LogEvent.INTERNAL_ERROR, queue=queue)
            _log.error("queue %s: working a job failed unexpectedly", queue, exc_info=error, extra=fields)

    async def _execute(self, message: Delivery, permit: Permit, *, is_due: bool) -> None:
        redelivery, heartbeat = self._redelivery, self._heartbeat
        if is_due:  # jobs that were parked come from another consumer, with an ack wait of its own
            redelivery = RedeliveryPolicy(self._due.ack_wait)
            heartbeat = self._due.ack_wait / _HEARTBEATS_PER_ACK_WAIT
        message.hold = hold = self._heartbeats.hold(message.reply, heartbeat)
        if not is_due:
            self._holds.add(hold)
        try:
            await self._intake.reacquire(permit)
            await self._executor.execute(message, permit, redelivery)
        except (MalformedJobEvent, MalformedKeyRecord, PayloadTooLarge) as error:
            # Another version may read it, or an operator repair it: no job is lost, and no other job waits for it.
            queue, job_id = self._binding.queue_type, self._executor.read_job_id(message)
            fields = log_fields(LogEvent.JOB_POSTPONED, queue=queue, job_id=job_id)
            _log.error("queue %s: job %s is postponed: %s", queue, job_id, error, extra=fields)
            await message.nak(postponed_delay(message.delivered))
        except BodyMissing:
            (self._due if is_due else self._pull).recheck()
            await message.nak(postponed_delay(message.delivered))
        except TransportError as error:
            await self._return(message, error)
            await self._back_off()
        finally:
            hold.release()
            permit.release()
            if is_due:
                self._due.free()
            else:
                self._holds.discard(hold)

    def _request_more(self) -> None:
        if not self._stopping.is_set():
            self._pull.set_capacity(0 if self._intake.is_paused else self._capacity.free)

    def _on_pause_change(self, pause: QueuePause | None) -> None:
        """Obey the record. Handlers that run end normally; what has not begun goes back to the server."""
        was_paused, is_paused = self._intake.pause is not None, pause is not None
        self._intake.is_unknown, self._intake.pause = False, pause
        self._counts.paused.value = int(is_paused)
        self._request_more()
        self._due.hold(is_held=is_paused)
        if was_paused == is_paused:
            return
        self._consumer_health.on_pause_change()
        queue = self._binding.queue_type
        if pause is None:
            _log.info("queue %s: resumed", queue, extra=log_fields(LogEvent.QUEUE_RESUMED, queue=queue))
        else:
            self._executor.return_waiting()
            self._capacity.wake_all()
            _log.info("queue %s: %s", queue, pause, extra=log_fields(LogEvent.QUEUE_PAUSED, queue=queue))
        self._on_obeyed(queue)

    def _describe_pause(self) -> str | None:
        return None if self._intake.pause is None else str(self._intake.pause)

    async def _return(self, message: Delivery, error: TransportError) -> None:
        """Give a message back to the server that could not begin, because NATS failed."""
        queue, kind = self._binding.queue_type, type(error).__name__
        job_id = self._executor.read_job_id(message)
        if isinstance(error, PermissionDenied) and error.subject == message.reply:
            fields = log_fields(LogEvent.ACK_DENIED, queue=queue, job_id=job_id)
            text = "queue %s: job %s cannot be acknowledged and will be redelivered: %s"
            self._log_throttle.write(logging.ERROR, kind, text, queue, job_id, error, extra=fields)
            return
        fields = log_fields(LogEvent.JOB_RETURNED, queue=queue, job_id=job_id)
        text = "queue %s: job %s could not begin and will be redelivered: %s"
        self._log_throttle.write(logging.WARNING, kind, text, queue, job_id, error, extra=fields)
        if not await message.nak(_INFRASTRUCTURE_DELAY):
            text = "queue %s: not connected; the server redelivers job %s after its ack wait"
            _log.debug(text, queue, job_id, extra=fields)

    async def _back_off(self) -> None:
        """Keep the permit while the message is delayed: what NATS refuses for one job, it refuses for the next."""
        if self._connection.is_connected and not self._stopping.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), _INFRASTRUCTURE_DELAY.total_seconds())

    def _on_cancellation(self, message: Message) -> None:
        parsed = self._subjects.parse(message.subject)
        attempt = None if parsed is None else self._executor.attempts.get(parsed[0])
        if attempt is not None:
            task = asyncio.create_task(_confirm_cancellation(attempt))
            self._cancellation_checks.add(task)
            task.add_done_callback(self._cancellation_checks.discard)


async def _confirm_cancellation(attempt: Attempt) -> None:
    """Check that a cancellation which was received is stored: the stream refuses one that came too late."""
    for pause in _CANCEL_STORED_WITHIN:
        await asyncio.sleep(pause)
        try:
            if await attempt.refresh():
                return
        except TransportError as error:
            identity = attempt.identity
            fields = log_fields(LogEvent.READ_FAILED, queue=identity.queue, job_id=identity.job_id)
            _log.debug("job %s: cannot read its events: %s", identity.job_id, error, extra=fields)
