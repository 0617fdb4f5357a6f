"""The caller of a call, as the service found out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Caller", "CallerKind"]

CallerKind = Literal["service", "user", "device"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """The caller of a call. Its proof was checked: only the holder of the session key can have made it."""

    session_key: str
    """Its public key: 43 characters, base64url."""
    name: str
    """As the file of keys, or the control plane, calls it."""
    kind: CallerKind = "service"
    id: str | None = None
    """The control plane's id of the user, the device or the service instance. None: a file of keys knows it."""
    capabilities: frozenset[str] = frozenset()
    """What it may do."""
