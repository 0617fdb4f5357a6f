"""One concurrency key: its holders, the jobs that wait for it, and freeing it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from trellis_admin.audit_log import CannotRead
from trellis_admin.keys import KeyProblem, StoredKey
from trellis_admin.queries import QueueRow, Selection, Sort, list_jobs, parse_filter, read_status
from trellis_admin.web.console import Console
from trellis_admin.web.frame import redirect, show
from trellis_admin.web.key_views import describe_slots
from trellis_admin.web.links import jobs_link, path
from trellis_admin.web.notices import Notice
from trellis_admin.web.pages.queue import find_queue
from trellis_admin.web.problems import NotThere
from trellis_admin.web.protection import Form
from trellis_admin.web.questions import Question
from trellis_admin.web.text import plural

__all__ = ["ask_key", "release_key", "show_key"]

_JOBS_MAX: Final = 100


async def show_key(request: Request) -> Response:
    """Show a key."""
    console: Console = request.state.console
    queue = await find_queue(request)
    key_hash = _hash(request)
    key = await _read(request, queue, key_hash)
    at = (await console.query(read_status)).at
    wanted = parse_filter(
        f'queue:"{queue.queue}" key:{key_hash} state:pending,active,retry', datetime.now(UTC)
    )
    page = await console.query(list_jobs, Selection(wanted, at), limit=_JOBS_MAX, sort=Sort.OLDEST)
    if key is None and not page.rows:
        raise _missing(queue, key_hash)
    named = key.key if key is not None else page.rows[0].key
    values = {
        "name": named or key_hash[:12],
        "hash": key_hash,
        "service": queue.service,
        "queue": queue.queue,
        "slots": [] if key is None or not key.holders else describe_slots(request, queue, key),
        "note": "its record cannot be read"
        if key is None
        else f"{len(key.holders)} of {key.max_active} in use",
        "rules": () if key is None else _list_rules(key),
        "jobs": page.rows,
        "all_jobs": jobs_link(request, f"queue:{queue.queue} key:{key_hash}"),
    }
    return await show(request, "key.html", "queue", values, here=queue.queue)


async def ask_key(request: Request) -> Response:
    """Ask before a key is freed."""
    queue = await find_queue(request)
    key = await _require(request, queue)
    given = request.query_params.get("job")
    holder = next(
        (one for one in key.holders if one.job_id == given), key.holders[0] if key.holders else None
    )
    if holder is None:
        raise NotThere("No job holds this key", "There is nothing to free.")
    place = {"service": queue.service, "queue": queue.queue, "key": key.key_hash}
    ask = Question(
        heading=f"Free the key {key.key or key.key_hash[:12]}?",
        what=f"{queue.queue} · held by {holder.job_id} on {holder.worker}",
        address=path(request, "release_key", **place),
        back=path(request, "key", **place),
        button="Free the key",
        icon="keys",
        fields=(("job", holder.job_id), ("revision", str(key.revision))),
        text="The job that holds it becomes stale, and the next one begins. A key whose owner is still there is not freed.",
        has_reason=True,
        needs_reason=True,
    )
    return await show(request, "question.html", "queue", {"ask": ask}, here=queue.queue)


async def release_key(request: Request, form: Form) -> Response:
    """Free one slot of a key, if its record is as it was seen."""
    console: Console = request.state.console
    queue = await find_queue(request)
    key = await _require(request, queue)
    back = path(request, "key", service=queue.service, queue=queue.queue, key=key.key_hash)
    if form.one("revision") != str(key.revision):
        return redirect(
            request,
            back,
            Notice("bad", "Not freed: the key has changed since", "The page shows what is true now."),
        )
    reason = form.one("reason").strip() or None
    try:
        released = await console.operator(request.state.identity).keys.release(
            key, reason=reason, job_id=form.one("job") or None
        )
    except KeyProblem as problem:
        return redirect(request, back, Notice("bad", "Not freed", str(problem)))
    text = f"Job {released.job_id} is {released.job_state or 'gone'}; the next one begins."
    return redirect(request, back, Notice("good", "The key is free", text))


async def _read(request: Request, queue: QueueRow, key_hash: str) -> StoredKey | None:
    console: Console = request.state.console
    try:
        return await console.operator(request.state.identity).keys.show(queue.prefix, key_hash)
    except (KeyProblem, CannotRead):
        return None


async def _require(request: Request, queue: QueueRow) -> StoredKey:
    key_hash = _hash(request)
    key = await _read(request, queue, key_hash)
    if key is None:
        raise _missing(queue, key_hash)
    return key


def _missing(queue: QueueRow, key_hash: str) -> NotThere:
    return NotThere(
        "There is no such key", f"No job of {queue.queue} that has not ended has the key {key_hash[:12]}."
    )


def _list_rules(key: StoredKey) -> tuple[tuple[str, str], ...]:
    return (
        ("At a time", f"{key.max_active} active and {key.max_queued} waiting"),
        (
            "Taken over",
            f"{plural(key.takeovers, 'time')}, because the owner was gone" if key.takeovers else "never",
        ),
        ("Revision", f"{key.revision:,}"),
    )


def _hash(request: Request) -> str:
    key_hash: str = request.path_params["key"].lower()
    if not (key_hash.isalnum() and key_hash.isascii()):
        raise NotThere("There is no such key", f"{key_hash:.100} is not the hash of a key.")
    return key_hash
