"""Reads which queues are paused. The records are in the buckets of the services, not in the projection."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from trellis_nats._nats.connection import Connection
from trellis_nats._support.bounded_gather import bounded_gather
from trellis_nats.errors import PermissionDenied
from trellis_nats.ids import is_token
from trellis_nats.jobs.model.subjects import EVENTS_PREFIX
from trellis_nats.jobs.pause import QueuePause, is_queue_held, list_pauses

__all__ = ["find_held", "read_pauses"]


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


async def find_held(connection: Connection, prefixes: Iterable[str]) -> frozenset[str]:
    """Return the queues whose consumers the server holds, by publish prefix, as far as the account may look that up.

    Args:
        connection: to the server.
        prefixes: the publish prefixes of the queues.

    Raises:
        TransportError: the server did not answer.
    """

    async def ask(prefix: str) -> bool:
        namespace, queue = prefix.split(".")[-2:]
        return is_token(namespace) and is_token(queue) and await is_queue_held(connection, namespace, queue)

    asked = [*prefixes]
    held = await bounded_gather(asked, ask)
    return frozenset(prefix for prefix, is_held in zip(asked, held, strict=True) if is_held)
