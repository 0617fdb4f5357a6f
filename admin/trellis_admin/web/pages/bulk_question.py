"""Asks before many jobs are changed, and begins a bulk action once the count was typed."""

from __future__ import annotations

import re
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from pydantic import JsonValue, TypeAdapter
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from trellis_admin.bulk import (
    BEGIN_WITH,
    RATE,
    RATE_MAX,
    BulkAction,
    BulkPlan,
    BulkProblem,
    CountDiffers,
    DryRun,
)
from trellis_admin.queries import FilterProblem, parse_filter
from trellis_admin.web.actions import ACTIONS, JobAction
from trellis_admin.web.console import Console
from trellis_admin.web.frame import redirect, show
from trellis_admin.web.links import jobs_link, path
from trellis_admin.web.notices import Notice
from trellis_admin.web.pages.jobs import read_sequence
from trellis_admin.web.problems import NotThere
from trellis_admin.web.protection import Form
from trellis_admin.web.questions import DryLine, Question
from trellis_admin.web.signing import sign, unsign
from trellis_admin.web.text import duration, plural, typed_number

__all__ = ["ask_group", "ask_selection", "begin_bulk"]

_PURPOSE: Final = "plan"
_NAMED: Final = re.compile(r"[A-Za-z0-9_.-]+")
"""The name of a job: `<prefix>.<id>`."""
_REASONS: Final = 3
"""How many reasons of refusals a question shows."""
_DRY_RUN: Final = TypeAdapter(DryRun)


class _Answer(NamedTuple):
    """How a bulk action begins."""

    begin_with: int | None
    rate: float | None


async def ask_group(request: Request) -> Response:
    """Ask before the dead jobs with one error are replayed or dismissed."""
    fingerprint, action = request.path_params["fingerprint"], request.path_params["action"]
    return await _ask(request, f"state:dead error:{fingerprint}", action, request.query_params)


async def ask_selection(request: Request) -> Response:
    """Ask before the jobs of a selection are changed."""
    given = request.query_params
    text = given.get("q", "")
    if "all" not in given:
        chosen = given.getlist("id")
        if not chosen:
            what = "Nothing was changed. Select jobs, then choose what to do with them."
            return redirect(request, jobs_link(request, text), Notice("bad", "No job was selected", what))
        if not all(map(_NAMED.fullmatch, chosen)):
            what = "Nothing was changed: the id of a job has characters that no runtime can address."
            return redirect(request, jobs_link(request, text), Notice("bad", "A job cannot be changed", what))
        # The id alone would also find the jobs whose ids begin with it, and those of other queues.
        text = f"id:{','.join(chosen)}"
    return await _ask(request, text, given.get("action", ""), given)


async def begin_bulk(request: Request, form: Form) -> Response:
    """Begin a bulk action, if everything is as it was asked."""
    console: Console = request.state.console
    plan = _read_plan(console, form.one("plan"))
    if plan is None:
        what = "The question was older than the console. Nothing was changed."
        return redirect(request, path(request, "jobs"), Notice("bad", "Ask again", what))
    action = ACTIONS[plan.action]
    answer = _read_answer(plan, action, form)
    if isinstance(answer, str):
        return await _ask_again(request, plan, form, answer)
    bulk = console.operator(request.state.identity).bulk
    try:
        record = await bulk.start(
            plan,
            confirm=plan.count,
            reason=form.one("reason").strip() or None,
            begin_with=answer.begin_with,
            rate=answer.rate,
        )
    except CountDiffers as differs:
        newer = await bulk.plan(plan.action, plan.filter, at=plan.at)
        said = f"Nothing was {action.done}: {plural(differs.confirmed, 'job')} matched when you were asked, {differs.count:,} do now."
        return await _ask_again(request, newer, form, said)
    console.forget_navigation()
    return redirect(request, path(request, "bulk_action", bulk=record.id))


async def _ask(request: Request, text: str, name: str, given: QueryParams) -> Response:
    console: Console = request.state.console
    if name not in ACTIONS:
        raise NotThere("There is no such action", f'"{name:.50}" cannot be done with many jobs.')
    try:
        wanted = parse_filter(text, datetime.now(UTC))
        console.check_filter(request.state.identity, wanted)
        bulk = console.operator(request.state.identity).bulk
        plan = await bulk.plan(BulkAction(name), wanted, at=read_sequence(given.get("at")))
    except (FilterProblem, BulkProblem) as problem:
        return redirect(request, jobs_link(request, text), Notice("bad", "Nothing was changed", str(problem)))
    if not plan.count:
        what = f"No job that matches can be {ACTIONS[name].done}, as of sequence {plan.at:,}."
        return redirect(request, jobs_link(request, text), Notice("bad", f"There is nothing to {name}", what))
    return await show(request, "question.html", "jobs", {"ask": _make_question(request, plan)})


