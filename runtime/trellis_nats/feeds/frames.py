"""The frames of a feed, and the headers that distinguish them (reference, 7). Pure.

Other runtimes know three frames: ready, event and error. A caller that sends `trellis-feed-signals: 1` gets two more:
`end` when the handler returns, and `alive` while there is no event. Without them it could not tell a feed that has
ended, or whose service is gone, from a quiet one.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from types import MappingProxyType
from typing import Final

from trellis_nats._calls.headers import is_error
from trellis_nats._nats.wire.headers import encode_lines
from trellis_nats._nats.wire.message import NO_RESPONDERS, Message

__all__ = [
    "ALIVE_HEADERS",
    "END_HEADERS",
    "READY_HEADERS",
    "SIGNALS_HEADERS",
    "SIGNALS_LINE",
    "Frame",
    "has_signals",
    "interpret_frame",
]

_STATUS: Final = "feed-status"
_SIGNALS: Final = "trellis-feed-signals"
READY_HEADERS: Final[Mapping[str, str]] = MappingProxyType({_STATUS: "ready"})
END_HEADERS: Final[Mapping[str, str]] = MappingProxyType({_STATUS: "end"})
ALIVE_HEADERS: Final[Mapping[str, str]] = MappingProxyType({_STATUS: "alive"})
SIGNALS_HEADERS: Final[Mapping[str, str]] = MappingProxyType({_SIGNALS: "1"})
"""Of a call that wants signals, and of the ready frame of a service that sends them."""
SIGNALS_LINE: Final = encode_lines(SIGNALS_HEADERS)


class Frame(Enum):
    """What a message of a feed is."""

    READY = auto()
    EVENT = auto()
    ERROR = auto()
    END = auto()
    ALIVE = auto()
    NO_SERVICE = auto()
    """No process serves the feed."""


_OF_STATUS: Final[Mapping[str, Frame]] = MappingProxyType(
    {"ready": Frame.READY, "end": Frame.END, "alive": Frame.ALIVE}
)


def interpret_frame(message: Message) -> Frame:
    """Interpret a message that arrived on the inbox of a feed."""
    if message.status == NO_RESPONDERS and not message.data:
        return Frame.NO_SERVICE
    if is_error(message.headers):
        return Frame.ERROR
    return _OF_STATUS.get(message.headers.get(_STATUS, ""), Frame.EVENT)


def has_signals(headers: Mapping[str, str]) -> bool:
    """Return whether a call asks for signals, or a ready frame announces them."""
    return headers.get(_SIGNALS) == "1"
