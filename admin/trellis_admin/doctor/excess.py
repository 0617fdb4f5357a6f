"""Finds what an account may do beyond a role. Nothing is stored, delivered or changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, get_args

from trellis_nats import Runtime
from trellis_nats._nats.connection import Connection
from trellis_nats.grants import Grant, Probe, Role, api, example, publish, subscribe
from trellis_nats.jobs.model.subjects import EVENTS_PREFIX
from trellis_nats.permissions import Permissions, permissions_for
from trellis_nats.permissions.config import covers
from trellis_nats.permissions.preflight import find_denied
from trellis_nats.permissions.roles import grants_of, trace_subject

__all__ = ["find_excess"]

_STRANGER: Final = "trellis-doctor-probe"
"""A service, a stream and an inbox that do not exist."""
_ROLES: Final[tuple[Role, ...]] = get_args(Role)
_BROAD: Final = (
    publish(
        f"{EVENTS_PREFIX}.{_STRANGER}.{_STRANGER}.{_STRANGER}.created",
        "write events of the jobs of any service",
        probe=Probe.WRONG_STREAM,
    ),
    api(f"STREAM.DELETE.{_STRANGER}", "delete any stream"),
    api(f"STREAM.PURGE.{_STRANGER}", "purge any stream"),
    publish(f"rpc.v1.{_STRANGER}", "call any RPC"),
    subscribe(f"rpc.v1.{_STRANGER}", "serve any RPC"),
    subscribe(f"_INBOX.{_STRANGER}.>", "receive the answers to any program"),
)


async def find_excess(connection: Connection, runtimes: Sequence[Runtime], role: Role) -> list[Grant]:
    """Return what an account may do, and the role does not need in any of these services.

    Asked are the rights of the other roles, and some broad ones. What no role has, and is not broad, is not found.

    Args:
        connection: to the server.
        runtimes: the services, at least one.
        role: that of the account.

    Raises:
        RequestTimeout: the server did not answer.
    """
    allowed = Permissions()
    for runtime in runtimes:
        allowed |= permissions_for(runtime, role)
    others = [grant for runtime in runtimes for other in _ROLES for grant in grants_of(runtime, other)]
    asked = [grant for grant in dict.fromkeys((*_BROAD, *others)) if _is_beyond(grant, allowed)]
    trace_to = trace_subject(runtimes[0].contract.name)
    silent = {Probe.NONE}
    if not any(covers(pattern, trace_to) for pattern in allowed.publish):
        silent.add(
            Probe.TRACE_ONLY
        )  # the server would deny the trace, and not say whether it would deny the message
    asked = [grant for grant in asked if grant.operation == "subscribe to" or grant.probe not in silent]
    denied = await find_denied(connection, asked, trace_to=trace_to)
    return [grant for grant in asked if grant not in denied]


def _is_beyond(grant: Grant, allowed: Permissions) -> bool:
    match grant.operation:
        case "publish to":
            subject = example(grant.subject)  # what the server is asked about
            return not any(covers(pattern, subject) for pattern in allowed.publish)
        case "subscribe to":
            return not any(covers(pattern, grant.subject) for pattern in allowed.subscribe)
        case "answer requests on":
            return False
