"""Purges the operations that ended long enough ago: one process of the service at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats._support.plural import plural
from trellis_nats.errors import PermissionDenied, TransportError
from trellis_nats.operations.store import OperationStore

__all__ = ["purge_repeatedly"]

_log = logging.getLogger(__name__)

_PURGED_MAX: Final = 10_000
"""How many records one purge removes at most. If there are more, the next one follows after the shorter pause."""


async def purge_repeatedly(
    store: OperationStore,
    kept: timedelta,
    *,
    every: timedelta,
    pause: timedelta,
    is_due: Callable[[], bool],
) -> None:
    """Purge until cancelled, or until the account turns out not to be allowed to.

    Args:
        store: the stored operations.
        kept: how long a record is kept after the end of its operation.
        every: the pause between two purges.
        pause: how long it takes to learn of all processes, and the pause between two looks whether this one is due.
        is_due: whether this process is the one that purges. A purge stops when it no longer is.
    """
    while True:
        await asyncio.sleep(pause.total_seconds())
        if not is_due():
            continue
        try:
            purged = await store.purge_ended(kept, limit=_PURGED_MAX, may_continue=is_due)
        except PermissionDenied as denial:
            fields = log_fields(LogEvent.MAINTENANCE_OFF)
            _log.warning("the purge of ended operations is off in this process: %s", denial, extra=fields)
            return
        except TransportError as error:
            fields = log_fields(LogEvent.MAINTENANCE_FAILED)
            _log.warning(
                "the purge of ended operations failed, next run in %s: %s", every, error, extra=fields
            )
            purged = 0
        if purged:
            fields = log_fields(LogEvent.OPERATIONS_PURGED)
            _log.info(
                "purged %s",
                plural(purged, "record of an ended operation", "records of ended operations"),
                extra=fields,
            )
        if purged < _PURGED_MAX:
            await asyncio.sleep(every.total_seconds())
