"""Works the events of one group in this process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Final

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.consumer_info import ConsumerInfo
from trellis_nats._nats.jetstream.progress_thread import ProgressThread
from trellis_nats._nats.jetstream.pull import Delivery, Pull
from trellis_nats._support.cancellation import is_cancelled
from trellis_nats._support.grace_period import GracePeriod
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats._support.log_exception import log_exception
from trellis_nats._support.log_throttle import LogThrottle
from trellis_nats._support.plural import plural
from trellis_nats._tracing.descriptions import OUTCOME
from trellis_nats._tracing.span import Span
from trellis_nats.binding import GroupBinding
from trellis_nats.clock import Clock, describe_duration
from trellis_nats.contract import Contract
from trellis_nats.errors import InvalidPayload, PermissionDenied, ProvisioningError
from trellis_nats.events.groups.consumer import group_consumer, problem_of
from trellis_nats.events.groups.event_handler import DeliveredEvent, EventRegistration, find_registration
from trellis_nats.events.groups.other_version import EventPatience
from trellis_nats.events.groups.verdict import retry_delay
from trellis_nats.health.consumer_health import ConsumerHealth
from trellis_nats.health.service_health import Health
from trellis_nats.metrics.families import EVENTS_HANDLED
from trellis_nats.metrics.registry import MetricsRegistry
from trellis_nats.provision import require_consumer

__all__ = ["GroupWorker"]

_log = logging.getLogger(__name__)

_HEARTBEATS_PER_ACK_WAIT: Final = 3
"""Two may be lost before the server gives an event to another instance (faults.md, R3)."""
_UNWIND: Final = timedelta(seconds=5)
"""How long a cancelled handler may take to clean up."""
_UNKNOWN_AGAIN_AFTER: Final = timedelta(minutes=1)
"""The wait of an event that no handler is for: an instance of another version may have one."""
_BODY_AGAIN_AFTER: Final = timedelta(seconds=1)
"""The wait of an event that arrived without its body, while the consumer is looked up."""


class GroupWorker:
    """Pulls the events of one group, and runs as many handlers at a time as the group allows."""

    def __init__(
        self,
        connection: Connection,
        group: GroupBinding,
        registrations: Sequence[EventRegistration[Any]],  # Any: each has an event type of its own
        health: Health,
        clock: Clock,
        patience: EventPatience,
        metrics: MetricsRegistry,
    ) -> None:
        self._metrics = metrics
        self._patience = patience
        self._connection = connection
        self._clock = clock
        self._group = group
        self._registrations = list(registrations)
        self._health = health
        self._heartbeats = ProgressThread(connection.settings)
        self._heartbeat = group.ack_wait / _HEARTBEATS_PER_ACK_WAIT
        self._running: set[asyncio.Task[None]] = set()
        self._unwatch: Callable[[], None] | None = None
        self._stopping = asyncio.Event()
        self._log_throttle = LogThrottle(_log)
        self._consumer_health = ConsumerHealth(
            f"events.{group.alias}",
            stream=group.stream,
            consumer=group.consumer_name,
            has_free_capacity=lambda: len(self._running) < group.concurrency,
            on_report=self._on_report,
        )
        self._pull = Pull(
            connection,
            stream=group.stream,
            consumer=group.consumer_name,
            deliver=self._take,
            on_state=self._consumer_health.on_state,
            accept=self._accept,
        )

    async def start(self, contract: Contract, *, may_create: bool) -> None:
        """Begin to pull. With `may_create`, create the group's consumer if it is missing, and mark it with the contract.

        Raises:
            ProvisioningError: the group's consumer does not exist, or cannot be used.
            CannotConnect: the connection for heartbeats could not be opened.
        """
        group = self._group
        info = await require_consumer(
            self._connection, group_consumer(group), create=may_create, contract=contract
        )
        problem = self._accept(info)
        if problem is not None:
            raise ProvisioningError(
                [f"{group_consumer(group).title} of event group {group.alias}: {problem}"]
            )
        await self._heartbeats.start()
        self._patience.start()
        self._pull.start()
        self._pull.set_capacity(group.concurrency)
        self._unwatch = self._health.watch(self._consumer_health)

    async def stop(self, grace: GracePeriod) -> None:
        """Stop pulling at once, let handlers end within the grace period, then return the events that are left."""
        self._stopping.set()
        await self._pull.stop()
        await grace.wait(self._running)
        for task in self._running:
            task.cancel()
        await grace.settle(self._running, _UNWIND)
        if self._running:
            _log.error(
                "event group %s: %s did not end within %s after their cancellation",
                self._group.alias,
                plural(len(self._running), "handler"),
                describe_duration(_UNWIND),
                extra=log_fields(LogEvent.HANDLER_STUCK, group=self._group.alias),
            )
        if self._unwatch is not None:
            self._unwatch()
        await self._patience.stop()
        await self._heartbeats.stop()

    def _accept(self, info: ConsumerInfo) -> str | None:
        """Check a consumer, also one that was deleted and exists again."""
        problem = problem_of(self._group, info)
        if problem is None and info.ack_wait is not None:
            shortest = min((info.ack_wait, *info.backoff))  # a backoff replaces the ack wait
            self._heartbeat = shortest / _HEARTBEATS_PER_ACK_WAIT
        return problem

    def _on_report(self, info: ConsumerInfo) -> None:
        if self._accept(info) is not None:
            self._pull.recheck()

    def _take(self, delivery: Delivery) -> None:
        self._consumer_health.on_message()
        task = asyncio.create_task(self._work(delivery), name=_name(self._group, delivery))
        self._running.add(task)
        task.add_done_callback(self._on_done)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not self._stopping.is_set():
            self._pull.set_capacity(max(0, self._group.concurrency - len(self._running)))
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error(
                "event group %s: working an event failed unexpectedly",
                self._group.alias,
                exc_info=error,
                extra=log_fields(LogEvent.INTERNAL_ERROR, group=self._group.alias),
            )

    async def _work(self, delivery: Delivery) -> None:
        hold = self._heartbeats.hold(delivery.reply, self._heartbeat)
        delivery.hold = hold
        try:
            await self._handle(delivery)
        except asyncio.CancelledError:
            hold.release()
            delivery.nak_now()  # another instance takes it at once
            raise
        except PermissionDenied as error:
            text = "event group %s: an event cannot be acknowledged and will be redelivered: %s"
            extra = self._log_fields(LogEvent.ACK_DENIED, delivery, delivery.delivered)
            _log.error(text, self._group.alias, error, extra=extra)
        finally:
            hold.release()

    async def _handle(self, delivery: Delivery) -> None:
        registration = find_registration(self._registrations, delivery.subject)
        if registration is None:
            await self._postpone_unknown(delivery)
            return
        try:
            event = registration.read(delivery, self._patience.count_attempt(delivery))
        except InvalidPayload as error:
            if await delivery.lacks_body():
                self._pull.recheck()
                await delivery.nak(_BODY_AGAIN_AFTER)
                return
            unreadable = self._patience.explain(error, delivery)
            if not await self._patience.postpone(delivery, unreadable, stopping=self._stopping):
                await self._remove_invalid(delivery, unreadable)
            return
        span, event = registration.start_span(event, delivery)
        with span:
            await self._run_handler(registration, event, delivery, span)

    async def _run_handler(
        self,
        registration: EventRegistration[Any],  # Any: whatever the type of the event
        event: DeliveredEvent[Any],  # Any: likewise
        delivery: Delivery,
        span: Span,
    ) -> None:
        try:
            await registration.handle(event)
        except asyncio.CancelledError as error:
            if is_cancelled():
                self._settle(span, "released")
                raise
            await self._retry(event, delivery, error, span)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever user code raises is retried
            await self._retry(event, delivery, error, span)
        else:
            self._settle(span, "completed")
            # Without a confirmation the event is redelivered: it is handled at least once.
            await delivery.ack_confirmed()

    async def _retry(
        self,
        event: DeliveredEvent[Any],  # Any: likewise
        delivery: Delivery,
        error: BaseException,
        span: Span,
    ) -> None:
        span.record(error)
        trace_id = event.context.trace_id
        delay = retry_delay(self._group, event.attempt)
        self._settle(span, "dead" if delay is None else "retry")
        if delay is None:
            log_exception(
                _log,
                logging.ERROR,
                "event group %s: gave up on event %s after %s",
                self._group.alias,
                delivery.subject,
                plural(event.attempt, "attempt"),
                error=error,
                extra=self._log_fields(LogEvent.EVENT_GIVEN_UP, delivery, event.attempt, trace_id),
            )
            await delivery.term(f"its handler raised {event.attempt} times")
            return
        log_exception(
            _log,
            logging.WARNING,
            "event group %s: attempt %d of event %s failed; the next one follows in %s",
            self._group.alias,
            event.attempt,
            delivery.subject,
            describe_duration(delay),
            error=error,
            extra=self._log_fields(LogEvent.EVENT_RETRIED, delivery, event.attempt, trace_id),
        )
        if self._clock.waits_here:
            await self._clock.wait(self._stopping, delay, what=_name(self._group, delivery))
            delay = timedelta(0)
        await delivery.nak(delay)

    def _settle(self, span: Span, outcome: str) -> None:
        span.set(OUTCOME, outcome)
        self._count(outcome)

    def _count(self, outcome: str) -> None:
        self._metrics.number(EVENTS_HANDLED, self._group.alias, outcome).add()

    async def _remove_invalid(self, delivery: Delivery, error: InvalidPayload) -> None:
        """Remove an event that no attempt could read."""
        self._count("removed")
        self._log_throttle.write(
            logging.ERROR,
            LogEvent.EVENT_REMOVED,
            'event group %s: removed an event on "%s" that cannot be read: %s',
            self._group.alias,
            delivery.subject,
            self._patience.reason(error),
            extra=self._log_fields(LogEvent.EVENT_REMOVED, delivery, delivery.delivered),
        )
        await delivery.term("it does not match its schema")

    async def _postpone_unknown(self, delivery: Delivery) -> None:
        self._log_throttle.write(
            logging.ERROR,
            LogEvent.EVENT_POSTPONED,
            'event group %s: no handler matches subject "%s"; the event is redelivered in %s',
            self._group.alias,
            delivery.subject,
            describe_duration(_UNKNOWN_AGAIN_AFTER),
            extra=self._log_fields(LogEvent.EVENT_POSTPONED, delivery, delivery.delivered),
        )
        self._patience.announce(delivery)
        await delivery.nak(_UNKNOWN_AGAIN_AFTER)

    def _log_fields(
        self, event: LogEvent, delivery: Delivery, attempt: int, trace_id: str | None = None
    ) -> dict[str, object]:
        return log_fields(
            event,
            group=self._group.alias,
            subject=delivery.subject,
            attempt=attempt,
            trace_id=trace_id,
        )


def _name(group: GroupBinding, delivery: Delivery) -> str:
    return f"event group {group.alias} {delivery.stream_sequence}"
