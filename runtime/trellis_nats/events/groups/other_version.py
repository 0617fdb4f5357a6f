"""Postpones the events of a group that this version of the contract cannot read, and that another version wrote.

A rolling deploy has instances of both versions. So such an event goes back to the server, for an instance that can read it.
It has waited since the server stored it, or since this instance began, whichever is later: that bounds how far a strict
group, which waits with it, falls behind.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import Final

from trellis_nats._nats.connection import Connection, Subscription
from trellis_nats._nats.jetstream.delivery import Delivery
from trellis_nats._nats.wire.message import Message
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats._support.log_throttle import LogThrottle
from trellis_nats._versions import ContractVersion, digest_of, version_delay
from trellis_nats.binding import GroupBinding
from trellis_nats.clock import Clock, describe_duration
from trellis_nats.codec import decode_json, encode_json
from trellis_nats.errors import InvalidPayload, NotConnected
from trellis_nats.events.groups.attempts import AttemptCounter
from trellis_nats.metrics.registry import Number

__all__ = ["EventPatience", "notice_subject"]

_log = logging.getLogger(__name__)

_SOONEST: Final = timedelta(milliseconds=1)


def notice_subject(group: GroupBinding) -> str:
    """Return the subject on which the instances of a group tell each other what they postponed."""
    return f"trellis.groups.{group.consumer_name}"


class EventPatience:
    """How long the events of one group wait for an instance that can read them."""

    def __init__(
        self,
        connection: Connection,
        group: GroupBinding,
        version: ContractVersion,
        patience: timedelta,
        clock: Clock,
        *,
        postponed: Number,
        may_publish: bool = True,
        may_subscribe: bool = True,
    ) -> None:
        """Prepare.

        Args:
            connection: where the group is.
            group: its numbers.
            version: that of this process.
            patience: `Options.version_patience`.
            clock: the clock by which events wait.
            postponed: counts what is postponed.
            may_publish: whether the account may tell the other instances what it postpones.
            may_subscribe: whether it may receive that.
        """
        self._connection = connection
        self._group = group
        self._version = version
        self._patience = patience
        self._clock = clock
        self._postponed = postponed
        self._may_publish = may_publish
        self._may_subscribe = may_subscribe
        self._attempts = AttemptCounter(group.max_deliver)
        self._began = clock.now()
        self._subscription: Subscription | None = None
        self._log_throttle = LogThrottle(_log)

    def start(self) -> None:
        """Begin to receive what other instances postpone."""
        self._began = self._clock.now()
        if self._may_subscribe:
            self._subscription = self._connection.subscribe(notice_subject(self._group), self._on_notice)

    async def stop(self) -> None:
        """Receive nothing more."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            await subscription.unsubscribe()

    def count_attempt(self, delivery: Delivery) -> int:
        """Return which attempt a delivery is, counted from 1."""
        return self._attempts.count(
            delivery.stream_sequence,
            delivery.delivered,
            may_be_postponed=bool(digest_of(delivery.headers)),
        )

    def explain(self, error: InvalidPayload, delivery: Delivery) -> InvalidPayload:
        """Return the error for an event that cannot be read; it names both versions if another one wrote the event."""
        return self._version.explain(error, delivery.headers)

    def reason(self, error: InvalidPayload) -> str:
        """Return why an event is removed that cannot be read."""
        if error.writer_digest is None:
            return str(error)
        return f"{error}, and no instance that can read it took it within {describe_duration(self._patience)}"

    async def postpone(self, delivery: Delivery, error: InvalidPayload, *, stopping: asyncio.Event) -> bool:
        """Give an event back that this version cannot read. Return False when the event has to be removed.

        That is so if this version wrote it, if it does not say which one did, and when it has waited long enough.
        Where events are handled in order, this instance takes none for a moment, so that another one gets the event.
        """
        left = self._patience - self._waited(delivery)
        if error.writer_digest is None or left <= timedelta(0):
            return False
        delay = max(min(version_delay(delivery.delivered), left), _SOONEST)
        self._log_throttle.write(
            logging.INFO,
            LogEvent.EVENT_OF_OTHER_VERSION,
            'event group %s: an event on "%s" waits for an instance that can read it: %s',
            self._group.alias,
            delivery.subject,
            error,
            extra=log_fields(
                LogEvent.EVENT_OF_OTHER_VERSION, group=self._group.alias, subject=delivery.subject
            ),
        )
        self._postponed.add()
        self.announce(delivery)
        if self._group.concurrency > 1:
            await delivery.nak(delay)
            return True
        if delivery.hold is not None:
            delivery.hold.release()
        await delivery.nak()
        await self._clock.wait(stopping, delay, what=f"event group {self._group.alias}")
        return True

    def announce(self, delivery: Delivery) -> None:
        """Tell the other instances that a delivery is not an attempt: before it is given back, and can reach one of them."""
        sequence = delivery.stream_sequence
        postponed = self._attempts.postpone(sequence, delivery.delivered)
        if self._may_publish:
            notice = encode_json({"sequence": sequence, "postponed": postponed})
            try:
                self._connection.send(notice_subject(self._group), notice)
            except NotConnected:
                return  # the delivery cannot be given back either: it is redelivered after the ack wait

    def _waited(self, delivery: Delivery) -> timedelta:
        now = self._clock.now()
        # Our clock is cut to milliseconds, and may be behind the server's: no event has waited less than nothing.
        return max(min(now - self._clock.at(delivery.stored_at), now - self._began), timedelta(0))

    def _on_notice(self, message: Message) -> None:
        try:
            notice = decode_json(message.data)
        except ValueError:
            return
        match notice:
            case {"sequence": int(sequence), "postponed": int(postponed)} if postponed > 0:
                self._attempts.learn(sequence, postponed)
            case _:
                return
