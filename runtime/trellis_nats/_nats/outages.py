"""Repeats what changes nothing until NATS answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final, TypeVar

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.link.backoff import Backoff
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats._support.log_throttle import LogThrottle
from trellis_nats.errors import (
    ApiError,
    NoResponders,
    NotConnected,
    PermissionDenied,
    RequestTimeout,
    TransportError,
    WriteUnknown,
)

__all__ = ["through_outages"]

T = TypeVar("T")

_log_throttle: Final = LogThrottle(logging.getLogger(__name__), every=timedelta(seconds=30))

_PAUSE_FIRST: Final = timedelta(milliseconds=100)
_PAUSE_LONGEST: Final = timedelta(seconds=2)
"""Short, so that a caller notices within seconds that NATS answers again."""
_SERVER_ERRORS: Final = 500
"""From this code on an error of JetStream is the server's, for example 503 while it starts; below, the request's."""


async def through_outages(
    connection: Connection,
    operation: Callable[[], Awaitable[T]],
    *,
    what: str,
    through_denials: bool = False,
) -> T:
    """Call `operation` until NATS answers, however long that takes, and return its result.

    Args:
        connection: what the operation uses.
        operation: reads, subscribes, creates what may exist already, or repeats a write until it is stored.
        what: names the operation in the log.
        through_denials: whether to repeat it also while the account lacks the permission.

    Raises:
        NotConnected: the connection was closed.
        PermissionDenied: the account may not do this; not with `through_denials`.
        ApiError: the server refused the request.
    """
    backoff = Backoff(_PAUSE_FIRST, _PAUSE_LONGEST)
    while True:
        try:
            return await operation()
        except (RequestTimeout, NoResponders, NotConnected, WriteUnknown) as error:
            _log_repeat(connection, what, error)
        except ApiError as error:
            if error.code < _SERVER_ERRORS:
                raise
            _log_repeat(connection, what, error)
        except PermissionDenied as error:
            if not through_denials:
                raise
            _log_repeat(connection, what, error)
        await connection.wait_connected()
        await asyncio.sleep(backoff.next().total_seconds())


def _log_repeat(connection: Connection, what: str, error: TransportError) -> None:
    # While there is no connection, the supervisor logs why.
    level = logging.WARNING if connection.is_connected else logging.DEBUG
    extra = log_fields(LogEvent.READ_FAILED)
    _log_throttle.write(level, type(error).__name__, "%s is repeated: %s", what, error, extra=extra)
