"""One subscription on the server for all that subscribe to an event in this process."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.subscriptions import Subscription
from trellis_nats._nats.wire.message import Message
from trellis_nats.errors import PermissionDenied

__all__ = ["SharedSubscription"]


class SharedSubscription:
    """Passes each message on to every reader.

    With a subscription for each of them, a feed with 500 callers would receive each event 500 times: a burst of events ends the
    connection, because a server keeps 64 MiB at most for a client.
    """

    def __init__(self, subject: str) -> None:
        self._subject = subject
        self._readers: list[Callable[[Message], None]] = []
        self._subscription: Subscription | None = None

    @asynccontextmanager
    async def receive(
        self, connection: Connection, reader: Callable[[Message], None]
    ) -> AsyncGenerator[None]:
        """Call a reader for each message, within the block.

        Raises:
            PermissionDenied: the account may not subscribe to the subject.
            RequestTimeout: the server does not confirm the subscription.
        """
        subscription = self._subscription or connection.subscribe(self._subject, self._deliver)
        self._subscription = subscription
        self._readers.append(reader)
        try:
            await connection.flush()
            if subscription.is_refused:
                raise PermissionDenied("subscribe to", self._subject)
            yield
        finally:
            self._readers.remove(reader)
            if not self._readers:
                self._subscription = None
                subscription.cancel()

    def _deliver(self, message: Message) -> None:
        for reader in tuple(self._readers):
            reader(message)
