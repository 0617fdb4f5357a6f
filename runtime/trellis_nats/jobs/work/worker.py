"""Works one queue in this process: as many handlers at a time as the queue's concurrency allows."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from datetime import timedelta
from typing import Final, Protocol

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.consumer_info import ConsumerInfo
from trellis_nats._nats.jetstream.progress_thread import ProgressThread
from trellis_nats._nats.jetstream.pull import Delivery, Pull
from trellis_nats._nats.jetstream.streams import consumer_info
from trellis_nats._nats.subscriptions import Subscription
from trellis_nats._nats.wire.message import Message
from trellis_nats._support.grace_period import GracePeriod
from trellis_nats._support.log_throttle import LogThrottle
from trellis_nats.binding import QueueBinding
from trellis_nats.errors import (
    MalformedJobEvent,
    MalformedKeyRecord,
    PayloadTooLarge,
    PermissionDenied,
    ProvisioningError,
    TransportError,
)
from trellis_nats.health.consumer_health import ConsumerHealth
from trellis_nats.health.service_health import Health
from trellis_nats.jobs.capacity import Capacity, Permit
from trellis_nats.jobs.job_streams import work_consumer
from trellis_nats.jobs.model.subjects import JobSubjects
from trellis_nats.jobs.work.attempt import Attempt
from trellis_nats.jobs.work.redelivery import RedeliveryPolicy, postponed_delay
from trellis_nats.provision import compare_consumer

__all__ = ["Execute", "Worker"]

_log = logging.getLogger(__name__)

_INFRASTRUCTURE_DELAY: Final = timedelta(seconds=1)
"""How long a message rests that NATS did not let us begin."""
_HEARTBEATS_PER_ACK_WAIT: Final = 3
"""Two may be lost before the server gives a job to somebody else (faults.md, R3)."""
_CANCEL_STORED_WITHIN: Final = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0)
"""Seconds between looks after a cancellation was heard: it is heard before it is stored."""
_CANCELLED: Final = timedelta(seconds=1)
_SETTLING: Final = timedelta(seconds=10)
"""How long released jobs may take to be written down after the grace."""


class Execute(Protocol):
    """Takes one message to its end."""

    @property
    def attempts(self) -> dict[str, Attempt]:
        """The tries that run now, by job id."""
        ...

    delivery: RedeliveryPolicy

    async def execute(self, message: Delivery, permit: Permit) -> None:
        """Take one message to its end."""
        ...

    def close(self) -> None:
        """Let those messages be given back that wait for something: the worker stops."""
        ...


class Worker:
    """Pulls the messages of one queue and executes them.

    It runs no more handlers than the concurrency, and has at most as many outcomes to store again in hand, and 256
    messages that wait for their keys.
    """

    def __init__(
        self,
        connection: Connection,
        binding: QueueBinding,
        executor: Execute,
        heartbeats: ProgressThread,
        health: Health,
        *,
        concurrency: int,
        work_stream: str,
        stopping: asyncio.Event,
        grace_over: asyncio.Event,
    ) -> None:
        self._connection = connection
        self._binding = binding
        self._executor = executor
        self._heartbeats = heartbeats
        self._health = health
        self._stream = work_stream
        self._concurrency = concurrency
        self._stopping = stopping
        self._grace_over = grace_over
        self._subjects = JobSubjects(binding.publish_prefix)
        self._task_name = f"work {binding.queue_type}"
        self._log_throttle = LogThrottle(_log)
        self._running: set[asyncio.Task[None]] = set()
        self._on_taken = (
            self._taken
        )  # once, as the context: each would be another object for every message in hand
        self._context = copy_context()
        self._capacity = Capacity(concurrency, self._want)
        self._looking: set[asyncio.Task[None]] = set()
        self._interval = binding.ack_wait / _HEARTBEATS_PER_ACK_WAIT
        self._cancellations: Subscription | None = None
        self._unwatch: Callable[[], None] | None = None
        self._consumption = ConsumerHealth(
            binding.queue_type,
            work_stream,
            binding.consumer_name,
            has_free_capacity=lambda: self._capacity.room > 0,
        )
        self._pull = Pull(
            connection,
            stream=work_stream,
            consumer=binding.consumer_name,
            deliver=self._take,
            on_state=self._consumption.heard,
            accept=self._accept,
        )

    async def start(self) -> None:
        """Begin to pull.

        Raises:
            ProvisioningError: the queue's consumer does not exist.
        """
        info = await consumer_info(self._connection, self._stream, self._binding.consumer_name)
        if info is None:
            raise ProvisioningError(
                [f'consumer "{self._binding.consumer_name}" of stream "{self._stream}" does not exist']
            )
        self._use(info)
        self._cancellations = self._connection.subscribe(
            self._subjects.cancellations(), self._heard_cancellation
        )
        self._pull.start()
        self._pull.want(self._concurrency)
        self._unwatch = self._health.watch(self._consumption)

    def _accept(self, info: ConsumerInfo) -> str | None:
        """Look at a consumer that was away: say why it will not do, or work with it as it is now."""
        problems, oddities = compare_consumer(work_consumer(self._stream, self._binding), info)
        for each in oddities:
            _log.warning("%s", each)
        if problems:
            return "; ".join(problems)
        self._use(info)
        return None

    def _use(self, info: ConsumerInfo) -> None:
        self._executor.delivery = RedeliveryPolicy.of(info, otherwise=self._binding.ack_wait)
        self._interval = self._executor.delivery.ack_wait / _HEARTBEATS_PER_ACK_WAIT

    async def stop(self, grace: GracePeriod) -> None:
        """Stop pulling at once, let handlers end within the grace, then release what is left."""
        self._stopping.set()
        self._executor.close()
        self._capacity.close()
        await self._pull.stop()
        await grace.wait(self._running)
        self._grace_over.set()
        for attempt in self._executor.attempts.values():
            attempt.interrupt()
        await grace.settle(self._running, _SETTLING)
        left = [*self._running, *self._looking]
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=_CANCELLED.total_seconds())
        if self._cancellations is not None:
            await self._cancellations.unsubscribe()
        if self._unwatch is not None:
            self._unwatch()

    def _take(self, message: Delivery) -> None:
        self._consumption.took()
        work = self._execute(message, self._capacity.acquire())
        task = asyncio.create_task(work, name=self._task_name)
        self._running.add(task)
        task.add_done_callback(self._on_taken, context=self._context)

    def _taken(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("queue %s: a job ended in an error of ours", self._binding.queue_type, exc_info=error)

    async def _execute(self, message: Delivery, permit: Permit) -> None:
        hold = self._heartbeats.hold(message.reply, self._interval)
        message.hold = hold
        try:
            await self._executor.execute(message, permit)
        except (MalformedJobEvent, MalformedKeyRecord, PayloadTooLarge) as error:
            # Another version may read it, or an operator mend it: nothing is lost, and no other job waits for it.
            _log.error("queue %s: a job rests: %s", self._binding.queue_type, error)
            await message.nak(postponed_delay(message.delivered))
        except TransportError as error:
            await self._put_back(message, error)
            await self._rest()
        finally:
            hold.release()
            permit.release()

    def _want(self) -> None:
        if not self._stopping.is_set():
            self._pull.want(self._capacity.room)

    async def _put_back(self, message: Delivery, error: TransportError) -> None:
        queue, kind = self._binding.queue_type, type(error).__name__
        if isinstance(error, PermissionDenied) and error.subject == message.reply:
            text = "queue %s: a job cannot be answered for and will come again: %s"
            self._log_throttle.write(logging.ERROR, kind, text, queue, error)
            return
        self._log_throttle.write(logging.WARNING, kind, "queue %s: a job is put back: %s", queue, error)
        if not await message.nak(_INFRASTRUCTURE_DELAY):
            _log.debug("not connected; the server delivers the message again after the ack wait")

    async def _rest(self) -> None:
        """Keep the hand for as long as the message rests: what NATS refuses for one job, it refuses for the next."""
        if self._connection.is_connected and not self._stopping.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), _INFRASTRUCTURE_DELAY.total_seconds())

    def _heard_cancellation(self, message: Message) -> None:
        parsed = self._subjects.parse(message.subject)
        attempt = None if parsed is None else self._executor.attempts.get(parsed[0])
        if attempt is not None:
            task = asyncio.create_task(_confirm_cancellation(attempt))
            self._looking.add(task)
            task.add_done_callback(self._looking.discard)


async def _confirm_cancellation(attempt: Attempt) -> None:
    """Look whether a cancellation that was heard is stored: one that came too late is refused by the stream."""
    for pause in _CANCEL_STORED_WITHIN:
        await asyncio.sleep(pause)
        try:
            if await attempt.look():
                return
        except TransportError as error:
            _log.debug("cannot look for a cancellation: %s", error)
