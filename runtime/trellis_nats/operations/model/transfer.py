"""How far the upload of an operation is, in snapshots and for callbacks. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import JsonValue

__all__ = ["TransferProgress", "read_transfer"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TransferProgress:
    """How far an upload is, after a chunk was accepted."""

    chunk_index: int
    """Of this chunk, from 0."""
    chunk_bytes: int
    """The size of this chunk."""
    transferred_bytes: int
    """The size of all chunks so far."""

    def to_json(self) -> JsonValue:
        """Return it as in a snapshot."""
        return {
            "chunkIndex": self.chunk_index,
            "chunkBytes": self.chunk_bytes,
            "transferredBytes": self.transferred_bytes,
        }


def read_transfer(value: JsonValue) -> TransferProgress | None:
    """Read it from a snapshot; None where there is none, or it is malformed."""
    match value:
        case {
            "chunkIndex": int(chunk_index),
            "chunkBytes": int(chunk_bytes),
            "transferredBytes": int(transferred_bytes),
        }:
            return TransferProgress(
                chunk_index=chunk_index, chunk_bytes=chunk_bytes, transferred_bytes=transferred_bytes
            )
        case _:
            return None
