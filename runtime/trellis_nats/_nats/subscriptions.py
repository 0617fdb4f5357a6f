"""Subscriptions: kept here, restored on every new link."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from typing import Final, NamedTuple

from trellis_nats._nats.link.link import Link, settled
from trellis_nats._nats.wire.message import Message
from trellis_nats._nats.wire.outgoing import checked_subject, encode_subscribe, encode_unsubscribe

__all__ = ["Refusal", "Subscription", "Subscriptions"]

_log = logging.getLogger(__name__)

_ASK_AGAIN: Final = 2.0
"""Seconds until a refused subscription is tried again. A server that reads new permissions drops the subscriptions that
they do not allow, and does not bring them back with the permission."""


class Refusal(NamedTuple):
    """A subscription that the account may not have."""

    subject: str
    """As it was written."""
    is_new: bool
    """Whether nobody has been told since the subscription was made."""
    is_repeated: bool
    """Whether it was refused before, and tried again."""


class Subscription:
    """Interest in a subject."""

    def __init__(self, owner: Subscriptions, number: int, subject: str, queue: str) -> None:
        self.subject = subject
        self.queue = queue
        self.is_refused = False
        self.is_tried_again = False
        self._owner = owner
        self._number = number
        self._live: Callable[[], Link | None] = _no_link

    def attach(self, live: Callable[[], Link | None]) -> None:
        """Begin, on the current link if there is one."""
        self._live = live
        link = live()
        if link is not None:
            self.restore(link)

    @property
    def number(self) -> int:
        """Its place in the order in which they were made."""
        return self._number

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
        self._newest = 0
        self._confirmed = 0
        self._trying: asyncio.TimerHandle | None = None

    def add(self, subject: str, queue: str, on_message: Callable[[Message], None]) -> Subscription:
        """Register one.

        Raises:
            ValueError: the subject or the queue is malformed.
        """
        checked_subject(subject)
        if queue:
            checked_subject(queue)
        self._newest = number = next(self._numbers)
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
            subscription.is_refused = False
            subscription.restore(link)

    @property
    def newest(self) -> int:
        """The number of the subscription that was made last; 0 when there is none."""
        return self._newest

    def confirm(self, number: int) -> None:
        """Take note that the server has read all up to this one, and that who made them knows what it said."""
        self._confirmed = max(self._confirmed, number)

    def refused(self, subject: str, live: Callable[[], Link | None]) -> Refusal:
        """Take note of a refusal, given the subject in lower case, and try again after a while."""
        found = [each for each in self._kept.values() if each.subject.lower() == subject]
        if not found:
            return Refusal(subject, is_new=True, is_repeated=False)
        is_repeated = all(each.is_refused for each in found)
        for each in found:
            each.is_refused, each.is_tried_again = True, False
        if self._trying is None:
            self._trying = asyncio.get_running_loop().call_later(_ASK_AGAIN, self._try_again, live)
        is_new = any(each.number > self._confirmed for each in found)
        return Refusal(found[0].subject, is_new=is_new and not is_repeated, is_repeated=is_repeated)

    def stop(self) -> None:
        """Try nothing again."""
        if self._trying is not None:
            self._trying.cancel()

    def _try_again(self, live: Callable[[], Link | None]) -> None:
        self._trying = None
        link = live()
        refused = [each for each in self._kept.values() if each.is_refused]
        if link is None or not refused:
            return  # a new link is told of all
        for each in refused:
            each.is_tried_again = True
            each.restore(link)
        link.ping().add_done_callback(partial(_accepted, refused))


def _accepted(tried: Sequence[Subscription], pong: asyncio.Future[bool]) -> None:
    """Take note of those that were not refused again before the pong."""
    if pong.cancelled() or not pong.result():
        return
    for each in tried:
        if each.is_tried_again:
            each.is_refused = each.is_tried_again = False
            _log.info('the account may subscribe to "%s" again', each.subject)


def _no_link() -> Link | None:
    return None


def _guarded(subject: str, on_message: Callable[[Message], None]) -> Callable[[Message], None]:
    def deliver(message: Message) -> None:
        try:
            on_message(message)
        except Exception:  # noqa: BLE001 - it runs in nats-py's reader, which any exception would end
            _log.exception('the callback of the subscription to "%s" failed', subject)

    return deliver
