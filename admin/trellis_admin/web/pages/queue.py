"""One queue: how deep it is, how it runs, its keys; and its pause."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial
from sqlite3 import Connection
from typing import Final, NamedTuple

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response
from trellis_nats.jobs.pause import PauseResult, ResumeResult

from trellis_admin.queries import (
    QueueRow,
    Series,
    WorkerRow,
    list_queues,
    list_workers,
    snapshot,
)
from trellis_admin.web import charts
from trellis_admin.web.console import Console, Pause
from trellis_admin.web.frame import redirect, show
from trellis_admin.web.key_views import KeyLine, KeyLines, describe_keys
from trellis_admin.web.links import jobs_link, path
from trellis_admin.web.notices import Notice
from trellis_admin.web.pages.overview import format_rate
from trellis_admin.web.problems import NotThere
from trellis_admin.web.protection import Form
from trellis_admin.web.questions import Question
from trellis_admin.web.queue_rules import list_rules
from trellis_admin.web.text import plural

__all__ = ["ask_queue", "change_queue", "find_queue", "show_queue"]

_HOUR: Final = timedelta(hours=1)
_HEIGHT: Final = 144


class _View(NamedTuple):
    queue: QueueRow
    workers: list[WorkerRow]


async def show_queue(request: Request) -> Response:
    """Show a queue."""
    console: Console = request.state.console
    view = await console.query(_read, request.path_params["service"], request.path_params["queue"])
    queue = view.queue
    pause = next((one for one in await console.read_pauses() if one.prefix == queue.prefix), None)
    keys = await describe_keys(request, queue)
    chosen = request.query_params.get("keys", "all")
    shown = [line for line in keys.lines if _is_chosen(line, chosen)]
    ceiling = charts.nice_ceiling(max(queue.history.values, default=0), parts=2)
    history = queue.history
    contract = console.find_contract(queue.prefix)
    stated = None if contract is None else contract.find_queue(queue.prefix)
    values: dict[str, object] = {
        "queue": queue,
        "pause": pause,
        "jobs": partial(_link_jobs, request, queue),
        "rate": format_rate,
        "keys": shown,
        "all_keys": keys.total,
        "blocked": keys.blocked,
        "held": keys.held,
        "key_links": _link_keys(request, keys, chosen),
        "ceiling": ceiling,
        "plot": _draw_depth(history, ceiling, pause),
        "labels": charts.time_labels(history.start, history.start + history.step * len(history.values), 5),
        "digests": _count_digests(view),
        "contract": contract,
        "rules": [] if stated is None else list_rules(stated),
    }
    return await show(request, "queue.html", "queue", values, here=queue.queue)


async def ask_queue(request: Request) -> Response:
    """Ask before a queue is paused or resumed."""
    console: Console = request.state.console
    queue = await find_queue(request)
    action = request.path_params["action"]
    if action not in {"pause", "resume"}:
        raise NotThere("There is no such question", f"A queue can be paused and resumed, not {action}.")
    paused = next((one for one in await console.read_pauses() if one.prefix == queue.prefix), None)
    waits = f"{queue.queue} of {queue.service} · {plural(queue.waiting, 'job waits', 'jobs wait')}"
    is_pause = action == "pause"
    ask = Question(
        heading=f"{'Pause' if is_pause else 'Resume'} {queue.queue}?",
        what=waits if paused is None or is_pause else f"{waits} · paused by {paused.by}",
        address=path(request, "change_queue", service=queue.service, queue=queue.queue, action=action),
        back=path(request, "queue", service=queue.service, queue=queue.queue),
        button=f"{'Pause' if is_pause else 'Resume'} the queue",
        icon="pause" if is_pause else "play",
        text="All workers stop to begin jobs within a second. Jobs that run go on, and new ones are accepted."
        if is_pause
        else "All workers begin jobs again within a second.",
        has_reason=True,
        needs_reason=is_pause,
    )
    return await show(request, "question.html", "queue", {"ask": ask}, here=queue.queue)


async def change_queue(request: Request, form: Form) -> Response:
    """Pause or resume a queue."""
    console: Console = request.state.console
    queue = await find_queue(request)
    operator = console.operator(request.state.identity)
    reason = form.one("reason").strip() or None
    match request.path_params["action"]:
        case "pause":
            notice = _say_paused(queue.queue, await operator.pause(queue.prefix, reason=reason))
        case "resume":
            notice = _say_resumed(queue.queue, await operator.resume(queue.prefix, reason=reason))
        case other:
            raise NotThere("There is no such action", f"A queue can be paused and resumed, not {other}.")
    console.forget_navigation()
    return redirect(request, path(request, "queue", service=queue.service, queue=queue.queue), notice)


def _say_paused(queue: str, result: PauseResult) -> Notice:
    if not result.is_new:
        return Notice("info", f"{queue} was paused already, by {result.pause.by}")
    return Notice("good", f"{queue} is paused", "Its workers begin no job any more within a second.")


def _say_resumed(queue: str, result: ResumeResult) -> Notice:
    if result.missing_bucket is not None:
        text = f"Bucket {result.missing_bucket} does not exist. Workers that had seen a pause stay paused until it exists again."
        return Notice("bad", f"{queue} has no record of a pause", text)
    if result.removed is None:
        return Notice("info", f"{queue} was not paused")
    return Notice("good", f"{queue} is resumed", "Its workers begin jobs again within a second.")


async def find_queue(request: Request) -> QueueRow:
    """Return the queue that an address names.

    Raises:
        NotThere: there is none.
    """
    console: Console = request.state.console
    view = await console.query(_read, request.path_params["service"], request.path_params["queue"])
    return view.queue


def _read(db: Connection, service: str, name: str) -> _View:
    now = datetime.now(UTC)
    with snapshot(db):
        found = [row for row in list_queues(db, _HOUR, now) if row.service == service and row.queue == name]
        if not found:
            raise NotThere(
                f"There is no queue {name} of {service}",
                "No job of it is in the stream, and no worker has sent a heartbeat for it in the last day.",
            )
        return _View(found[0], list_workers(db, now))


def _draw_depth(history: Series, ceiling: int, pause: Pause | None) -> Markup:
    hatched = Markup("")
    if pause is not None:
        share = (pause.since - history.start) / (history.step * len(history.values))
        x = 600 * min(max(share, 0.0), 0.99)
        hatched = Markup(
            '<rect class="span-paused" x="{0:.0f}" y="0" width="{1:.0f}" height="{2}"/><path class="edge-paused" d="M{0:.0f} 0V{2}"/>'
        ).format(x, 600 - x, _HEIGHT)
    label = f"Jobs waiting in the last hour, now {history.values[-1] if history.values else 0:,}"
    return charts.plot_area(history.values, ceiling, _HEIGHT, label, extra=hatched)


def _count_digests(view: _View) -> list[tuple[str, int]]:
    digests = Counter(
        worker.digest
        for worker in view.workers
        if worker.digest is not None and any(one.prefix == view.queue.prefix for one in worker.queues)
    )
    return digests.most_common()


def _link_jobs(request: Request, queue: QueueRow, terms: str) -> str:
    return jobs_link(request, f'queue:"{queue.queue}" service:"{queue.service}" {terms}'.strip())


def _is_chosen(line: KeyLine, chosen: str) -> bool:
    return chosen in {"all", line.kind} or (chosen == "waited-for" and line.waiting > 0)


def _link_keys(request: Request, keys: KeyLines, chosen: str) -> list[tuple[str, str, bool]]:
    words = (
        ("All", "all"),
        (f"Blocked {keys.blocked}", "blocked"),
        (f"Held {keys.held}", "held"),
        ("Waited for", "waited-for"),
    )
    return [(word, f"{request.url.path}?keys={name}#keys", chosen == name) for word, name in words]
