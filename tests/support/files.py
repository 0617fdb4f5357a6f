"""A service with object stores."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import ClassVar, Final

from trellis_nats import RUNTIME_API, Contract, Runtime, Service, Store, StoreSpec
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.api import call
from trellis_nats._nats.link.settings import ConnectionSettings

__all__ = [
    "BUCKET",
    "SMALL_OBJECT_BYTES",
    "SMALL_STORE_BYTES",
    "FilesService",
    "peak_memory_mib",
    "pieces",
    "stored_counts",
]

CONTRACT: Final = Contract(id="files-service@v1", digest="f" * 43, generator="0", runtime_api=RUNTIME_API)
BUCKET: Final = "files-service_files"
SMALL_OBJECT_BYTES: Final = 200_000
SMALL_STORE_BYTES: Final = 500_000


class FilesService(Service):
    """The service."""

    contract: ClassVar[Contract] = CONTRACT

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.runtime: Final = runtime
        self.files: Final = Store(runtime, StoreSpec(name="files"))
        self.small: Final = Store(
            runtime,
            StoreSpec(name="small", max_object_bytes=SMALL_OBJECT_BYTES, max_total_bytes=SMALL_STORE_BYTES),
        )
        self.brief: Final = Store(runtime, StoreSpec(name="brief", ttl=timedelta(seconds=1)))


async def pieces(content: bytes, size: int) -> AsyncIterator[bytes]:
    """Yield content in pieces."""
    for start in range(0, len(content), size):
        yield content[start : start + size]


async def stored_counts(url: str, bucket: str = BUCKET) -> dict[str, int]:
    """Return how many messages a store has on each subject."""
    connection = await Connection.open(url, settings=ConnectionSettings())
    info = await call(connection, f"STREAM.INFO.OBJ_{bucket}", {"subjects_filter": ">"})
    await connection.close()
    match info:
        case {"state": {"subjects": dict(subjects)}}:
            return {subject: count for subject, count in subjects.items() if isinstance(count, int)}
        case _:
            return {}


def peak_memory_mib() -> float:
    """Return the largest resident memory of this process so far. Linux only."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"no VmHWM for process {os.getpid()}")
