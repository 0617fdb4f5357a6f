"""What the admin tools store on the server: the stream of the audit log and the bucket of bulk actions.

Neither belongs to a service, so no service provisions them: they are created on first use, by an account that may.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Final

from trellis_nats import TrellisError
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.kv import KvBucket, kv_stream
from trellis_nats._nats.jetstream.streams import create_stream, get_stream_info
from trellis_nats.clock import to_nanoseconds
from trellis_nats.errors import ApiError, PermissionDenied
from trellis_nats.jobs.model.subjects import ADMIN_BUCKET, AUDIT_PREFIX, AUDIT_STREAM
from trellis_nats.provision import BucketRequirement, StreamRequirement
from trellis_nats.provision.plan import stream_config

from trellis_admin.audit_log.records import KEPT_FOR

__all__ = [
    "ADMIN_BUCKET",
    "AdminResourceMissing",
    "CannotRead",
    "create_audit_stream",
    "explain_missing",
    "open_admin_bucket",
    "stream_bounds",
]

_CLUSTER: Final = 3
"""From so many servers on, what is created has three replicas."""
_EXISTS: Final = 10058
"""The server's error code for a stream of this name with another configuration."""

_AUDIT: Final = StreamRequirement(
    name=AUDIT_STREAM,
    config={
        "subjects": [f"{AUDIT_PREFIX}.>"],
        "retention": "limits",
        "storage": "file",
        "discard": "old",
        "max_age": to_nanoseconds(KEPT_FOR),
        "deny_delete": True,
        "deny_purge": True,
        "allow_direct": True,
    },
)
_BUCKET: Final = BucketRequirement(bucket=ADMIN_BUCKET)


class AdminResourceMissing(TrellisError):
    """What the admin tools store cannot be created or written. Nothing was done."""


class CannotRead(TrellisError):
    """The account may not read what the admin tools store."""


async def create_audit_stream(connection: Connection) -> None:
    """Create the stream of the audit log. One that exists already is not an error.

    Raises:
        AdminResourceMissing: the account may not create it.
        TransportError: the server did not answer.
    """
    await _create(connection, _AUDIT, "the audit log")


async def open_admin_bucket(connection: Connection) -> KvBucket:
    """Return the bucket of bulk actions, which is created if it does not exist.

    Raises:
        AdminResourceMissing: it does not exist, and the account may not create it.
        TransportError: the server did not answer.
    """
    with suppress(PermissionDenied):  # it may exist: a write shows that
        if await get_stream_info(connection, kv_stream(ADMIN_BUCKET)) is None:
            await _create(connection, _BUCKET.stream, "bulk actions")
    return KvBucket(connection, ADMIN_BUCKET)


@contextmanager
def explain_missing(what: str, stream: str) -> Generator[None]:
    """Say what to do where the account may not read a stream.

    Raises:
        CannotRead: it may not.
    """
    try:
        yield
    except PermissionDenied as denial:
        raise CannotRead(
            f"{what} cannot be read from stream {stream}: {denial}; connect with an account that has the role viewer or "
            'operator: permissions(…, "viewer") lists what it needs'
        ) from denial


async def _create(connection: Connection, wanted: StreamRequirement, purpose: str) -> None:
    replicas = _CLUSTER if connection.server_count >= _CLUSTER else 1
    try:
        await create_stream(connection, stream_config(wanted, replicas=replicas, has_batches=False))
    except PermissionDenied as denial:
        raise AdminResourceMissing(
            f"{wanted.title}, which {purpose} needs, does not exist, and {denial}; run this command once with an account "
            'that may create it: permissions(…, "operator") lists what it needs'
        ) from denial
    except ApiError as error:
        if error.err_code != _EXISTS:
            raise AdminResourceMissing(
                f"{wanted.title}, which {purpose} needs, does not exist, and cannot be created: {error.description}"
            ) from error


async def stream_bounds(connection: Connection, stream: str) -> tuple[int, int] | None:
    """Return the first and the last sequence of a stream; None when it does not exist, or nothing was stored in it yet.

    Raises:
        TransportError: the server did not answer.
    """
    info = await get_stream_info(connection, stream)
    match info:
        case {"state": {"first_seq": int(first), "last_seq": int(last)}} if last > 0:
            return first, last
        case _:
            return None
