"""The error about an account that lacks permissions."""

from __future__ import annotations

from collections.abc import Sequence

from trellis_nats.errors import PermissionsMissing
from trellis_nats.runtime import Runtime

__all__ = ["permissions_missing"]


def permissions_missing(runtime: Runtime, missing: Sequence[str]) -> PermissionsMissing:
    """Return the error for missing permissions: it names the command that lists those of this program."""
    command = f"trellis permissions {'client' if runtime.is_client else 'worker'} PACKAGE"
    other_key = ""
    if runtime.session_key is not None:
        command += f" --session-key {runtime.session_key}"
        other_key = ", or this session key is not the one of the account"
    if runtime.callers != "open":
        command += f" --callers {runtime.callers}"
    return PermissionsMissing(missing, remedy=f"`{command}` prints what the account needs{other_key}")
