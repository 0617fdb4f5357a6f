"""Whether the work stream reads the events of jobs."""

from __future__ import annotations

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.streams import get_stream_info

from tests.support.eventually import eventually

__all__ = ["until_sourced"]


async def until_sourced(connection: Connection) -> None:
    """Wait until `JOBS_WORK` is attached to `JOBS`, which a server does 0.1 to 0.2 s after it created the stream."""

    async def is_attached() -> bool:
        match await get_stream_info(connection, "JOBS_WORK"):
            case {"sources": [{"active": int(active)}]}:
                return active >= 0
            case _:
                return False

    await eventually(is_attached)
