"""One subject that an account may use, what for, and how to see harmlessly whether it may."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Literal

__all__ = ["Grant", "Probe", "api", "example", "publish", "subscribe"]


class Probe(Enum):
    """How a server is asked whether an account may publish to a subject, without any effect."""

    UNHEARD = auto()
    """A message without a reply subject: nobody listens there, or what answers refuses it as malformed, unheard."""
    REFUSED = auto()
    """A message that its stream refuses, because it is addressed to another stream."""
    TRACED = auto()
    """A message that is traced and delivered to nobody: the subject has listeners who would take it for real."""


@dataclass(frozen=True, slots=True)
class Grant:
    """A subject or a pattern of subjects that an account needs."""

    operation: Literal["publish to", "subscribe to"]
    subject: str
    purpose: str
    """What for; it follows "to" in a sentence."""
    probe: Probe = Probe.UNHEARD
    """Of what is published to. A subscription is probed by subscribing for a moment."""
    is_needed: bool = True
    """Whether a service does not start without it; else it only does less."""

    def __str__(self) -> str:
        return f'{self.operation} "{self.subject}" (to {self.purpose})'


def publish(subject: str, purpose: str, *, probe: Probe = Probe.UNHEARD, is_needed: bool = True) -> Grant:
    """Return the grant to publish."""
    return Grant("publish to", subject, purpose, probe, is_needed)


def subscribe(subject: str, purpose: str, *, is_needed: bool = True) -> Grant:
    """Return the grant to subscribe."""
    return Grant("subscribe to", subject, purpose, is_needed=is_needed)


def api(request: str, purpose: str, *, is_needed: bool = True) -> Grant:
    """Return the grant to ask something of JetStream."""
    return Grant("publish to", f"$JS.API.{request}", purpose, is_needed=is_needed)


def example(pattern: str) -> str:
    """Return a subject that matches a pattern and that nothing real has."""
    return ".".join("probe" if token in {"*", ">"} else token for token in pattern.split("."))
