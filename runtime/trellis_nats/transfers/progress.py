"""How far an upload is. Pure."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["TransferProgress"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TransferProgress:
    """How far an upload is, after a chunk was accepted."""

    chunk_index: int
    """Of this chunk, from 0."""
    chunk_bytes: int
    """The size of this chunk."""
    transferred_bytes: int
    """The size of all chunks so far."""
