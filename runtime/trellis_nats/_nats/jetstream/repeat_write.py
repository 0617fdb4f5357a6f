"""Repeats a write whose acknowledgement was lost, until its outcome is known."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats._support.log_throttle import LogThrottle
from trellis_nats.errors import TransportError, WriteUnknown, WrongLastSequence

__all__ = ["RepeatRefused", "repeat_write"]

_log_throttle: Final = LogThrottle(logging.getLogger(__name__))

_WRITES_MAX: Final = 3
"""How often a write is sent. Each time waits a full request timeout, for the connection or the acknowledgement."""

AckT = TypeVar("AckT")


class RepeatRefused(WriteUnknown):
    """A repeat was refused by its fence: something newer is stored, maybe the first write."""


async def repeat_write(
    write: Callable[[], Awaitable[AckT]],
    *,
    what: str,
    queue: str | None = None,
    job_id: str | None = None,
    unknown: WriteUnknown | None = None,
) -> AckT:
    """Call `write`, up to three times while its outcome is unknown, and return its result.

    Every call must write the same message under the same message id, or behind the same fence, so that the stream
    stores it once.

    Args:
        write: sends the message and waits for the acknowledgement.
        what: the message, for log and error texts.
        queue: the queue, for the log.
        job_id: the job, for the log.
        unknown: why the outcome of a first write is unknown, if the caller has sent one.

    Raises:
        RepeatRefused: an acknowledgement was lost, and the fence refused the repeat.
        WriteUnknown: no write was acknowledged; the message may be stored, now or a moment later.
        TransportError: the first write failed for certain; nothing was stored.
    """
    for _ in range(_WRITES_MAX if unknown is None else _WRITES_MAX - 1):
        if unknown is not None:
            extra = log_fields(LogEvent.WRITE_REPEATED, queue=queue, job_id=job_id)
            _log_throttle.write(logging.WARNING, "", "%s is written again: %s", what, unknown, extra=extra)
        try:
            return await write()
        except WriteUnknown as error:
            unknown = error
        except WrongLastSequence as error:
            if unknown is None:
                raise
            raise RepeatRefused(f"{what} may have been stored: {error}") from error
        except TransportError:
            if unknown is None:
                raise
    raise WriteUnknown(
        f"{what} may have been stored: none of {_WRITES_MAX} writes was acknowledged"
    ) from unknown
