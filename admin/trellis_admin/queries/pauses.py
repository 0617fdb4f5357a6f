"""Reads which queues are paused. The records are in the buckets of the services, not in the projection."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from trellis_nats._nats.connection import Connection
from trellis_nats.errors import PermissionDenied
from trellis_nats.ids import is_token
from trellis_nats.jobs.model.subjects import EVENTS_PREFIX
from trellis_nats.jobs.pause import QueuePause, list_pauses

__all__ = ["read_pauses"]


async def read_pauses(connection: Connection, prefixes: Iterable[str]) -> dict[str, QueuePause]:
    """Return the paused queues of some services, by publish prefix. What the account may not look up is not among them.

    Args:
        connection: to the server.
        prefixes: the publish prefixes of queues; all queues of their services are looked up.

    Raises:
        TransportError: the server did not answer.
    """
    found: dict[str, QueuePause] = {}
    for namespace in sorted({prefix.split(".")[-2] for prefix in prefixes}):
        if not is_token(namespace):  # of another client: no queue of it can be paused
            continue
        with suppress(PermissionDenied):
            for queue, pause in (await list_pauses(connection, namespace)).items():
                found[f"{EVENTS_PREFIX}.{namespace}.{queue}"] = pause
    return found
