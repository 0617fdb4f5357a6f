"""Texts of strangers, in logs and errors."""

from __future__ import annotations

__all__ = ["printable"]


def printable(text: str) -> str:
    """Return a text as it is, or quoted with escapes where a terminal would act on it."""
    return text if text.isprintable() else ascii(text)
