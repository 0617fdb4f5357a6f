"""Tells open pages that something has changed, by server-sent events: at most once a second, and without what has changed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from trellis_admin.web.console import Console
from trellis_admin.web.frame import describe_lag, describe_problem

__all__ = ["STREAMS_MAX", "stream_changes"]

STREAMS_MAX: Final = 500
"""How many pages may be open live: each needs a connection, and a process has often no more than 1,024 files."""
_EACH: Final = 1.0
"""Seconds between two looks at the projection."""
_PAGES_A_SECOND: Final = 40
"""How many pages are asked for again in a second: with more pages open, each one waits longer between two looks."""
_AT_LEAST: Final = 10.0
"""Seconds after which something is sent in any case: a page whose connection is silent says that it is not live."""
_RETRY_AFTER: Final = "30"


async def stream_changes(request: Request) -> Response:
    """Send an event whenever the projection has moved on."""
    console: Console = request.state.console
    if console.open_streams >= STREAMS_MAX:
        return PlainTextResponse(
            f"{STREAMS_MAX} pages of this console are open and live already. Close some of them; a page that is not live shows what "
            "is new when it is loaded again.\n",
            503,
            headers={"Retry-After": _RETRY_AFTER},
        )
    at_least = 0.0 if "each" in request.query_params else _AT_LEAST
    return _LiveResponse(console, at_least)


class _LiveResponse(StreamingResponse):
    """A stream that counts as open from the check of their number on: many may be asked for in the same moment."""

    def __init__(self, console: Console, at_least: float) -> None:
        super().__init__(
            _stream(console, at_least),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )
        self._console = console
        console.open_streams += 1

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events until the page is closed."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._console.open_streams -= 1


async def _stream(console: Console, at_least: float) -> AsyncIterator[str]:
    """Yield events. Pages about what is not in the stream of jobs, such as bulk actions, want one with each look."""
    yield "retry: 4000\n\n"
    sent, sent_at, has_moved = -1, 0.0, False
    while True:
        status, now = await console.read_status(), asyncio.get_running_loop().time()
        # The look after a change is sent too: what surrounds a page may be a second old.
        if status.at != sent or has_moved or now - sent_at >= at_least:
            behind = (
                "Not live"
                if describe_problem(console, datetime.now(UTC))
                else describe_lag(status, console.end, datetime.now(UTC))
            )
            said = {"sequence": f"{status.at:,}", "behind": behind, "changed": sent != -1}
            yield f"event: moved\nid: {status.at}\ndata: {json.dumps(said)}\n\n"
            sent, sent_at, has_moved = status.at, now, sent not in {-1, status.at}
        await asyncio.sleep(max(_EACH, console.open_streams / _PAGES_A_SECOND))
