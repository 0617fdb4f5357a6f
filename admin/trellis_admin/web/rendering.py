"""Makes pages from templates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from importlib.metadata import version
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse

from trellis_admin.projection.fingerprint import message_of
from trellis_admin.web import charts, text
from trellis_admin.web.icons import draw_icon, draw_sprite
from trellis_admin.web.links import path

__all__ = ["PREFERENCES", "Pen", "compile_templates", "make_environment", "render"]

_SPRITE: Final = "<!--sprite-->"
PREFERENCES: Final = {"theme": ("light", "dark"), "density": ("compact",), "shortcuts": ("off",)}
"""What a person may set; anything else means the default: the system's theme, normal rows, keys on."""


@cache
def make_environment() -> Environment:
    """Return the environment of the templates: it escapes, and refuses unknown names. A process compiles each template once."""
    environment = Environment(
        loader=PackageLoader("trellis_admin.web", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Any] = {  # jinja2 takes any function
        "number": text.integer,
        "short": text.short_count,
        "duration": text.duration,
        "rough": text.rough_duration,
        "size": text.size,
        "holes": text.split_holes,
    }
    environment.filters.update(filters)
    shared: dict[str, Any] = {"plural": text.plural, "message_of": message_of, "charts": charts}
    environment.globals.update(shared)
    return environment


def compile_templates() -> None:
    """Compile all templates, so that the first page is as fast as the others."""
    environment = make_environment()
    for name in environment.list_templates():
        environment.get_template(name)


@dataclass(slots=True)
class Pen:
    """What a template draws with: one for each page."""

    now: datetime
    used: set[str] = field(default_factory=set[str])
    """The names of the icons on the page."""

    def icon(self, name: str, style: str = "", label: str = "") -> Markup:
        """Return an icon, and remember it for the sprite."""
        self.used.add(name)
        return draw_icon(name, style, label)

    def ago(self, when: datetime, suffix: str = " ago") -> Markup:
        """Return how long ago something was."""
        return self._time(when, text.rough_duration(self.now - when) + suffix)

    def exactly(self, when: datetime) -> Markup:
        """Return how long ago something was, with seconds."""
        return self._time(when, f"{text.duration(max(self.now - when, timedelta(0)))} ago")

    def until(self, when: datetime) -> Markup:
        """Return how long it takes until something happens."""
        left = when - self.now
        return self._time(when, "due" if left <= timedelta(0) else f"in {text.duration(left)}")

    def at(self, when: datetime, *, milliseconds: bool = False) -> Markup:
        """Return the time of day of an instant."""
        return self._time(when, text.clock(when, milliseconds=milliseconds))

    def _time(self, when: datetime, shown: str) -> Markup:
        iso = when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return Markup('<time datetime="{}" title="{}">{}</time>').format(iso, text.instant(when), shown)


def render(
    request: Request,
    template: str,
    values: Mapping[str, object],
    *,
    status: int = 200,
    is_secret: bool = False,
) -> HTMLResponse:
    """Return a page.

    Args:
        request: what is answered.
        template: the name of a template.
        values: what it shows.
        status: the code of the answer.
        is_secret: whether no cache may keep the page.
    """
    pen = Pen(now=datetime.now(UTC))
    preferences = {
        name: request.cookies.get(f"trellis_{name}")
        if request.cookies.get(f"trellis_{name}") in allowed
        else None
        for name, allowed in PREFERENCES.items()
    }
    environment: Environment = request.state.environment
    html = environment.get_template(template).render(
        request=request,
        path=partial(path, request),
        pen=pen,
        icon=pen.icon,
        ago=pen.ago,
        exactly=pen.exactly,
        until=pen.until,
        at=pen.at,
        now=pen.now,
        version=version("trellis-admin"),
        preferences=preferences,
        **values,
    )
    whole = html.replace(_SPRITE, draw_sprite(pen.used), 1)
    # Texts of jobs may hold lone surrogates, which UTF-8 does not have.
    response = HTMLResponse(whole.encode(errors="replace"), status)
    if is_secret:
        response.headers["Cache-Control"] = "no-store"
    return response
