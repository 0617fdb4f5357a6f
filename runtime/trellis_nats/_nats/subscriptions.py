"""The subscriptions of a connection, restored on every new link."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from typing import Final, NamedTuple

from trellis_nats._nats.link.link import Link, resolved_pong
from trellis_nats._nats.wire.message import Message
from trellis_nats._nats.wire.outgoing import encode_subscribe, encode_unsubscribe, require_subject
from trellis_nats._support.log_events import LogEvent, log_fields

__all__ = ["Refusal", "Subscription", "Subscriptions"]

_log = logging.getLogger(__name__)

_RETRY: Final = 2.0
"""Seconds until a refused subscription is tried again. A server that reloads its permissions drops the subscriptions
that they do not allow, and does not restore them when the permission returns."""


class Refusal(NamedTuple):
    """A subscription that the server refused."""

    subject: str
    """As the subscriber wrote it."""
    is_new: bool
    """Whether the subscription was made after the last flush."""
    is_repeated: bool
    """Whether it was refused before and tried again."""


class Subscription:
    """One subscription to a subject."""

    def __init__(self, owner: Subscriptions, number: int, subject: str, queue: str) -> None:
        self.subject = subject
        self.queue = queue
        self.number = number
        """Counts the subscriptions of the connection."""
        self.is_refused = False
        self.is_retried = False
        self._owner = owner
        self._get_link: Callable[[], Link | None] = _no_link

    def start(self, get_link: Callable[[], Link | None]) -> None:
        """Subscribe on the current link if there is one."""
        self._get_link = get_link
        link = get_link()
        if link is not None:
            self.restore(link)

    def restore(self, link: Link) -> None:
        """Subscribe on a new link."""
        link.send(encode_subscribe(self.subject, self.queue, self.number))

    def cancel(self) -> None:
        """End the subscription. The callback is not called again. Safe to call twice, and while disconnected."""
        self._owner.remove(self.number)
        self._send_unsubscribe()

    async def unsubscribe(self) -> None:
        """End the subscription, as `cancel`."""
        self.cancel()

    def drain(self) -> asyncio.Future[bool]:
        """End the subscription, but still deliver what the server has already sent.

        The future is done when nothing more can arrive: immediately while disconnected, else after a round trip.
        """
        self._owner.exclude(self.number)
        link = self._send_unsubscribe()
        if link is None:
            self._owner.remove(self.number)
            return resolved_pong(answered=False)
        pong = link.ping()
        pong.add_done_callback(lambda _: self._owner.remove(self.number))
        return pong

    def _send_unsubscribe(self) -> Link | None:
        link = self._get_link()
        if link is not None:
            link.send(encode_unsubscribe(self.number))
        return link


class Subscriptions:
    """All subscriptions of a connection."""

    def __init__(self) -> None:
        self.routes: dict[int, Callable[[Message], None]] = {}
        """The callback of each subscription; a link looks it up for each message."""
        self._active: dict[int, Subscription] = {}
        self._numbers = count(1)
        self._newest = 0
        self._flushed = 0
        self._retry: asyncio.TimerHandle | None = None

    def add(self, subject: str, queue: str, on_message: Callable[[Message], None]) -> Subscription:
        """Register a subscription.

        Raises:
            ValueError: the subject or the queue is malformed.
        """
        require_subject(subject)
        if queue:
            require_subject(queue)
        self._newest = number = next(self._numbers)
        subscription = Subscription(self, number, subject, queue)
        self._active[number] = subscription
        self.routes[number] = _guard(subject, on_message)
        return subscription

    def remove(self, number: int) -> None:
        """Remove a subscription and its callback."""
        self._active.pop(number, None)
        self.routes.pop(number, None)

    def exclude(self, number: int) -> None:
        """Do not restore a subscription on a new link, but keep its callback."""
        self._active.pop(number, None)

    def restore(self, link: Link) -> None:
        """Make every subscription on a new link."""
        for subscription in self._active.values():
            subscription.is_refused = False
            subscription.restore(link)

    @property
    def newest(self) -> int:
        """The number of the newest subscription; 0 when there is none."""
        return self._newest

    def mark_flushed(self, number: int) -> None:
        """Record that the server has read all subscriptions up to this one, so that later refusals are not new."""
        self._flushed = max(self._flushed, number)

    def on_refused(self, subject: str, get_link: Callable[[], Link | None]) -> Refusal:
        """Record a refusal, given the subject in lower case, and subscribe again after 2 s."""
        found = [
            subscription for subscription in self._active.values() if subscription.subject.lower() == subject
        ]
        if not found:
            return Refusal(subject, is_new=True, is_repeated=False)
        is_repeated = all(subscription.is_refused for subscription in found)
        for subscription in found:
            subscription.is_refused, subscription.is_retried = True, False
        if self._retry is None:
            self._retry = asyncio.get_running_loop().call_later(_RETRY, self._retry_refused, get_link)
        is_new = any(subscription.number > self._flushed for subscription in found)
        return Refusal(found[0].subject, is_new=is_new and not is_repeated, is_repeated=is_repeated)

    def stop(self) -> None:
        """Stop retrying refused subscriptions."""
        if self._retry is not None:
            self._retry.cancel()

    def _retry_refused(self, get_link: Callable[[], Link | None]) -> None:
        self._retry = None
        link = get_link()
        refused = [subscription for subscription in self._active.values() if subscription.is_refused]
        if link is None or not refused:
            return  # a new link restores all of them
        for subscription in refused:
            subscription.is_retried = True
            subscription.restore(link)
        link.ping().add_done_callback(partial(_mark_accepted, refused))


def _mark_accepted(retried: Sequence[Subscription], pong: asyncio.Future[bool]) -> None:
    """Clear the refusal of the subscriptions that the server did not refuse again before the pong."""
    if pong.cancelled() or not pong.result():
        return
    for subscription in retried:
        if subscription.is_retried:
            subscription.is_refused = subscription.is_retried = False
            extra = log_fields(LogEvent.PERMISSION_RESTORED, subject=subscription.subject)
            _log.info('the account may subscribe to "%s" again', subscription.subject, extra=extra)


def _no_link() -> Link | None:
    return None


def _guard(subject: str, on_message: Callable[[Message], None]) -> Callable[[Message], None]:
    def deliver(message: Message) -> None:
        try:
            on_message(message)
        except Exception:  # noqa: BLE001 - it runs in nats-py's reader, which any exception would end
            extra = log_fields(LogEvent.CALLBACK_RAISED, subject=subject)
            _log.exception('the callback of the subscription to "%s" raised', subject, extra=extra)

    return deliver
