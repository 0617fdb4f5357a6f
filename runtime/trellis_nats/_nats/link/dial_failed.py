"""Why an attempt to connect failed."""

from __future__ import annotations

from typing import Final

__all__ = ["REFUSED", "DialFailed", "LoginFailed"]

REFUSED: Final = "connection refused"
"""The reason where no process listens at the address."""


class DialFailed(Exception):
    """An attempt to connect failed.

    Attributes:
        reason: what happened, without a credential.
        final: whether another attempt would fail the same way, for example for wrong credentials. A connection that was
            open once tries again all the same: credentials are renewed, and accounts come back.
    """

    def __init__(self, reason: str, *, final: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.final = final


class LoginFailed(DialFailed):
    """There were no credentials to connect with: the program's function failed. Another attempt may have some."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, final=False)
