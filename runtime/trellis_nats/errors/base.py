"""The root of the error tree, and the errors that every surface can raise."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["InvalidPayload", "TrellisError"]


class TrellisError(Exception):
    """The root of every error that this runtime raises on purpose."""


class InvalidPayload(TrellisError):
    """A value does not match its schema.

    The text names the places and the rules, never the value, which may be secret.
    """

    def __init__(self, what: str, issues: Sequence[tuple[str, str]]) -> None:
        super().__init__(f"{what} does not match its schema: " + "; ".join(f"{p}: {m}" for p, m in issues))
        self.issues = tuple(issues)
        """Pairs of a place in the value and a sentence about it."""
