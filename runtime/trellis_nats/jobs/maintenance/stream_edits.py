"""Checks that the streams of jobs are still as jobs need them: a person may edit them while a service runs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import cast

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.streams import get_stream_info
from trellis_nats.errors import PermissionDenied, TransportError
from trellis_nats.provision import StreamRequirement
from trellis_nats.provision.compare import stream_differences

__all__ = ["StreamEdits"]


class StreamEdits:
    """What differs in the streams of jobs from what a start verifies.

    Some edits show nowhere else: jobs are acknowledged, and stored where no worker finds them.
    """

    def __init__(self, connection: Connection, streams: Iterable[StreamRequirement]) -> None:
        """Prepare the check of these streams; of none where the account may not look them up."""
        self._connection = connection
        self._streams = tuple(streams)

    async def find_problem(self) -> str | None:
        """Return how the streams differ; None when they do not, or are not looked up. A missing stream is not named."""
        found = await asyncio.gather(*map(self._find_differences, self._streams))
        return "; ".join(text for texts in found for text in texts) or None

    async def _find_differences(self, wanted: StreamRequirement) -> list[str]:
        try:
            info = await get_stream_info(self._connection, wanted.name)
        except PermissionDenied:
            self._streams = tuple(stream for stream in self._streams if stream is not wanted)
            return []
        except TransportError:
            return []  # other checks report it
        config = {} if info is None else cast("dict[str, object]", info.get("config") or {})
        return stream_differences(wanted, config) if config else []
