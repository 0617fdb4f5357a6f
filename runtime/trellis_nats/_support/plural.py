"""Counts with their nouns, in texts for people."""

from __future__ import annotations

__all__ = ["plural"]


def plural(number: int, noun: str, nouns: str | None = None) -> str:
    """Return a count with its noun: `1 job`, `2,914 jobs`. `nouns` is a plural that does not end on `s` alone."""
    return f"{number:,} {noun if number == 1 else nouns or noun + 's'}"
