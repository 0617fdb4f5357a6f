"""A stored value of a state store, with its revision."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

__all__ = ["OldStateEntry", "StateEntry"]

ValueT_co = TypeVar("ValueT_co", covariant=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class StateEntry(Generic[ValueT_co]):
    """A value of a state store at one revision."""

    key: str = ""
    """Empty in a store of one value."""
    value: ValueT_co
    revision: str
    """Another one after every write."""
    updated: datetime
    """When the platform stored this revision."""
    expires: datetime | None = None
    """When the value is deleted. None: never."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OldStateEntry(Generic[ValueT_co]):
    """A value that was written under an older version of the contract, which still accepts it.

    Its type is that of the old version. `update` of the store replaces it by a value of the current one.
    """

    key: str = ""
    """Empty in a store of one value."""
    value: ValueT_co
    version: str
    """The version it was written under, for example `v1`: one of `acceptedVersions`."""
    revision: str
    """Another one after every write."""
    updated: datetime
    """When the platform stored this revision."""
    expires: datetime | None = None
    """When the value is deleted. None: never."""
    writer_digest: str
    """The digest of the contract that it was written under."""
