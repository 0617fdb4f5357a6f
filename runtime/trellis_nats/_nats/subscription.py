"""Subscriptions: kept here, restored on every new link."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from itertools import count

from trellis_nats._nats.link import Link, settled
from trellis_nats._nats.message import Message
from trellis_nats._nats.outgoing import checked_subject, encode_subscribe, encode_unsubscribe

__all__ = ["Subscription", "Subscriptions"]

_log = logging.getLogger(__name__)


class Subscription:
    """Interest in a subject."""

    def __init__(self, owner: Subscriptions, number: int, subject: str, queue: str) -> None:
        self.subject = subject
        self.queue = queue
        self._owner = owner
        self._number = number
        self._live: Callable[[], Link | None] = _no_link

    def attach(self, live: Callable[[], Link | None]) -> None:
        """Begin, on the current link if there is one."""
        self._live = live
        link = live()
        if link is not None:
            self.restore(link)

    def restore(self, link: Link) -> None:
        """Tell a new link."""
        link.send(encode_subscribe(self.subject, self.queue, self._number))

    async def unsubscribe(self) -> None:
        """End it. The callback is not called again. Safe to call twice, and while disconnected."""
        self._owner.remove(self._number)
        self._tell()

    def withdraw(self) -> asyncio.Future[bool]:
        """End it, but let the callback have what the server has sent already.

        The future is done when nothing more can come: at once while disconnected, else a round trip later.
        """
        self._owner.retire(self._number)
        link = self._tell()
        if link is None:
            self._owner.remove(self._number)
            return settled(answered=False)
        pong = link.ping()
        pong.add_done_callback(lambda _: self._owner.remove(self._number))
        return pong

    def _tell(self) -> Link | None:
        link = self._live()
        if link is not None:
            link.send(encode_unsubscribe(self._number))
        return link


class Subscriptions:
    """All subscriptions of a connection."""

    def __init__(self) -> None:
        self.routes: dict[int, Callable[[Message], None]] = {}
        """What a link looks up for each message."""
        self._kept: dict[int, Subscription] = {}
        self._numbers = count(1)

    def add(self, subject: str, queue: str, on_message: Callable[[Message], None]) -> Subscription:
        """Register one.

        Raises:
            ValueError: the subject or the queue is malformed.
        """
        checked_subject(subject)
        if queue:
            checked_subject(queue)
        number = next(self._numbers)
        subscription = Subscription(self, number, subject, queue)
        self._kept[number] = subscription
        self.routes[number] = _guarded(subject, on_message)
        return subscription

    def remove(self, number: int) -> None:
        """Forget one and its callback."""
        self._kept.pop(number, None)
        self.routes.pop(number, None)

    def retire(self, number: int) -> None:
        """Keep the callback, but do not restore the subscription on a new link."""
        self._kept.pop(number, None)

    def restore(self, link: Link) -> None:
        """Tell a new link about every subscription."""
        for subscription in self._kept.values():
            subscription.restore(link)

    def named(self, subject: str) -> str:
        """Return the subject as it was written, given it in lower case."""
        return next(
            (each.subject for each in self._kept.values() if each.subject.lower() == subject), subject
        )


def _no_link() -> Link | None:
    return None


def _guarded(subject: str, on_message: Callable[[Message], None]) -> Callable[[Message], None]:
    def deliver(message: Message) -> None:
        try:
            on_message(message)
        except Exception:  # noqa: BLE001 - it runs in nats-py's reader, which any exception would end
            _log.exception('the callback of the subscription to "%s" failed', subject)

    return deliver
