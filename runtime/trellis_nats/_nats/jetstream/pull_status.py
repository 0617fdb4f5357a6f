"""The meaning of each status of a pull consumer for the pending requests: a table. Pure.

The texts were observed on servers 2.10 to 2.15; an unknown status counts as a lost request.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from trellis_nats._nats.wire.message import Message

__all__ = ["Meaning", "PullStatus", "interpret_status"]


class Meaning(Enum):
    """What to do about a status."""

    ALIVE = auto()
    """An idle heartbeat: there is nothing to deliver."""
    REQUEST_OVER = auto()
    """One request has ended; request again what it did not deliver."""
    REQUESTS_LOST = auto()
    """The server has forgotten the requests; request again after a moment."""
    NOT_READY = auto()
    """No process listens: there is no consumer, or JetStream is starting, or a leader is being elected."""
    GONE = auto()
    """The consumer or its stream was deleted."""
    REFUSED = auto()
    """The consumer or the request is wrong; an immediate repeat would not help."""


@dataclass(frozen=True, slots=True)
class PullStatus:
    """An interpreted status."""

    meaning: Meaning
    undelivered: int = 0
    """With `REQUEST_OVER`: how many messages the request had left to deliver."""


_PENDING: Final = "Nats-Pending-Messages"
_OVER: Final = ((404, ""), (408, "request timeout"), (409, "batch completed"))
_GONE: Final = "consumer deleted"
_WRONG: Final = (
    "consumer is push based",
    "exceeded maxrequestbatch",
    "exceeded maxrequestexpires",
    "exceeded maxrequestmaxbytes",
    "message size exceeds maxbytes",
)


def interpret_status(status: Message) -> PullStatus:
    """Interpret a message that is not a delivery."""
    text = status.description.lower()
    if any(status.status == code and text.startswith(words) for code, words in _OVER):
        undelivered = status.headers.get(_PENDING, "")
        return (
            PullStatus(Meaning.REQUEST_OVER, int(undelivered))
            if undelivered.isdigit()
            else PullStatus(Meaning.REQUESTS_LOST)
        )
    match status.status:
        case 100:
            return PullStatus(Meaning.ALIVE)
        case 503:
            return PullStatus(Meaning.NOT_READY)
        case 409 if text.startswith(_GONE):
            return PullStatus(Meaning.GONE)
        case 409 if text.startswith(_WRONG):
            return PullStatus(Meaning.REFUSED)
        case 400 | 412 | 423:
            return PullStatus(Meaning.REFUSED)
        case _:
            return PullStatus(Meaning.REQUESTS_LOST)