async def _ask_again(request: Request, plan: BulkPlan, form: Form, problem: str) -> Response:
    question = _make_question(request, plan)
    again = replace(
        question,
        problem=problem,
        reason=form.one("reason"),
        first=form.one("first", "10"),
        rate=question.rate and form.one("rate"),
    )
    return await show(request, "question.html", "jobs", {"ask": again}, status=422)


def _read_answer(plan: BulkPlan, action: JobAction, form: Form) -> _Answer | str:
    """Return how to begin; a sentence where something is not as it was asked."""
    typed = form.one("count").strip()
    if plan.count > 1 and typed_number(typed) != plan.count:
        said = f"you typed {typed[:40]}" if typed else "you typed no number"
        return f"Nothing was {action.done}: {said}, the filter has {plural(plan.count, 'job')}."
    if action.needs_reason and not form.one("reason").strip():
        return f"Nothing was {action.done}: a reason is missing."
    if not plan.action.sends:
        return _Answer(None, None)
    rate = typed_number(form.one("rate"))
    if rate is None or not 1 <= rate <= RATE_MAX:
        return f"Nothing was {action.done}: the rate must be 1 to {RATE_MAX:,.0f} jobs a second."
    return _Answer(None if form.one("first") == "all" else BEGIN_WITH, float(rate))


def _make_question(request: Request, plan: BulkPlan) -> Question:
    console: Console = request.state.console
    action, count = ACTIONS[plan.action], plan.count
    jobs = plural(count, "job")
    hint = (
        f"About {duration(timedelta(seconds=count / RATE))} at {RATE:g}. Stops when more than 5 % die again."
    )
    return Question(
        heading=f"{action.verb} {jobs}?",
        what=plan.filter.text,
        at=plan.at,
        address=path(request, "begin_bulk"),
        back=jobs_link(request, plan.filter.text),
        button=f"{action.verb} {jobs}",
        icon=action.icon,
        fields=(("plan", _write_plan(console, plan)),),
        dry=tuple(_list_dry(plan, action)),
        has_pace=plan.action.sends and count > BEGIN_WITH,
        rate=f"{RATE:g}" if plan.action.sends else None,
        rate_hint=hint,
        has_reason=True,
        needs_reason=action.needs_reason,
        count=count if count > 1 else None,
    )


def _list_dry(plan: BulkPlan, action: JobAction) -> list[DryLine]:
    dry = plan.dry_run
    lines = [DryLine("s-completed", dry.accepted, f"would be {action.done}")]
    lines += [
        DryLine("s-failed", refusal.number, f"would be refused: {refusal.reason}")
        for refusal in dry.reasons[:_REASONS]
    ]
    others = dry.refused - sum(refusal.number for refusal in dry.reasons[:_REASONS])
    if others > 0:
        lines.append(DryLine("s-failed", others, "would be refused for other reasons"))
    if dry.expired:
        lines.append(DryLine("s-expired", dry.expired, "would be refused: their deadline has passed"))
    lines += [DryLine("s-pending", idle.jobs, f"would wait: {idle.queue} {idle.why}") for idle in plan.idle]
    if not dry.is_complete:
        lines.append(
            DryLine("s-pending", max(0, plan.count - dry.checked), "were not checked: a dry run is bounded")
        )
    return lines


def _write_plan(console: Console, plan: BulkPlan) -> str:
    """Return a plan for a form: what is confirmed is what was shown."""
    value: dict[str, JsonValue] = {
        "action": plan.action,
        "filter": plan.filter.text,
        "at": plan.at,
        "count": plan.count,
        "dry": {**asdict(plan.dry_run), "reasons": []},
    }
    return sign(_PURPOSE, value, console.tokens.secret)


def _read_plan(console: Console, text: str) -> BulkPlan | None:
    match unsign(_PURPOSE, text, console.tokens.secret):
        case {"action": str(name), "filter": str(wanted), "at": int(at), "count": int(count), "dry": dry}:
            return BulkPlan(
                action=BulkAction(name),
                filter=parse_filter(wanted, datetime.now(UTC)),
                at=at,
                count=count,
                dry_run=_DRY_RUN.validate_python(dry),
            )
        case _:
            return None
