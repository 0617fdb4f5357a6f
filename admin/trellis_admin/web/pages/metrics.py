"""The numbers of the fleet, for Prometheus."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from trellis_admin.metrics import CONTENT_TYPE, FleetMetrics
from trellis_admin.web.console import Console

__all__ = ["show_metrics"]


async def show_metrics(request: Request) -> Response:
    """Return the numbers as text, to all who may see the console: Prometheus sends a token as others do."""
    console: Console = request.state.console
    session = console.operator(request.state.identity).session
    text = await FleetMetrics(session.connection, session.database).text()
    return Response(text, headers={"Content-Type": CONTENT_TYPE})
