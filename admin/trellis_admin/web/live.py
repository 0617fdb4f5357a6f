"""Tells open pages that something has changed, by server-sent events: at most once a second, and without what has changed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Final

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from trellis_admin.queries import read_status
from trellis_admin.web.console import Console
from trellis_admin.web.frame import describe_lag, describe_problem

__all__ = ["stream_changes"]

_EACH: Final = 1.0
"""Seconds between two looks at the projection."""
_AT_LEAST: Final = 10
"""Looks after which something is sent in any case: a page whose connection is silent says that it is not live."""


async def stream_changes(request: Request) -> Response:
    """Send an event whenever the projection has moved on."""
    console: Console = request.state.console
    wants_each = "each" in request.query_params
    return StreamingResponse(
        _stream(console, 1 if wants_each else _AT_LEAST),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _stream(console: Console, at_least: int) -> AsyncIterator[str]:
    """Yield events. Pages about what is not in the stream of jobs, such as bulk actions, want one with each look."""
    yield "retry: 4000\n\n"
    sent, quiet, has_moved = -1, 0, False
    while True:
        status = await console.query(read_status)
        quiet += 1
        # The look after a change is told too: what surrounds a page may be a second old.
        if status.at != sent or has_moved or quiet >= at_least:
            behind = (
                "Not live"
                if describe_problem(console, datetime.now(UTC))
                else describe_lag(status, console.end, datetime.now(UTC))
            )
            said = {
                "sequence": f"{status.at:,}",
                "behind": behind,
                "changed": sent != -1,
            }
            yield f"event: moved\nid: {status.at}\ndata: {json.dumps(said)}\n\n"
            sent, quiet, has_moved = status.at, 0, sent not in {-1, status.at}
        await asyncio.sleep(_EACH)
