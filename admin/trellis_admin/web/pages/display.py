"""How the console looks to one person, and what its keys and states mean."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from trellis_admin.web.frame import cookie_path, redirect, show
from trellis_admin.web.links import path
from trellis_admin.web.protection import Form
from trellis_admin.web.rendering import PREFERENCES

__all__ = ["change_preferences", "show_keyboard"]

_YEAR: Final = 365 * 24 * 3600
_KEYS: Final = (
    ("Search", "/"),
    ("This help", "?"),
    ("Go to a page", "g then o j d b w a"),
    ("Next, previous row", "j k"),
    ("Open row", "Enter"),
    ("Select row", "Space"),
    ("Select all that match", "Shift A"),
    ("Retry or replay", "r"),
    ("Cancel", "c"),
    ("Dismiss", "x"),
    ("Edit and replay", "e"),
    ("Reveal payload", "p"),
    ("Copy id", "y"),
    ("Stack of a running job", "s"),
    ("Pause, resume", "u"),
    ("Show what is new", "n"),
    ("Theme, density", "t z"),
    ("Close, clear selection", "Esc"),
)
_STATES: Final = (
    ("pending", "accepted, waits for a worker or its time"),
    ("active", "a worker runs its handler"),
    ("retry", "failed, waits for its next attempt"),
    ("completed", "ended with a result"),
    ("failed", "ended by its own code: no further attempt"),
    ("dead", "used up its attempts: needs an operator"),
    ("cancelled", "stopped by a caller or an operator"),
    ("expired", "its deadline passed"),
    ("stale", "lost its key to another job"),
    ("skipped", "a newer job of its key replaced it"),
    ("dismissed", "dead, and put aside by an operator"),
)


async def show_keyboard(request: Request) -> Response:
    """Show the keys and the states."""
    values = {"frame_keys": [(word, keys.split()) for word, keys in _KEYS], "states": _STATES}
    return await show(request, "keyboard.html", "keyboard", values)


async def change_preferences(request: Request, form: Form) -> Response:
    """Keep what a person has chosen, and go back to the page where they were."""
    came_from = urlsplit(request.headers.get("referer", ""))
    is_ours = came_from.netloc == request.headers.get("host") and came_from.path.startswith(
        cookie_path(request)
    )
    address = (
        came_from.path + (f"?{came_from.query}" if came_from.query else "")
        if is_ours
        else path(request, "overview")
    )
    response = redirect(request, address)
    for name, allowed in PREFERENCES.items():
        chosen = form.one(name)
        if not chosen:
            continue
        response.set_cookie(
            f"trellis_{name}",
            chosen if chosen in allowed else "usual",
            max_age=_YEAR,
            path=cookie_path(request),
            httponly=True,
            samesite="lax",
        )
    return response
