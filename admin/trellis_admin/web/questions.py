"""What is asked before something is changed."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DryLine", "Question"]


@dataclass(frozen=True, slots=True)
class DryLine:
    """What a dry run found."""

    icon: str
    count: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question, as a page or as a dialog."""

    heading: str
    what: str
    """What it is about."""
    address: str
    """Where the answer is sent."""
    back: str
    """Where nothing changes."""
    button: str
    icon: str
    at: int = 0
    """The sequence of the selection; 0 for a question about one thing."""
    fields: tuple[tuple[str, str], ...] = ()
    problem: str = ""
    """Why the first answer was not accepted."""
    dry: tuple[DryLine, ...] = ()
    text: str = ""
    payload: str | None = None
    """What can be edited."""
    has_pace: bool = False
    """Whether it asks how many jobs to begin with, and how fast."""
    first: str = "10"
    rate: str | None = None
    rate_hint: str = ""
    has_reason: bool = False
    needs_reason: bool = False
    reason: str = ""
    count: int | None = None
    """What must be typed."""
