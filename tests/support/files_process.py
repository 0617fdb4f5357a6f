"""Writes a large object and reads it, in a process of its own, and prints the largest resident memory in MiB.

Usage: python -m tests.support.files_process URL BYTES
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

from tests.support.files import FilesService, peak_memory_mib

_PIECE = bytes(range(256)) * 4096


async def generate(size: int) -> AsyncIterator[bytes]:
    """Yield content that is nowhere in memory as a whole."""
    for _ in range(size // len(_PIECE)):
        yield _PIECE


async def main(url: str, size: int) -> None:
    """Write and read once."""
    async with FilesService.connect(url) as service:
        written = await service.files.put("large", generate(size))
        stored = await service.files.get("large")
        assert stored is not None
        read = 0
        async for chunk in stored:
            read += len(chunk)
            await asyncio.sleep(0)
        assert read == written.size == size
    sys.stdout.write(f"{peak_memory_mib():.1f}\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
