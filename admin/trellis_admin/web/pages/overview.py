"""The first page: what needs attention, rates, and the queues."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from trellis_admin.bulk import BulkState
from trellis_admin.queries import Attention, AttentionKind, Overview, QueueRow, read_overview
from trellis_admin.web import charts
from trellis_admin.web.console import Console, Pause
from trellis_admin.web.frame import show
from trellis_admin.web.links import dead_group, jobs_link, path
from trellis_admin.web.pages.bulk import BULK_TITLES
from trellis_admin.web.text import plural

__all__ = ["show_overview"]

_PERIODS: Final = {
    "15m": ("15 min", timedelta(minutes=15)),
    "1h": ("1 h", timedelta(hours=1)),
    "6h": ("6 h", timedelta(hours=6)),
    "24h": ("24 h", timedelta(hours=24)),
}
_USUAL: Final = "1h"
_SELDOM: Final = 10
"""How often a minute what happens has a digit after the point."""
_SORTS: Final[dict[str, Callable[[QueueRow], Any]]] = {
    "queue": lambda queue: queue.queue,
    "waiting": lambda queue: -queue.waiting,
    "oldest": lambda queue: (queue.oldest is None, queue.oldest),
    "ended": lambda queue: -queue.ended_per_minute,
    "dead": lambda queue: -queue.dead,
}
_SERVICE: Final = ("Service", "c-3 c-4", "")
_COLUMNS: Final[tuple[tuple[str, str, str], ...]] = (
    ("Queue", "", "queue"),
    _SERVICE,
    ("Waiting", "num", "waiting"),
    ("Oldest", "num c-2", "oldest"),
    ("History", "c-3", ""),
    ("Running", "c-2", ""),
    ("Ended/min", "num c-2", "ended"),
    ("Success %", "num c-3", ""),
    ("Run time p95", "num c-3", ""),
    ("Dead", "num", "dead"),
)


@dataclass(frozen=True, slots=True)
class Todo:
    """A line of "Needs attention"."""

    icon: str
    style: str
    what: str
    detail: str
    address: str
    since: datetime | None


@dataclass(frozen=True, slots=True)
class _Column:
    word: str
    style: str
    address: str
    is_sorted: bool
    order: str


@dataclass(frozen=True, slots=True)
class _Last:
    completed: int
    failed: int
    died: int


async def show_overview(request: Request) -> Response:
    """Show the overview of a period."""
    console: Console = request.state.console
    last = request.query_params.get("last", _USUAL)
    period, window = _PERIODS.get(last, _PERIODS[_USUAL])
    view = await console.query(read_overview, window, datetime.now(UTC))
    pauses = await console.read_pauses()
    series = view.completed_series
    sort = request.query_params.get("sort", "waiting")
    services = len({queue.service for queue in view.queues})
    values: dict[str, object] = {
        "view": view,
        "period": period,
        "periods": [
            (word, str(request.url.include_query_params(last=name)), word == period)
            for name, (word, _) in _PERIODS.items()
        ],
        "jobs": partial(jobs_link, request),
        "rate": format_rate,
        "is_empty": not view.queues,
        "todo": _list_todo(request, view, pauses),
        "step": "minute" if series.step == timedelta(minutes=1) else f"{series.step.seconds // 60} min",
        "last": _Last(
            _newest(series.values),
            _newest(view.failed_attempts_series.values),
            _newest(view.died_series.values),
        ),
        "ceiling": charts.nice_ceiling(max(series.values, default=0), parts=2),
        "low_ceiling": charts.nice_ceiling(_tallest(view)),
        "labels": charts.time_labels(series.start, series.start + series.step * (len(series.values) - 1), 5),
        "columns": [
            _column(request, column, sort) for column in _COLUMNS if services > 1 or column is not _SERVICE
        ],
        "queues": sorted(view.queues, key=_SORTS.get(sort, _SORTS["waiting"])),
        "services": services,
        "paused": {pause.prefix for pause in pauses},
    }
    return await show(request, "overview.html", "overview", values)


def format_rate(per_minute: float) -> str:
    """Return how often something happens in a minute, with a digit after the point where it is seldom."""
    return f"{per_minute:,.0f}" if per_minute >= _SELDOM or per_minute == 0 else f"{per_minute:.1f}"


def _newest(values: Sequence[int]) -> int:
    """Return the number of the last whole step: the one after it is under way."""
    return values[-2] if len(values) > 1 else 0


def _tallest(view: Overview) -> int:
    pairs = zip(view.died_series.values, view.failed_attempts_series.values, strict=True)
    return max((dead + failed for dead, failed in pairs), default=0)


def _column(request: Request, column: tuple[str, str, str], sort: str) -> _Column:
    word, style, name = column
    address = str(request.url.include_query_params(sort=name)) if name else ""
    return _Column(
        word, style, address, name == sort, "ascending" if name in {"queue", "oldest"} else "descending"
    )


def _list_todo(request: Request, view: Overview, pauses: Sequence[Pause]) -> list[Todo]:
    """Return what needs an operator: what the projection knows, and pauses, which are in buckets."""
    dead = [item for item in view.attention if item.kind is AttentionKind.DEAD]
    others = [item for item in view.attention if item.kind not in {AttentionKind.DEAD, AttentionKind.PAUSED}]
    waiting = {queue.prefix: queue.waiting for queue in view.queues}
    paused = [
        Todo(
            "pause",
            "s-retry",
            f"{pause.queue} is paused",
            f"{plural(waiting.get(pause.prefix, 0), 'job waits', 'jobs wait')} · by {pause.by}",
            path(request, "queue", service=pause.service, queue=pause.queue),
            pause.since,
        )
        for pause in pauses
    ]
    return [
        *(_describe(request, item) for item in dead),
        *_list_bulk_actions(request),
        *paused,
        *(_describe(request, item) for item in others),
    ]


def _list_bulk_actions(request: Request) -> Iterator[Todo]:
    """Yield the bulk actions that an operator has to let go on."""
    console: Console = request.state.console
    words = {BulkState.WAITING: "waits for “go on”", BulkState.STOPPED: "stopped"}
    for record in console.bulk_actions:
        if record.state not in words:
            continue
        is_stopped = record.state is BulkState.STOPPED
        yield Todo(
            "warn" if is_stopped else "bulk",
            "s-dead" if is_stopped else "faint",
            f"{BULK_TITLES[record.action]} of {plural(record.count, 'job')} {words[record.state]}",
            record.note or f"{record.left:,} to come · by {record.actor}",
            path(request, "bulk_action", bulk=record.id),
            record.created_at,
        )


def _describe(request: Request, item: Attention) -> Todo:
    where = item.queue or item.service
    jobs = plural(item.number, "job")
    queue = path(request, "queue", service=item.service, queue=item.queue or "-")
    match item.kind:
        case AttentionKind.DEAD:
            what, detail = f"{item.number:,} dead with one error", f"{where} · {item.subject}"
            return Todo("s-dead", "s-dead", what, detail, dead_group(request, item.fingerprint), item.since)
        case AttentionKind.NO_WORKER:
            return Todo(
                "warn",
                "s-dead",
                f"{where} has no worker",
                f"{plural(item.number, 'job waits', 'jobs wait')}",
                queue,
                item.since,
            )
        case AttentionKind.SILENT:
            what, address = "A worker is silent", path(request, "workers")
            return Todo("warn", "s-retry", what, f"{jobs} in hand · {item.subject}", address, item.since)
        case AttentionKind.BLOCKED:
            what, address = "A worker is blocked", jobs_link(request, f"worker:{item.subject} state:active")
            return Todo("warn", "s-retry", what, f"{jobs} in hand · {item.subject}", address, item.since)
        case AttentionKind.PAUSED:
            return Todo(
                "pause",
                "s-retry",
                f"{where} is paused",
                f"{plural(item.number, 'job waits', 'jobs wait')}",
                queue,
                item.since,
            )
        case AttentionKind.OTHER_VERSION:
            what = f"{plural(item.number, 'job waits', 'jobs wait')} for a worker of another version"
            address = jobs_link(request, f"queue:{where} contract:{item.subject[:12]} state:pending,retry")
            return Todo(
                "branch", "faint", what, f"{where} · contract {item.subject[:8]}", address, item.since
            )
        case AttentionKind.OVERDUE:
            what, address = (
                f"{jobs} passed {'its' if item.number == 1 else 'their'} deadline",
                jobs_link(request, f"queue:{where} state:pending,retry"),
            )
            return Todo("s-expired", "s-expired", what, f"{where} · none was expired", address, item.since)
        case AttentionKind.NO_SLOT:
            what, address = f"{where} has no free slot", jobs_link(request, f"queue:{where} state:active")
            detail = f"{plural(item.number, 'job waits', 'jobs wait')}, and none has begun"
            return Todo("clock", "s-retry", what, detail, address, item.since)
        case AttentionKind.STUCK:
            what, detail = f"{where} stands still", "slots are free, and the oldest job waits"
            return Todo("clock", "s-retry", what, detail, queue, item.since)
