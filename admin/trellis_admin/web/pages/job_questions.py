"""Asks before one job is changed, and changes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from trellis_nats.errors import ActionRefused, InvalidPayload, JobNotEnqueued

from trellis_admin.queries import JobRow
from trellis_admin.web.actions import ACTIONS, CANCEL, DISMISS, EDIT, RECREATE, REPLAY, RETRY, JobAction
from trellis_admin.web.console import Console
from trellis_admin.web.frame import redirect, show
from trellis_admin.web.json_text import print_editable
from trellis_admin.web.links import path
from trellis_admin.web.notices import Notice
from trellis_admin.web.pages.job import find_job
from trellis_admin.web.pages.jobs import read_sequence
from trellis_admin.web.problems import NotThere
from trellis_admin.web.protection import Form
from trellis_admin.web.questions import Question

__all__ = ["ask_job", "change_job"]

_HIDDEN_SHOWN: Final = 5
_TEXTS: Final = {
    RETRY.name: "It begins again with the payload that is stored, and with all its attempts.",
    REPLAY.name: "It begins again with the payload that is stored, and with all its attempts. It keeps its id.",
    CANCEL.name: "A handler that runs sees it, and what it returns does not matter any more.",
    DISMISS.name: "It counts as dead no longer, and cannot be replayed.",
    RECREATE.name: "A new job with the stored payload waits for its key, and names this one, which stays stale.",
    EDIT.name: "Its payload is shown, so that it can be edited. The audit log names you.",
}


async def ask_job(request: Request) -> Response:
    """Ask before a job is changed."""
    job = await find_job(request)
    action = _find_action(request)
    return await show(request, "question.html", "jobs", {"ask": _ask(request, job, action)}, here=job.queue)


async def change_job(request: Request, form: Form) -> Response:
    """Change a job as it was seen; a job that has changed since is left as it is, and the page says so."""
    console: Console = request.state.console
    action = _find_action(request)
    job = await find_job(request, form.one("prefix"))
    seen = read_sequence(form.one("seen")) or job.state_sequence
    reason = form.one("reason").strip() or None
    operator = console.operator(request.state.identity)
    back = path(request, "job", job=job.id)
    try:
        match action.name:
            case "retry":
                await operator.retry(job, seen=seen, reason=reason)
            case "replay":
                await operator.replay(job, seen=seen, reason=reason)
            case "cancel":
                await operator.cancel(job, seen=seen, reason=reason)
            case "dismiss":
                await operator.dismiss(job, seen=seen, reason=reason)
            case "recreate":
                made = await operator.recreate(job, seen=seen, reason=reason)
                notice = Notice(
                    "good", "Created again as a new job", f"It names {job.id}, which stays stale."
                )
                return redirect(request, path(request, "job", job=made), notice)
            case _:
                payload = form.one("payload")
                if not payload:
                    return await _reveal_to_edit(request, job)
                try:
                    made = await operator.replay_edited(job, payload.encode(), seen=seen, reason=reason)
                except InvalidPayload as problem:
                    return await _ask_edit(request, job, payload, reason or "", str(problem))
                notice = Notice("good", "Replayed as a new job", f"It names {job.id}, which is dismissed.")
                return redirect(request, path(request, "job", job=made), notice)
    except (ActionRefused, JobNotEnqueued) as refusal:
        notice = Notice("bad", f"Not {action.done}: {refusal}", "The page shows what is true now.")
        return redirect(request, back, notice)
    console.forget_navigation()
    return redirect(request, back, Notice("good", f"The job is {action.done}"))


def _find_action(request: Request) -> JobAction:
    name = request.path_params["action"]
    action = next((one for one in (EDIT, RECREATE) if one.name == name), ACTIONS.get(name))
    if action is None:
        raise NotThere("There is no such action", f"{name} cannot be done with a job.")
    return action


def _ask(request: Request, job: JobRow, action: JobAction) -> Question:
    return Question(
        heading=f"{action.verb} this job?",
        what=f"{job.queue} · {job.id} · {job.state}",
        address=path(request, "change_job", job=job.id, action=action.name),
        back=path(request, "job", job=job.id),
        button="Show the payload" if action is EDIT else action.verb,
        icon=action.icon,
        fields=_fields(job),
        text=_TEXTS[action.name],
        has_reason=action is not EDIT,
        needs_reason=action.needs_reason,
    )


async def _reveal_to_edit(request: Request, job: JobRow) -> Response:
    """Show the payload in a field, once the audit log says who looks. Only the answer to a form does: a browser may fetch links ahead."""
    console: Console = request.state.console
    revealed = await console.operator(request.state.identity).reveal(job)
    if revealed.hidden:
        return redirect(request, path(request, "job", job=job.id), _cannot_edit(job, revealed.hidden))
    return await _ask_edit(request, job, print_editable(revealed.text), "", "")


async def _ask_edit(request: Request, job: JobRow, payload: str, reason: str, problem: str) -> Response:
    """Show a payload in a field."""
    ask = Question(
        heading="Edit and replay this job?",
        what=f"{job.queue} · {job.id} · {job.state}",
        address=path(request, "change_job", job=job.id, action=EDIT.name),
        back=path(request, "job", job=job.id),
        button="Replay as a new job",
        icon=EDIT.icon,
        fields=_fields(job),
        problem=problem,
        payload=payload,
        has_reason=True,
        needs_reason=True,
        reason=reason,
    )
    status = 422 if problem else 200
    return await show(
        request, "question.html", "jobs", {"ask": ask}, here=job.queue, status=status, is_secret=True
    )


def _cannot_edit(job: JobRow, hidden: Sequence[str]) -> Notice:
    text = (
        f"The schema calls {', '.join(hidden[:_HIDDEN_SHOWN])} secret: the new job would have placeholders there. With the whole payload in "
        f"a file: trellis dead replay {job.id} --edit FILE --contract PACKAGE"
    )
    return Notice("bad", "The payload cannot be edited here: a part of it stays hidden", text)


def _fields(job: JobRow) -> tuple[tuple[str, str], ...]:
    return (("prefix", job.prefix), ("seen", str(job.state_sequence)))
