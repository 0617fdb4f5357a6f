"""Reads the heartbeats of workers. Pure."""

from __future__ import annotations

import json
from typing import Final, cast

from trellis_nats.jobs.model.event import instant

from trellis_admin.projection.codes import MINUTE, to_milliseconds
from trellis_admin.projection.event_members import clean_text
from trellis_admin.projection.incoming import Incoming
from trellis_admin.projection.rows import Worker

__all__ = ["read_heartbeat"]

_EXTENSION_MAX: Final = 4_000
_CONCURRENCY_MAX: Final = 1_000_000
_KNOWN: Final = frozenset({"service", "jobType", "instanceId", "concurrency", "version", "timestamp"})


def read_heartbeat(prefix: str, instance: str, message: Incoming) -> Worker | None:
    """Return what a heartbeat says; None for a message that is not one.

    Args:
        prefix: the publish prefix that its subject stands for.
        instance: the process that its subject names.
        message: the message.
    """
    try:
        body: object = json.loads(message.data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(body, dict):
        return None
    members = cast("dict[str, object]", body)
    service, queue, written = members.get("service"), members.get("jobType"), members.get("timestamp")
    if not isinstance(service, str) or not isinstance(queue, str) or members.get("instanceId") != instance:
        return None
    concurrency, version = members.get("concurrency"), members.get("version")
    at = instant(written) if isinstance(written, str) else None
    extension = json.dumps({name: value for name, value in members.items() if name not in _KNOWN})
    sent = message.stored_at if at is None else min(to_milliseconds(at), message.stored_at + MINUTE)
    return Worker(
        instance=instance,
        prefix=prefix,
        service=clean_text(service),
        queue=clean_text(queue),
        sequence=message.sequence,
        at=sent,
        first_at=sent,
        concurrency=min(concurrency, _CONCURRENCY_MAX) if type(concurrency) is int and concurrency > 0 else 1,
        version=clean_text(version) if isinstance(version, str) else None,
        extension=extension if len(extension) <= _EXTENSION_MAX else "{}",
    )
