"""What a check finds. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Finding", "Severity"]


class Severity(StrEnum):
    """How much a finding matters."""

    FAULT = "fault"
    """Jobs do not run, or can be lost or run twice."""
    WARNING = "warning"
    """Something works worse than it could, or will fail."""
    HINT = "hint"
    """Good to know. It does not change the exit code."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that is wrong, and what to do about it."""

    check: str
    """The name of the check: stable, for programs."""
    severity: Severity
    subject: str
    """What it is about: a stream, a consumer, a queue, the server."""
    text: str
    """A sentence."""
    remedy: str
    """What to do, in the imperative; the command where there is one."""
