"""Permissions on a server, as data: surfaces declare them, and `permissions` turns them into roles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Literal

__all__ = [
    "Grant",
    "Operation",
    "Probe",
    "Role",
    "StartCheck",
    "answer",
    "api",
    "example",
    "publish",
    "scan_grants",
    "subscribe",
]

Role = Literal["worker", "producer", "operator", "viewer", "provisioner", "auditor", "client"]
"""What a user of the server does for a service; `permissions` describes each role."""

Operation = Literal["publish to", "subscribe to", "answer requests on"]
"""`answer requests on` is `allow_responses` of a user: NATS does not bind it to a subject."""


class Probe(Enum):
    """How to ask a server, without any effect, whether an account may publish to a subject."""

    NO_REPLY = auto()
    """A malformed message without a reply subject: no subscriber listens there, or the one that does ignores it."""
    WRONG_STREAM = auto()
    """A message that its stream refuses, because its header expects another stream."""
    TRACE_ONLY = auto()
    """A message that is traced and not delivered: subscribers would process a real one."""
    NONE = auto()
    """The server is not asked."""


class StartCheck(Enum):
    """What the start of a service does about a grant."""

    REQUIRED = auto()
    """The service does not start without it."""
    OPTIONAL = auto()
    """Without it the service starts and does less, which is logged."""
    SKIPPED = auto()
    """The server is not asked: nothing in this process uses it, for instance because there is no handler."""


@dataclass(frozen=True, slots=True)
class Grant:
    """A subject, or a pattern of subjects, that an account may use in one way."""

    operation: Operation
    subject: str
    purpose: str
    """Why it is needed; it follows "to" in a sentence."""
    probe: Probe = Probe.NO_REPLY
    """Of a grant to publish or to answer. A subscription is probed by subscribing and unsubscribing at once."""
    at_start: StartCheck = StartCheck.REQUIRED

    def __str__(self) -> str:
        if self.operation == "answer requests on":
            return 'answer requests, which is "allow_responses" of the user'
        return f'{self.operation} "{self.subject}" (to {self.purpose})'


def publish(
    subject: str,
    purpose: str,
    *,
    probe: Probe = Probe.NO_REPLY,
    at_start: StartCheck = StartCheck.REQUIRED,
) -> Grant:
    """Return the grant to publish to a subject."""
    return Grant("publish to", subject, purpose, probe, at_start)


def subscribe(subject: str, purpose: str, *, at_start: StartCheck = StartCheck.REQUIRED) -> Grant:
    """Return the grant to subscribe to a subject."""
    return Grant("subscribe to", subject, purpose, at_start=at_start)


def api(request: str, purpose: str, *, at_start: StartCheck = StartCheck.REQUIRED) -> Grant:
    """Return the grant to send a request to the JetStream API; `request` is the subject after `$JS.API.`."""
    return Grant("publish to", f"$JS.API.{request}", purpose, at_start=at_start)


def scan_grants(stream: str, purpose: str) -> Iterator[Grant]:
    """To read a stream with consumers that last as long as the reading. NATS cannot confine them to some subjects."""
    for request in ("CREATE.{}.>", "DELETE.{}.*", "MSG.NEXT.{}.*"):
        yield api(f"CONSUMER.{request.format(stream)}", purpose)


def answer(
    subject: str,
    purpose: str,
    *,
    probe: Probe = Probe.NO_REPLY,
    at_start: StartCheck = StartCheck.REQUIRED,
) -> Grant:
    """Return the grant to answer requests that arrive on a subject.

    To be checked at the start, the account must also be allowed to publish and subscribe to the subject: the process
    sends itself a request there, as the probe says. With `Probe.NONE` only the other grants to answer are checked:
    the permission is one for all subjects.
    """
    return Grant("answer requests on", subject, purpose, probe, at_start)


def example(pattern: str) -> str:
    """Return a subject that matches a pattern, and that no real subscriber uses."""
    return ".".join("probe" if token in {"*", ">"} else token for token in pattern.split("."))
