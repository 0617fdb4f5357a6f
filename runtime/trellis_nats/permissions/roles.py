"""The grants of each role: those that surfaces declare, and those that follow from their requirements. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Final

from trellis_nats._nats.jetstream.kv import kv_publish_subject
from trellis_nats.auth.session_key import inbox_prefix_of
from trellis_nats.errors import ConfigurationError
from trellis_nats.grants import Grant, Probe, Role, StartCheck, api, publish, subscribe
from trellis_nats.permissions.config import Permissions
from trellis_nats.provision.plan import Plan, plan
from trellis_nats.runtime import Runtime

__all__ = ["VIEWER_INBOX", "grants_of", "inbox_prefix", "permissions_for", "trace_subject"]

_ANSWER_WITHIN: Final = timedelta(minutes=10)
"""How long after a call its answer is allowed. The server's own default, 2 minutes, is short for a handler."""
_ADMIN_INBOX: Final = "_INBOX_trellis-admin"
"""The prefix of the inboxes of the admin tools: that of a contract `trellis-admin@v1`."""
VIEWER_INBOX: Final = f"{_ADMIN_INBOX}.viewer"
"""That of admin tools which only look: answers to operators, with payloads that they reveal, arrive elsewhere."""
_API: Final = "$JS.API."
_KV: Final = "$KV."
_INBOX: Final = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")


def permissions_for(runtime: Runtime, role: Role) -> Permissions:
    """Return what a role needs, and nothing else.

    Raises:
        ConfigurationError: a name in the contract, or the inbox prefix, is not valid in a subject.
    """
    inboxes = (subscribe(f"{prefix}.>", "receive answers") for prefix in _inbox_prefixes(runtime, role))
    # A server that maps a domain or prefix checks what it mapped; a leaf node without JetStream checks what was sent.
    grants = dict.fromkeys((*inboxes, *grants_of(runtime, role), *_declared_grants(runtime, role)))
    return Permissions.of(grants, allow_responses=_ANSWER_WITHIN)


def grants_of(runtime: Runtime, role: Role) -> list[Grant]:
    """Return what a role needs once it is connected, with the subjects that the runtime sends to.

    Raises:
        ConfigurationError: a name in the contract is not valid in a subject.
    """
    return [_with_prefix(grant, runtime.options.api_prefix) for grant in _declared_grants(runtime, role)]


def _declared_grants(runtime: Runtime, role: Role) -> list[Grant]:
    grants = [grant for surface in runtime.surfaces for grant in surface.grants(runtime.binding, role)]
    if any(grant.probe is Probe.TRACE_ONLY for grant in grants):
        subject = trace_subject(runtime.contract.name)
        grants.append(
            publish(
                subject,
                "check, without delivering anything, what may be published",
                at_start=StartCheck.OPTIONAL,
            )
        )
    if role in {"operator", "provisioner"}:
        grants += _verify_grants(plan(runtime.requirements()))
    if role == "provisioner":
        grants += _create_grants(plan(runtime.requirements()))
    return grants


def trace_subject(service: str) -> str:
    """Return the subject on which a server reports what it did with a traced message. No process subscribes to it."""
    return f"trellis.probes.{service}"


def inbox_prefix(runtime: Runtime) -> str:
    """Return the prefix of the inboxes for answers: the session key's, or the service's own, where its clients may not listen.

    Raises:
        ConfigurationError: `Options.inbox_prefix` is not a valid prefix of subjects, or not below that of the session key.
    """
    chosen, key = runtime.options.inbox_prefix, runtime.session_key
    if key is not None:
        of_key = inbox_prefix_of(key)
        if chosen is None:
            return of_key
        if not f"{chosen}.".startswith(f"{of_key}."):
            raise ConfigurationError(
                f'inbox_prefix "{chosen}" is not below "{of_key}": services answer a program that signs '
                "only there; leave it out, or choose a longer one"
            )
    elif chosen is None:
        return f"_INBOX_{runtime.contract.name}" + (".client" if runtime.is_client else "")
    if _INBOX.fullmatch(chosen) is None:
        raise ConfigurationError(
            f'inbox_prefix "{chosen}" must be tokens of A-Z a-z 0-9 _ - with dots between them'
        )
    return chosen


def _inbox_prefixes(runtime: Runtime, role: Role) -> tuple[str, ...]:
    """Return the inboxes of a role. A viewer has no part in those where answers to workers and operators arrive."""
    own = inbox_prefix(runtime)
    is_chosen = runtime.options.inbox_prefix is not None or runtime.session_key is not None
    match role:
        case "viewer":
            return (own if is_chosen else VIEWER_INBOX,)
        case "operator":
            return (own, own if is_chosen else _ADMIN_INBOX)
        case _:
            return (own,)


def _with_prefix(grant: Grant, prefix: str) -> Grant:
    """Return the grant as it is where JetStream's API has another prefix."""
    if grant.operation != "publish to":
        return grant
    if grant.subject.startswith(_API):
        return replace(grant, subject=f"{prefix}.{grant.subject.removeprefix(_API)}")
    if grant.subject.startswith(_KV):
        return replace(grant, subject=kv_publish_subject(grant.subject, prefix))
    return grant


def _verify_grants(wanted: Plan) -> Iterator[Grant]:
    for stream in wanted.streams:
        yield api(f"STREAM.INFO.{stream.name}", f"verify stream {stream.name}")
    for consumer in wanted.consumers:
        yield api(f"CONSUMER.INFO.{consumer.stream}.{consumer.name}", f"verify consumer {consumer.name}")


def _create_grants(wanted: Plan) -> Iterator[Grant]:
    # Streams that services share are never altered; the permission to create a consumer is also that to update it.
    for stream in wanted.streams:
        yield api(f"STREAM.CREATE.{stream.name}", f"create stream {stream.name}")
        if stream.tolerated:
            yield api(f"STREAM.UPDATE.{stream.name}", f"apply the settings of the contract to {stream.name}")
    for consumer in wanted.consumers:
        # With several filters, the subject of the request has none of them.
        subject = consumer.config.get("filter_subject")
        tokens = [
            "CONSUMER.CREATE",
            consumer.stream,
            consumer.name,
            *([] if subject is None else [str(subject)]),
        ]
        yield api(".".join(tokens), f"create consumer {consumer.name}")
