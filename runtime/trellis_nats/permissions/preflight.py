"""Asks the server whether an account may do what a service needs, before the service does anything.

Everything is asked at once, and answered within a round trip: a server tells only what it denies, and a pong after the
questions says that it has read them all. No question is stored, executed, or heard by anybody as if it were real.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from typing import Final

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.permission_errors import PermissionViolation
from trellis_nats._nats.wire.message import Message
from trellis_nats.errors import NotConnected, PermissionsMissing
from trellis_nats.grants import Grant, Probe, example
from trellis_nats.permissions.connection import trace_subject
from trellis_nats.permissions.reply_probe import ReplyProbe
from trellis_nats.permissions.roles import starting
from trellis_nats.permissions.usage import usage_of
from trellis_nats.runtime import Runtime

__all__ = ["denied", "require_rights"]

_log = logging.getLogger(__name__)

_TRACE_SINCE: Final = (2, 11, 0)
"""Older servers do not know traced messages, and would deliver them."""
_MALFORMED: Final = b"{"
"""JetStream refuses it as a request; and nothing is answered to a message without a reply subject."""
_NOT_HERE: Final = {"Nats-Expected-Stream": "trellis-probe"}


async def require_rights(runtime: Runtime) -> None:
    """See whether the account may do what the handlers of a service need. Say what else is off.

    Raises:
        PermissionsMissing: it may not; every missing permission is named.
        RequestTimeout: the server did not answer.
    """
    connection = runtime.connection
    usage = usage_of(runtime, is_client=False)
    grants = tuple(dict.fromkeys(starting(usage)))
    async with AsyncExitStack() as questions:
        question = None
        if usage.jobs is not None and usage.handled_queues:
            own_subject = f"trellis.job_claims.{usage.jobs.namespace}.{runtime.instance_id}"
            question = await questions.enter_async_context(ReplyProbe.asked(connection, own_subject))
        found = await denied(connection, grants, trace_to=trace_subject(usage.service))
        missing = [str(grant) for grant in found if grant.is_needed]
        if question is not None and await question.is_answer_denied():
            missing.append('answer requests, which is "allow_responses" of the user')
    if missing:
        raise PermissionsMissing(missing)
    off = [str(grant) for grant in found]
    if off:
        _log.info("the account may not do some of what %s offers: %s", runtime.contract.id, "; ".join(off))


async def denied(connection: Connection, grants: Sequence[Grant], *, trace_to: str) -> list[Grant]:
    """Return those of the grants that the account does not have, as far as that can be seen without an effect.

    Raises:
        RequestTimeout: the server did not answer.
        NotConnected: the connection was closed.
    """
    can_trace = connection.server_version >= _TRACE_SINCE
    asked = [each for each in grants if can_trace or each.probe is not Probe.TRACED]
    expected = {PermissionViolation(each.operation, _asked_about(each).lower()) for each in asked}
    expected.add(PermissionViolation("publish to", trace_to.lower()))
    heard = await _heard(connection, asked, expected, trace_to)
    return [
        each for each in asked if PermissionViolation(each.operation, _asked_about(each).lower()) in heard
    ]


async def _heard(
    connection: Connection, asked: Iterable[Grant], expected: set[PermissionViolation], trace_to: str
) -> set[PermissionViolation]:
    heard: set[PermissionViolation] = set()

    def take(denial: PermissionViolation) -> bool:
        if denial in expected:
            heard.add(denial)
        return denial in expected

    forget = connection.on_permission_error(take)
    try:
        link = None
        while link is None or link is not connection.link:
            await connection.wait_connected()
            link = connection.link
            try:
                for grant in asked:
                    await _ask(connection, grant, trace_to)
            except NotConnected:
                continue
            await connection.flush()
    finally:
        forget()
    return heard


async def _ask(connection: Connection, grant: Grant, trace_to: str) -> None:
    subject = _asked_about(grant)
    if grant.operation == "subscribe to":
        subscription = connection.subscribe(subject, _ignore)
        await subscription.unsubscribe()
        return
    match grant.probe:
        case Probe.UNHEARD:
            await connection.publish(subject, _MALFORMED)
        case Probe.REFUSED:
            await connection.publish(subject, b"", headers=_NOT_HERE)
        case Probe.TRACED:
            traced = {"Nats-Trace-Dest": trace_to, "Nats-Trace-Only": "true"}
            await connection.publish(subject, b"", headers=traced)


def _asked_about(grant: Grant) -> str:
    return grant.subject if grant.operation == "subscribe to" else example(grant.subject)


def _ignore(_: Message) -> None:
    """Leave what comes in the moment of a question to who listens for good."""
