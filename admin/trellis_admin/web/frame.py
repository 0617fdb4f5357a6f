"""What surrounds every page: navigation, the mark of how live it is, and what has to be said first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse

from trellis_admin.queries import ProjectionStatus
from trellis_admin.web.access import Identity
from trellis_admin.web.background import StreamEnd
from trellis_admin.web.console import Console, Navigation, Pause
from trellis_admin.web.links import path
from trellis_admin.web.notices import NOTICE_COOKIE, Notice, read_notice, write_notice
from trellis_admin.web.protection import SESSION_COOKIE
from trellis_admin.web.rendering import render
from trellis_admin.web.text import clock, duration

__all__ = ["Frame", "cookie_path", "describe_lag", "describe_problem", "redirect", "show"]

_LATE_AFTER: Final = timedelta(seconds=5)
"""How far the projection may be behind the stream before the pages say so."""
_SILENT_AFTER: Final = timedelta(seconds=15)
"""How long the end of the stream may not have been looked at."""


@dataclass(frozen=True, slots=True)
class NavQueue:
    """A queue in the navigation."""

    service: str
    queue: str
    waiting: int
    pause: Pause | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What surrounds one page."""

    section: str
    """The route of the part of the console that the page belongs to."""
    here: str | None
    """The queue that the page is about."""
    identity: Identity
    label: str | None
    server: str
    whom_to_ask: str
    sequence: int
    newest: int
    behind: str | None
    first_reading: float | None
    problem: Notice | None
    said: Notice | None
    waiting: int
    dead: int
    workers: int
    bulk_actions: int
    """How many have not ended."""
    queues: tuple[NavQueue, ...]

    @property
    def late(self) -> str | None:
        """What the mark at the top says instead of "Live"."""
        return "Not live" if self.problem is not None else self.behind

    @property
    def paused(self) -> list[NavQueue]:
        """The queues that are paused."""
        return [queue for queue in self.queues if queue.pause is not None]


def describe_lag(status: ProjectionStatus, end: StreamEnd | None, now: datetime) -> str | None:
    """Return how far the projection is behind the stream; None while it is live."""
    newest = status.last_sequence if end is None else end.sequence
    if status.as_of is None or status.at >= newest:
        return None
    lag = now - status.as_of
    return f"{duration(lag)} behind the stream" if lag > _LATE_AFTER else None


def describe_problem(console: Console, now: datetime) -> Notice | None:
    """Return what keeps the console from reading the stream."""
    if console.problem is not None:
        return Notice("bad", "The console does not read the stream", console.problem)
    if console.end is None or now - console.end.looked_at < _SILENT_AFTER:
        return None
    text = (
        f"The stream was last looked at {clock(console.end.looked_at)} UTC. Workers keep what they run; nothing is lost. The "
        "console connects again as soon as a server answers."
    )
    return Notice("bad", "The NATS servers do not answer", text)


async def show(
    request: Request,
    template: str,
    section: str,
    values: Mapping[str, object],
    *,
    here: str | None = None,
    status: int = 200,
    is_secret: bool = False,
) -> HTMLResponse:
    """Return a page in its frame.

    Args:
        request: what is answered.
        template: the name of the page's template.
        section: the route of the part of the console that it belongs to. A queue is marked by its name instead.
        values: what the template shows.
        here: the queue that it is about.
        status: the code of the answer.
        is_secret: whether no cache may keep it.
    """
    console: Console = request.state.console
    frame = _make_frame(request, console, await console.read_navigation(), section, here)
    session, is_new = console.tokens.session(request)
    csrf = console.tokens.make(session)
    field = Markup('<input type="hidden" name="csrf" value="{}">').format(csrf)
    values = {"frame": frame, "token": lambda: field, **values}
    response = render(request, template, values, status=status, is_secret=is_secret)
    home = cookie_path(request)
    if is_new:
        response.set_cookie(
            SESSION_COOKIE,
            session,
            path=home,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
    if frame.said is not None and "trellis-live" not in request.headers:
        response.delete_cookie(NOTICE_COOKIE, path=home)
    return response


def cookie_path(request: Request) -> str:
    """Return the path below which the console is mounted: its cookies go nowhere else."""
    return path(request, "overview")


def redirect(request: Request, address: str, notice: Notice | None = None) -> HTMLResponse:
    """Return the answer to a change: another page, and what it says once."""
    console: Console = request.state.console
    response = HTMLResponse(status_code=303, headers={"Location": address})
    if notice is not None:
        response.set_cookie(
            NOTICE_COOKIE,
            write_notice(notice, console.tokens.secret),
            max_age=60,
            path=cookie_path(request),
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
    return response


def _make_frame(
    request: Request, console: Console, navigation: Navigation, section: str, here: str | None
) -> Frame:
    now = datetime.now(UTC)
    status, end = navigation.status, console.end
    newest = max(status.at, status.last_sequence if end is None else end.sequence)
    pauses = {pause.prefix: pause for pause in navigation.pauses}
    return Frame(
        section=section,
        here=here,
        identity=request.state.identity,
        label=console.settings.label,
        server=navigation.server,
        whom_to_ask=f"Ask {console.settings.whom_to_ask} for it." if console.settings.whom_to_ask else "",
        sequence=status.at,
        newest=newest,
        behind=describe_lag(status, end, now),
        first_reading=status.at / newest if newest and not status.is_complete else None,
        problem=describe_problem(console, now),
        said=read_notice(request, console.tokens.secret),
        waiting=sum(queue.waiting for queue in navigation.queues),
        dead=sum(queue.dead for queue in navigation.queues),
        workers=navigation.workers,
        bulk_actions=sum(not record.is_final for record in console.bulk_actions),
        queues=tuple(
            NavQueue(queue.service, queue.queue, queue.waiting, pauses.get(queue.prefix))
            for queue in navigation.queues
        ),
    )
