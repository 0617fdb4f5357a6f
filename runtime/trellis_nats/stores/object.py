"""An object of a store, as its readers see it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime

__all__ = ["ObjectInfo", "StoredObject"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectInfo:
    """What is known about an object without reading it."""

    key: str
    size: int
    """In bytes."""
    updated: datetime
    """When it was stored."""
    digest: str | None = None
    """`SHA-256=` and the hash of the content, in base 64 for URLs, padded."""
    content_type: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    """What else was stored with it."""


class StoredObject:
    """An object that was found in a store. Nothing of its content is read before it is iterated over, or `read`."""

    def __init__(self, info: ObjectInfo, open_chunks: Callable[[], AsyncGenerator[bytes, None]]) -> None:
        self.info = info
        """What is known about the object."""
        self._open_chunks = open_chunks

    def __repr__(self) -> str:
        return f"<StoredObject {self.info.key} {self.info.size} B>"

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the content in chunks, from the beginning, through outages. At most about 2 MiB is read ahead.

        The digest can be checked only at the end: to use nothing of a damaged object, `read` it, or discard what you did when
        the iteration raises.

        Raises:
            ObjectReplaced: the object was replaced or deleted meanwhile. All chunks so far belong to the old one.
            ObjectDamaged: the content does not match the digest or the size, or parts are missing; after the last chunk.
            RequestTimeout: no chunk came for a minute.
            TransportError: the server refused to read the object.
        """
        return self._open_chunks()

    def chunks(self) -> AsyncGenerator[bytes, None]:
        """Return the iterator over the chunks as a generator, which can be closed. Raises as the iteration."""
        return self._open_chunks()

    async def read(self) -> bytes:
        """Return the whole content, verified. Raises as the iteration."""
        async with aclosing(self._open_chunks()) as chunks:
            return b"".join([chunk async for chunk in chunks])
