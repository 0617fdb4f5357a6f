"""A stored value of a bucket, with its revision."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

__all__ = ["DeletedEntry", "Entry"]

ValueT = TypeVar("ValueT")


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry(Generic[ValueT]):
    """A value of a bucket at one revision."""

    key: str
    value: ValueT
    revision: int
    """Grows with every write to the bucket."""
    created: datetime | None = None
    """When the server stored this revision. None if the entry was written and not read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DeletedEntry:
    """A key that was deleted, as `watch` and `history` show it."""

    key: str
    revision: int
    """Grows with every write to the bucket."""
    created: datetime
    """When the server stored the deletion."""
