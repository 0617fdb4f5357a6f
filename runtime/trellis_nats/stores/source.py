"""What an object is made from: bytes, a file, or an iterator; cut into chunks of one size."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import aclosing
from pathlib import Path
from typing import Final, TypeAlias, cast

__all__ = ["ObjectSource", "cut_source", "size_of_source"]

ObjectSource: TypeAlias = bytes | bytearray | memoryview | Path | AsyncIterable[bytes]
"""The content of an object: bytes, the path of a file, or an iterator that yields pieces of any size."""

_FILE_BLOCK_BYTES: Final = 1024 * 1024
"""Read at a time, in a thread: disks and network file systems must not stop the event loop."""


def size_of_source(source: ObjectSource) -> int | None:
    """Return the size of the content; None where it is not known in advance.

    Raises:
        OSError: the file cannot be read.
        TypeError: it is not content, for example a `str`, which might be text or a path.
    """
    match source:
        case bytes() | bytearray():
            return len(source)
        case memoryview():
            return source.nbytes
        case Path():
            return source.stat().st_size
        case AsyncIterable():
            return None
    raise TypeError(
        f"expected bytes, a pathlib.Path or an async iterator of bytes, got {type(source).__name__}"
    )


async def cut_source(source: ObjectSource, chunk_bytes: int) -> AsyncGenerator[bytes, None]:
    """Yield the content in chunks of one size; the last one may be smaller.

    Raises:
        OSError: the file cannot be read.
        TypeError: the iterator yields something else than bytes.
    """
    pending = bytearray()
    async with aclosing(_read_blocks(source)) as blocks:
        async for block in blocks:
            view = memoryview(block).cast("B")
            while view:
                taken = view[: chunk_bytes - len(pending)]
                view = view[len(taken) :]
                if len(taken) == chunk_bytes:  # nothing is pending
                    yield bytes(taken)
                    continue
                pending += taken
                if len(pending) == chunk_bytes:
                    yield bytes(pending)
                    pending.clear()
    if pending:
        yield bytes(pending)


async def _read_blocks(source: ObjectSource) -> AsyncGenerator[bytes | bytearray | memoryview, None]:
    match source:
        case bytes() | bytearray() | memoryview():
            yield source
        case Path():
            file = await asyncio.to_thread(source.open, "rb")
            try:
                while block := await asyncio.to_thread(file.read, _FILE_BLOCK_BYTES):
                    yield block
            finally:
                file.close()
        case AsyncGenerator():
            async with aclosing(source):
                async for piece in source:
                    yield _require_bytes(piece)
        case _:
            async for piece in source:
                yield _require_bytes(piece)


def _require_bytes(piece: object) -> bytes:
    if isinstance(piece, bytes):
        return piece
    if isinstance(piece, bytearray):
        return bytes(piece)
    if isinstance(piece, memoryview):
        return cast("memoryview[int]", piece).tobytes()
    raise TypeError(f"the content of an object must be bytes, but the iterator yields {type(piece).__name__}")
