"""Addresses of pages. All go through the router, so that the console works below any path."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote, unquote, urlencode

from starlette.requests import Request

__all__ = ["dead_group", "jobs_link", "path", "read_part", "write_part"]

_EMPTY: Final = "%00"
"""What stands for an empty part: an address cannot have one."""
_STEPS: Final = frozenset({".", ".."})
"""What browsers take for a step to another address."""


def path(request: Request, route: str, /, **values: str) -> str:
    """Return the path of a page, below the path under which the console is mounted."""
    return request.url_for(route, **{name: write_part(value) for name, value in values.items()}).path


def write_part(value: str) -> str:
    """Return a name as one part of an address: names that other runtimes choose may hold slashes and question marks.

    It is encoded twice, because a server decodes an address before it is taken apart.
    """
    part = quote(value, safe="", errors="replace") or _EMPTY
    return quote(part.replace(".", "%2E") if part in _STEPS else part, safe="")


def read_part(part: str) -> str:
    """Return the name that a part of an address stands for. The server has decoded the part once."""
    return "" if part == _EMPTY else unquote(part)


def jobs_link(request: Request, text: str) -> str:
    """Return the list of jobs that match a filter."""
    return f"{path(request, 'jobs')}?{urlencode({'q': text})}"


def dead_group(request: Request, fingerprint: str | None) -> str:
    """Return the page of the dead jobs with one error; of all, where the error has no fingerprint."""
    if fingerprint is None:
        return path(request, "dead")
    return path(request, "dead_group", fingerprint=fingerprint)
