"""Addresses of pages. All go through the router, so that the console works below any path."""

from __future__ import annotations

from urllib.parse import urlencode

from starlette.requests import Request

__all__ = ["dead_group", "jobs_link", "path"]


def path(request: Request, route: str, /, **values: str) -> str:
    """Return the path of a page, below the path under which the console is mounted."""
    return request.url_for(route, **values).path


def jobs_link(request: Request, text: str) -> str:
    """Return the list of jobs that match a filter."""
    return f"{path(request, 'jobs')}?{urlencode({'q': text})}"


def dead_group(request: Request, fingerprint: str | None) -> str:
    """Return the page of the dead jobs with one error; of all, where the error has no fingerprint."""
    if fingerprint is None:
        return path(request, "dead")
    return path(request, "dead_group", fingerprint=fingerprint)
