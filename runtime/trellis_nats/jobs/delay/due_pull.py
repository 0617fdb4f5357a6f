"""Pulls the parked jobs of one queue that are due.

They share the permits of the worker with the other work of the queue. At most as many as the worker has permits are held:
one that finds none free waits for it, and goes before new work.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.consumer_info import ConsumerInfo
from trellis_nats._nats.jetstream.pull import Delivery, Pull, PullState
from trellis_nats._nats.jetstream.streams import get_consumer_info
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats.binding import QueueBinding
from trellis_nats.errors import ApiError, NoResponders, PermissionDenied
from trellis_nats.health.consumer_health import ConsumerHealth
from trellis_nats.health.service_health import Health
from trellis_nats.jobs.delay.parking import Parking
from trellis_nats.jobs.model.job_streams import SCHEDULES_SINCE, due_consumer
from trellis_nats.jobs.model.subjects import DELAYED_STREAM
from trellis_nats.provision import compare_consumer

__all__ = ["DuePull"]

_log = logging.getLogger(__name__)

_OFF: Final = "queue %s: jobs that wait hold deliveries of consumer %s: %s"


class DuePull:
    """The pull of due jobs; it opens the parking of its queue while it is consuming."""

    def __init__(
        self,
        connection: Connection,
        binding: QueueBinding,
        parking: Parking,
        health: Health,
        *,
        count: int,
        deliver: Callable[[Delivery], None],
        describe_pause: Callable[[], str | None],
    ) -> None:
        """Prepare; nothing is pulled before `start`.

        Args:
            connection: the service's connection.
            binding: the queue's names on the server.
            parking: parks jobs while due ones are pulled.
            health: shows whether due jobs arrive.
            count: how many due jobs are held at a time; `free` returns one.
            deliver: called with each message.
            describe_pause: returns why the queue is paused; None while it is not.
        """
        self.ack_wait = binding.ack_wait
        """The ack wait of the consumer of due jobs."""
        self._connection = connection
        self._binding = binding
        self._parking = parking
        self._health = health
        self._free = count
        self._is_held = False
        self._deliver = deliver
        self._pull: Pull | None = None
        self._unwatch: Callable[[], None] | None = None
        self._consumer_health = ConsumerHealth(
            f"jobs.{binding.queue_type}.due",
            stream=DELAYED_STREAM,
            consumer=binding.consumer_name,
            has_free_capacity=lambda: self._free > 0 and not self._is_held,
            on_report=self._on_report,
            describe_pause=describe_pause,
        )

    async def start(self, *, is_allowed: bool) -> None:
        """Begin to pull; if that is not possible, log why.

        Args:
            is_allowed: whether the account has the permissions to park jobs and to pull due ones.

        Raises:
            TransportError: NATS did not answer.
        """
        reason = await self._find_obstacle(is_allowed=is_allowed)
        if reason is not None:
            queue, consumer = self._binding.queue_type, self._binding.consumer_name
            fields = log_fields(LogEvent.PARKING_OFF, queue=queue, consumer=consumer)
            _log.info(_OFF, queue, consumer, reason, extra=fields)
            return
        self._pull = Pull(
            self._connection,
            stream=DELAYED_STREAM,
            consumer=self._binding.consumer_name,
            deliver=self._take,
            on_state=self._on_state,
            accept=self._accept,
            is_quiet=True,
        )
        self._pull.start()
        self._request()
        self._unwatch = self._health.watch(self._consumer_health)

    async def stop(self) -> None:
        """Stop pulling."""
        self._parking.is_open = False
        if self._pull is not None:
            await self._pull.stop()

    def close(self) -> None:
        """End the health check."""
        if self._unwatch is not None:
            self._unwatch()

    def free(self) -> None:
        """Note that a due job is answered: another one may be pulled."""
        self._free += 1
        self._request()

    def recheck(self) -> None:
        """Pull again when the consumer was looked up and can be used."""
        if self._pull is not None:
            self._pull.recheck()

    def hold(self, *, is_held: bool) -> None:
        """Pull nothing while the queue is paused."""
        self._is_held = is_held
        self._consumer_health.on_pause_change()
        self._request()

    def _request(self) -> None:
        if self._pull is not None:
            self._pull.set_capacity(0 if self._is_held else self._free)

    async def _find_obstacle(self, *, is_allowed: bool) -> str | None:
        """Return why due jobs cannot be pulled; None when they can."""
        version = self._connection.server_version
        if version < SCHEDULES_SINCE:
            return f"nats-server {'.'.join(map(str, version))} has no reliable schedules"
        consumer = f'consumer "{self._binding.consumer_name}" of stream "{DELAYED_STREAM}"'
        if not is_allowed:
            return f'the account may not use {consumer}: see "lacks optional permissions"'
        try:
            info = await get_consumer_info(self._connection, DELAYED_STREAM, self._binding.consumer_name)
        except (PermissionDenied, ApiError, NoResponders) as error:
            return f"{consumer} cannot be looked up: {error}"
        return f"{consumer} does not exist" if info is None else self._accept(info)

    def _accept(self, info: ConsumerInfo) -> str | None:
        problems, _ = compare_consumer(due_consumer(self._binding), info)
        self.ack_wait = info.ack_wait or self._binding.ack_wait
        return "; ".join(problems) or None

    def _on_report(self, info: ConsumerInfo) -> None:
        if self._accept(info) is not None:
            self.recheck()

    def _take(self, message: Delivery) -> None:
        self._free -= 1
        self._consumer_health.on_message()
        self._deliver(message)

    def _on_state(self, state: PullState) -> None:
        self._parking.is_open = state.consuming
        self._consumer_health.on_state(state)
