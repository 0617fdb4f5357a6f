"""Asks the server whether an account has the permissions that a service needs, before the service does anything.

Everything is asked at once and answered within a round trip: a server reports only what it denies, and a pong after the
probes shows that it has read them all. No probe is stored, executed, or delivered as if it were a real message.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from typing import Final

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.unstored_request import UNSTORED
from trellis_nats._nats.permission_errors import PermissionViolation
from trellis_nats._nats.wire.message import Message
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats.errors import NotConnected
from trellis_nats.grants import Grant, Probe, StartCheck, example
from trellis_nats.permissions.missing import permissions_missing
from trellis_nats.permissions.reply_probe import ReplyProbe
from trellis_nats.permissions.roles import grants_of, trace_subject
from trellis_nats.runtime import Runtime

__all__ = ["find_denied", "require_permissions"]

_log = logging.getLogger(__name__)

_TRACE_SINCE: Final = (2, 11, 0)
"""Older servers do not know traced messages, and would deliver them."""
_TRACE_GARBLED: Final = (((2, 12, 6), (2, 12, 8)), ((2, 14, 0), (2, 14, 2)))
"""From and to which version servers send the report on a traced message to a subject from a buffer into which they read
already, so that a client that subscribes to everything receives any bytes as a subject, and may be cut off by them. Tried on
2.11.0, 2.11.11, 2.12.0, 2.12.5 to 2.12.8, 2.14.0 to 2.14.3, 2.14.6, 2.15.0 and 2.15.1."""
_MALFORMED: Final = b"{"
"""JetStream refuses it as a request, and sends no answer where there is no reply subject."""


async def require_permissions(runtime: Runtime) -> frozenset[Grant]:
    """Check that the account has the permissions that the handlers of a service need.

    Returns:
        The optional ones that it lacks, which are logged.

    Raises:
        PermissionsMissing: it lacks some; every missing permission is named.
        RequestTimeout: the server did not answer.
    """
    connection = runtime.connection
    wanted = dict.fromkeys(grants_of(runtime, "worker"))
    checked = [grant for grant in wanted if grant.at_start is not StartCheck.SKIPPED]
    answers = [grant for grant in checked if grant.operation == "answer requests on"]
    others = [grant for grant in checked if grant not in answers]
    requests = [grant for grant in answers if grant.probe is not Probe.NONE]
    trace_to = trace_subject(runtime.contract.name)
    async with AsyncExitStack() as stack:
        probes = [
            await stack.enter_async_context(ReplyProbe.send(connection, grant)) for grant in requests[:1]
        ]
        denied = await find_denied(connection, others, trace_to=trace_to)
        is_denied = await probes[0].is_answer_denied() if probes else False
    for grant in requests[1:]:
        if is_denied is not None:
            break
        async with ReplyProbe.send(connection, grant) as probe:
            await connection.flush()
            is_denied = await probe.is_answer_denied()
    if is_denied:  # it is one permission for all subjects
        denied += answers
    missing = dict.fromkeys(str(grant) for grant in denied if grant.at_start is StartCheck.REQUIRED)
    if missing:
        raise permissions_missing(runtime, list(missing))
    if denied:
        _log.info(
            "the account lacks optional permissions of %s: %s",
            runtime.contract.id,
            "; ".join(dict.fromkeys(map(str, denied))),
            extra=log_fields(LogEvent.PERMISSIONS_LIMITED),
        )
    return frozenset(denied)


async def find_denied(connection: Connection, grants: Sequence[Grant], *, trace_to: str) -> list[Grant]:
    """Return those of the grants that the account lacks, as far as the server can be asked without an effect.

    Raises:
        RequestTimeout: the server did not answer.
        NotConnected: the connection was closed.
    """
    impossible = {Probe.NONE} if _can_trace(connection.server_version) else {Probe.NONE, Probe.TRACE_ONLY}
    probed = [grant for grant in grants if grant.probe not in impossible]
    expected = {*map(_violation_of, probed), PermissionViolation("publish to", trace_to.lower())}
    violations = await _probe(connection, probed, expected, trace_to)
    return [grant for grant in probed if _violation_of(grant) in violations]


def _can_trace(version: tuple[int, int, int]) -> bool:
    return version >= _TRACE_SINCE and not any(first <= version <= last for first, last in _TRACE_GARBLED)


async def _probe(
    connection: Connection, grants: Iterable[Grant], expected: set[PermissionViolation], trace_to: str
) -> set[PermissionViolation]:
    violations: set[PermissionViolation] = set()

    def take(violation: PermissionViolation) -> bool:
        if violation in expected:
            violations.add(violation)
        return violation in expected

    remove = connection.on_permission_error(take)
    try:
        link = None
        while link is None or link is not connection.link:
            await connection.wait_connected()
            link = connection.link
            try:
                for grant in grants:
                    await _send(connection, grant, trace_to)
            except NotConnected:
                continue
            await connection.flush()
    finally:
        remove()
    return violations


async def _send(connection: Connection, grant: Grant, trace_to: str) -> None:
    if grant.operation == "subscribe to":
        subscription = connection.subscribe(grant.subject, _ignore)
        await subscription.unsubscribe()
        return
    subject = example(grant.subject)
    match grant.probe:
        case Probe.NO_REPLY:
            await connection.publish(subject, _MALFORMED)
        case Probe.WRONG_STREAM:
            await connection.publish(subject, b"", headers=UNSTORED)
        case Probe.TRACE_ONLY:
            traced = {"Nats-Trace-Dest": trace_to, "Nats-Trace-Only": "true"}
            await connection.publish(subject, b"", headers=traced)
        case Probe.NONE:
            pass


def _violation_of(grant: Grant) -> PermissionViolation:
    if grant.operation == "subscribe to":
        return PermissionViolation("subscribe to", grant.subject.lower())
    return PermissionViolation("publish to", example(grant.subject).lower())


def _ignore(_: Message) -> None:
    """Ignore a message that arrives between subscribing and unsubscribing."""
