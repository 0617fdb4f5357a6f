"""Readers of stored payloads without a queue."""

from __future__ import annotations

from typing import Final, TypeVar

from trellis_nats.codec import Codec
from trellis_nats.jobs.model.payload_reader import PayloadReader

__all__ = ["OWN", "reader_of"]

PayloadT = TypeVar("PayloadT")

OWN: Final = "o" * 43
"""The digest of the readers' version of the contract."""


def reader_of(codec: Codec[PayloadT]) -> PayloadReader[PayloadT]:
    """Return a reader without upcasters."""
    return PayloadReader(codec, queue="q", digest=OWN)
