"""The dead jobs by their errors."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from functools import partial
from sqlite3 import Connection
from typing import Final, NamedTuple
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from trellis_nats.clock import timestamp
from trellis_nats.jobs.model.states import JobState

from trellis_admin.queries import (
    ErrorGroup,
    JobRow,
    ProjectionStatus,
    Selection,
    list_error_groups,
    list_jobs,
    parse_filter,
    read_status,
    snapshot,
)
from trellis_admin.web.console import Console
from trellis_admin.web.exports import save_rows
from trellis_admin.web.frame import show
from trellis_admin.web.links import jobs_link, path
from trellis_admin.web.pages.bulk import BULK_LOOKS, BULK_TITLES, list_recent
from trellis_admin.web.problems import NotThere

__all__ = ["show_dead", "show_dead_group"]

_COLUMNS: Final = (
    "fingerprint",
    "jobs",
    "error_type",
    "pattern",
    "service",
    "queue",
    "first_seen",
    "last_seen",
)
_NEWEST: Final = 10
_FINGERPRINT: Final = re.compile("[0-9a-f]{8}")


class _View(NamedTuple):
    groups: list[ErrorGroup]
    status: ProjectionStatus
    jobs: tuple[JobRow, ...]


async def show_dead(request: Request) -> Response:
    """Show the errors of all dead jobs, or of those of one queue."""
    return await _show(request, request.query_params.get("queue"), None)


async def show_dead_group(request: Request) -> Response:
    """Show one error."""
    fingerprint = request.path_params["fingerprint"].lower()
    if not _FINGERPRINT.fullmatch(fingerprint):
        raise NotThere(
            "There is no such error", f"{fingerprint} is not a fingerprint: these have 8 hexadecimal digits."
        )
    return await _show(request, None, fingerprint)


async def _show(request: Request, queue: str | None, fingerprint: str | None) -> Response:
    console: Console = request.state.console
    view = await console.query(_read, queue, fingerprint)
    if kind := request.query_params.get("format"):
        return save_rows(f"dead-{view.status.at}", kind, _COLUMNS, _once(view.groups), _cells)
    navigation = await console.read_navigation()
    queues = [row for row in navigation.queues if row.dead]
    total = sum(row.dead for row in queues)
    grouped = sum(group.jobs for group in view.groups)
    of_queue = sum(row.dead for row in queues if queue is None or row.queue == queue)
    values: dict[str, object] = {
        "one": view.groups[0] if fingerprint is not None and view.groups else None,
        "groups": view.groups,
        "grouped": grouped,
        "without_group": max(0, of_queue - grouped) if fingerprint is None else 0,
        "sequence": view.status.at,
        "queues": queues,
        "chosen": queue,
        "total": total,
        "jobs": view.jobs,
        "completed": sum(row.completed for row in navigation.queues) if navigation.queues else None,
        "job_by_job": jobs_link(request, _filter(queue, fingerprint)),
        "ask_address": partial(_ask_address, request, view.status.at),
        "bulks": [] if fingerprint is not None else await list_recent(request, limit=5),
        "bulk_looks": BULK_LOOKS,
        "bulk_titles": BULK_TITLES,
        "save_address": request.url,
    }
    return await show(request, "dead.html", "dead", values)


def _read(db: Connection, queue: str | None, fingerprint: str | None) -> _View:
    now = datetime.now(UTC)
    with snapshot(db):
        status = read_status(db)
        groups = list_error_groups(db, now, queue=queue, fingerprint=fingerprint)
        jobs: tuple[JobRow, ...] = ()
        if fingerprint is not None:
            wanted = parse_filter(_filter(queue, fingerprint), now)
            jobs = list_jobs(db, Selection(wanted, status.at), limit=_NEWEST).rows
    return _View(groups, status, jobs)


def _filter(queue: str | None, fingerprint: str | None) -> str:
    parts = [f"state:{JobState.DEAD}"]
    if queue is not None:
        parts.append(f'queue:"{queue}"')
    if fingerprint is not None:
        parts.append(f"error:{fingerprint}")
    return " ".join(parts)


def _ask_address(request: Request, at: int, group: ErrorGroup) -> str:
    wanted = f'{_filter(group.queue, group.fingerprint)} service:"{group.service}"'
    return f"{path(request, 'ask')}?{urlencode({'q': wanted, 'at': at, 'all': 1})}"


async def _once(groups: Sequence[ErrorGroup]) -> AsyncIterator[Sequence[ErrorGroup]]:
    yield groups


def _cells(group: ErrorGroup) -> Sequence[object]:
    return (
        group.fingerprint, group.jobs, group.error_type, group.pattern, group.service, group.queue,
        timestamp(group.first_seen), timestamp(group.last_seen),
    )  # fmt: skip
