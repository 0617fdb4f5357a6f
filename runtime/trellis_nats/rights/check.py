"""Asks the server whether an account may do what a service needs, before the service does anything.

Everything is asked at once, and answered within a round trip: a server tells only what it denies, and a pong after the
questions says that it has read them all. No question is stored, executed, or heard by anybody as if it were real.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Final

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.denials import Denial
from trellis_nats._nats.message import Message
from trellis_nats.errors import PermissionsMissing
from trellis_nats.rights.grant import Grant, Probe, example
from trellis_nats.rights.roles import starting
from trellis_nats.rights.surfaces import trace_subject
from trellis_nats.rights.usage import usage_of
from trellis_nats.runtime import Runtime

__all__ = ["denied", "require_rights"]

_log = logging.getLogger(__name__)

_TRACE_SINCE: Final = (2, 11, 0)
"""Older servers do not know traced messages, and would deliver them."""
_MALFORMED: Final = b"{"
"""JetStream refuses it as a request; and nothing is answered to a message without a reply subject."""
_NOT_HERE: Final = {"Nats-Expected-Stream": "trellis-probe"}
_ANSWERS: Final = 'answer requests (allow_responses), as on "{}"'


async def require_rights(runtime: Runtime) -> None:
    """See whether the account may do what the handlers of a service need. Say what else is off.

    Raises:
        PermissionsMissing: it may not; every missing permission is named.
        RequestTimeout: the server did not answer.
    """
    connection = runtime.connection
    usage = usage_of(runtime, is_client=False)
    grants = tuple(dict.fromkeys(starting(usage)))
    found = await denied(connection, grants, trace_to=trace_subject(usage.service))
    missing = [str(grant) for grant in found if grant.is_needed]
    own_claim = None
    if usage.jobs is not None and usage.handled_queues:
        own_claim = f"trellis.job_claims.{usage.jobs.namespace}.{runtime.instance_id}"
    if not missing and own_claim is not None and not await _may_answer(connection, own_claim):
        missing.append(_ANSWERS.format(own_claim))
    if missing:
        raise PermissionsMissing(missing)
    off = [str(grant) for grant in found]
    if off:
        _log.info("the account may not do some of what %s offers: %s", runtime.contract.id, "; ".join(off))


async def denied(connection: Connection, grants: Sequence[Grant], *, trace_to: str) -> list[Grant]:
    """Return those of the grants that the account does not have, as far as that can be seen without an effect.

    Raises:
        RequestTimeout: the server did not answer.
    """
    can_trace = connection.server_version >= _TRACE_SINCE
    asked = [each for each in grants if can_trace or each.probe is not Probe.TRACED]
    expected = {Denial(each.operation, _asked_about(each).lower()) for each in asked}
    expected.add(Denial("publish to", trace_to.lower()))
    heard = await _heard(connection, asked, expected, trace_to)
    return [each for each in asked if Denial(each.operation, _asked_about(each).lower()) in heard]


async def _heard(
    connection: Connection, asked: Iterable[Grant], expected: set[Denial], trace_to: str
) -> set[Denial]:
    heard: set[Denial] = set()

    def take(denial: Denial) -> bool:
        if denial in expected:
            heard.add(denial)
        return denial in expected

    forget = connection.on_denial(take)
    try:
        link = None
        while link is None or link is not connection.link:
            await connection.wait_connected()
            link = connection.link
            for grant in asked:
                await _ask(connection, grant, trace_to)
            await connection.flush()
    finally:
        forget()
    return heard


async def _ask(connection: Connection, grant: Grant, trace_to: str) -> None:
    subject = _asked_about(grant)
    if grant.operation == "subscribe to":
        subscription = connection.listen(subject, _ignore)
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


async def _may_answer(connection: Connection, own_subject: str) -> bool:
    """Ask a question of oneself, and see whether the answer is denied."""
    inbox = connection.new_inbox()
    refusal = Denial("publish to", inbox.lower())
    refused: list[Denial] = []

    def take(denial: Denial) -> bool:
        if denial == refusal:
            refused.append(denial)
        return denial == refusal

    def answer(question: Message) -> None:
        if question.reply == inbox:
            connection.send(inbox, b"")

    forget = connection.on_denial(take)
    subscription = connection.listen(own_subject, answer)
    try:
        await connection.publish(own_subject, b"", reply=inbox)
        await connection.flush()  # now the question has come back, and the answer is on its way
        await connection.flush()
    finally:
        await subscription.unsubscribe()
        forget()
    return not refused


def _ignore(_: Message) -> None:
    """Leave what comes in the moment of a question to who listens for good."""
