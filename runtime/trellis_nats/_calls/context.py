"""What every handler of a call learns about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from trellis_nats.auth import Caller

__all__ = ["CallContext"]


@dataclass(frozen=True, kw_only=True, slots=True)
class CallContext:
    """A call. Jobs and events that its handler makes inherit its request and trace."""

    request_id: str
    """The caller's id of this call."""
    trace_id: str
    """32 lower-case hexadecimal digits."""
    traceparent: str
    """As in W3C Trace Context."""
    tracestate: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """As the caller sent them. In open mode they are not verified."""
    caller: Caller | None = None
    """The caller. None in open mode, which does not know it."""
