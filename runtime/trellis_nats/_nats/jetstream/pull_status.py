"""What each status of a pull consumer means for the requests under way: a table, no network.

The texts were observed on servers 2.10 to 2.15; what is not known is taken for a lost request.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from trellis_nats._nats.wire.message import Message

__all__ = ["Meaning", "Verdict", "judge"]


class Meaning(Enum):
    """What to do about a status."""

    ALIVE = auto()
    """An idle heartbeat: nothing to deliver, all is well."""
    REQUEST_OVER = auto()
    """One request has ended; ask again for what it did not deliver."""
    REQUESTS_LOST = auto()
    """The server has forgotten the requests; ask again after a moment."""
    NOT_READY = auto()
    """Nobody listens: no consumer, or JetStream is starting, or a leader is being elected."""
    GONE = auto()
    """The consumer was deleted, or its stream."""
    REFUSED = auto()
    """The consumer or the request is wrong; asking again at once would not help."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A status, understood."""

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


def judge(status: Message) -> Verdict:
    """Understand a message that is no delivery."""
    text = status.description.lower()
    if any(status.status == code and text.startswith(words) for code, words in _OVER):
        undelivered = status.headers.get(_PENDING, "")
        return (
            Verdict(Meaning.REQUEST_OVER, int(undelivered))
            if undelivered.isdigit()
            else Verdict(Meaning.REQUESTS_LOST)
        )
    match status.status:
        case 100:
            return Verdict(Meaning.ALIVE)
        case 503:
            return Verdict(Meaning.NOT_READY)
        case 409 if text.startswith(_GONE):
            return Verdict(Meaning.GONE)
        case 409 if text.startswith(_WRONG):
            return Verdict(Meaning.REFUSED)
        case 400 | 412 | 423:
            return Verdict(Meaning.REFUSED)
        case _:
            return Verdict(Meaning.REQUESTS_LOST)
