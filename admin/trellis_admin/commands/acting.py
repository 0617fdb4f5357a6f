"""Acts on jobs for the commands `jobs` and `dead`: single ones by their ids, many by a filter, a count and a confirmation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from trellis_admin.commands.choosing import choose, find_job
from trellis_admin.exits import ExitCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trellis_nats import TrellisError

    from trellis_admin.bulk import BulkPlan, BulkRecord
    from trellis_admin.operator import Operator

__all__ = [
    "Action",
    "AllAtOnce",
    "BeginWith",
    "Confirmed",
    "DryRun",
    "Ids",
    "Matching",
    "Rate",
    "Reason",
    "act_on_jobs",
    "act_on_many",
    "exit_with",
    "print_bulk",
    "require_one",
    "run_bulk",
]

Action = Literal["cancel", "retry", "replay", "dismiss", "recreate"]

Ids = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[ID]...",
        show_default=False,
        help="Jobs by id, or by at least 8 characters of its beginning; as <prefix>.<id> where several queues have one.",
    ),
]
Matching = Annotated[
    str | None,
    typer.Option(
        "--matching",
        "-m",
        metavar="FILTER",
        help="All jobs that match, as of now: a bulk action with a count to confirm.",
    ),
]
Reason = Annotated[
    str | None,
    typer.Option(
        "--reason", "-r", metavar="TEXT", help="Why: for the history of the jobs and the audit log."
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Count what would happen, and change nothing.")]
Confirmed = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for the count.")]
Rate = Annotated[
    float | None,
    typer.Option(
        min=0.1,
        max=5_000,
        metavar="N",
        help="Jobs a second, 0.1 to 5,000. Default: 20 where jobs begin again, else as many as possible.",
    ),
]
BeginWith = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Begin with N jobs, then wait for `trellis bulk go-on`. Default: 10 where jobs begin again.",
    ),
]
AllAtOnce = Annotated[bool, typer.Option("--all-at-once", help="Do not wait after the first jobs.")]

_PAST = {
    "cancel": "cancelled",
    "retry": "retried",
    "replay": "replayed",
    "dismiss": "dismissed",
    "recreate": "created again",
}


def require_one(
    ids: list[str] | None,
    matching: str | None,
    group: str | None = None,
    *,
    rate: float | None,
    begin_with: int | None = None,
    all_at_once: bool = False,
) -> None:
    """Require ids, or else a group or a filter of jobs; and a pace only for the latter.

    Raises:
        BadParameter: both are given, or neither is; the filter is empty; or the options of a pace do not go with them.
    """
    if matching is not None and not matching.strip():  # a variable of a shell that is not set
        raise typer.BadParameter(
            "the filter is empty, and every job would match; if that is meant, name their state, as in state:dead",
            param_hint="--matching",
        )
    if bool(ids) == (matching is not None or group is not None):
        raise typer.BadParameter(
            "name jobs by their ids, or all that match with --matching; dead ones also with --group",
            param_hint="ID",
        )
    pace = {"--rate": rate is not None, "--begin-with": begin_with is not None, "--all-at-once": all_at_once}
    for option, is_given in pace.items():
        if ids and is_given:
            raise typer.BadParameter(
                "jobs that are named by id are acted upon at once; name many with --matching",
                param_hint=option,
            )
    if all_at_once and begin_with is not None:
        raise typer.BadParameter("leave out --begin-with", param_hint="--all-at-once")


async def act_on_jobs(
    operator: Operator,
    action: Action,
    ids: Sequence[str],
    *,
    reason: str | None,
    dry_run: bool,
    as_json: bool,
) -> NoReturn:
    """Act on each of some jobs, and exit. One that is refused does not keep the others from being tried.

    It never returns: what stands after a call acts on all jobs that match.
    """
    from trellis_nats import TrellisError

    from trellis_admin.terminal import print_json, print_text

    if dry_run:
        # The id alone would also find the jobs whose ids begin with it, and those of other queues.
        places = [await find_job(operator, job) for job in ids]
        named = ",".join(f"{place.prefix}.{place.id}" for place in places)
        _print_plan(await operator.bulk.plan(action, f"id:{named}"), as_json=as_json)
        raise typer.Exit
    results: list[dict[str, object]] = []
    worst = ExitCode.OK
    acted_on: set[str] = set()
    for job in ids:
        try:
            place = await find_job(operator, job)
            target = f"{place.prefix}.{place.id}"
            if target in acted_on:
                continue
            acted_on.add(target)
            named = job if job == target else place.id
            result, text = await _act_on_one(operator, action, target, named, reason)
        except TrellisError as error:
            results.append({"id": job, "done": False, "why": str(error)})
            worst = max(worst, _report(error, as_json=as_json))
        else:
            results.append({"id": named, "done": True, **result})
            if not as_json:
                print_text(text)
                if action == "cancel" and result["previous"] == "active":
                    typer.echo(
                        f"its handler goes on until it looks at job.is_cancelled; trellis jobs stack {named} shows what it does",
                        err=True,
                    )
    if as_json:
        print_json(f"{action}-result", {"jobs": results})
    raise typer.Exit(worst)


async def _act_on_one(
    operator: Operator, action: Action, target: str, named: str, reason: str | None
) -> tuple[dict[str, object], str]:
    """Return what JSON and a sentence say of a job that was acted upon."""
    if action == "recreate":
        created = await operator.recreate(target, reason=reason)
        text = f"{named} stays stale; created again as {created}\nnext: trellis jobs watch {created}"
        return {"new": created}, text
    act = {
        "cancel": operator.cancel,
        "retry": operator.retry,
        "replay": operator.replay,
        "dismiss": operator.dismiss,
    }[action]
    done = await act(target, reason=reason)
    return (
        {"previous": done.previous, "state": done.state, "sequence": done.sequence},
        f"{named} {_PAST[action]}; it was {done.previous}, and is {done.state}",
    )


def _report(error: TrellisError, *, as_json: bool) -> ExitCode:
    """Print why one of several jobs was refused. Return the exit code."""
    from trellis_admin.failures import exit_code_of
    from trellis_admin.terminal.tables import without_controls

    if not as_json:
        typer.echo(without_controls(f"trellis: {error}"), err=True)
    return exit_code_of(error) or ExitCode.SERVER


async def act_on_many(
    operator: Operator,
    action: Action,
    query: str,
    *,
    reason: str | None,
    dry_run: bool,
    is_agreed: bool,
    rate: float | None,
    begin_with: int | None,
    all_at_once: bool,
    as_json: bool,
) -> None:
    """Count, ask, begin, and run until it is done or waits."""
    from trellis_nats._support.plural import plural

    from trellis_admin.bulk import BEGIN_WITH, RATE
    from trellis_admin.terminal import confirm_count

    plan = await operator.bulk.plan(action, await choose(operator, [query]))
    is_all = dry_run or not plan.count
    if is_all or not as_json:
        _print_plan(plan, as_json=as_json)
    if is_all:
        return
    confirm_count(f"{plural(plan.count, 'job')} will be {_PAST[action]}.", plan.count, is_agreed=is_agreed)
    first = None if all_at_once else begin_with or (BEGIN_WITH if plan.action.sends else None)
    pace = RATE if rate is None and plan.action.sends else rate
    record = await operator.bulk.start(plan, confirm=plan.count, reason=reason, begin_with=first, rate=pace)
    await run_bulk(operator, record, as_json=as_json)


def _print_plan(plan: BulkPlan, *, as_json: bool) -> None:
    from trellis_admin.terminal import print_json, print_text
    from trellis_admin.texts.bulk_actions import describe_plan

    if not as_json:
        print_text(describe_plan(plan))
        return
    wire = {
        "action": plan.action,
        "filter": plan.filter.text,
        "at": plan.at,
        "count": plan.count,
        "dryRun": plan.dry_run,
        "idle": [idle._asdict() for idle in plan.idle],
    }
    print_json("bulk-plan", {"plan": wire})


async def run_bulk(operator: Operator, record: BulkRecord, *, as_json: bool) -> None:
    """Run a bulk action in this process until it is done or waits, and print what became of it."""
    from asyncio import CancelledError

    from trellis_admin.terminal import ProgressLine, print_text
    from trellis_admin.texts.bulk_actions import describe_progress

    if not as_json:
        print_text(
            f"bulk action {record.id}: it survives this process; `trellis bulk show {record.id}` shows it"
        )
    with ProgressLine(record.action) as line:
        try:
            ended = await operator.bulk.run(
                record.id, on_progress=lambda now_: line.say(describe_progress(now_))
            )
        except CancelledError:
            typer.echo(f"interrupted; to continue: trellis bulk resume {record.id}", err=True)
            raise
    await print_bulk(operator, ended, as_json=as_json)
    exit_with(ended)


def exit_with(record: BulkRecord) -> NoReturn:
    """Exit with the code of a bulk action that does not run: whether it stopped or was aborted, or jobs were refused."""
    from trellis_admin.bulk import BulkState

    is_left = record.state in {BulkState.STOPPED, BulkState.ABORTED} or record.refused
    raise typer.Exit(ExitCode.REFUSED if is_left else ExitCode.OK)


async def print_bulk(operator: Operator, record: BulkRecord, *, as_json: bool) -> None:
    """Print a bulk action: how far it is, in which states its jobs are now, and why others were refused."""
    from trellis_nats.clock import now

    from trellis_admin.queries import count_bulk_states
    from trellis_admin.terminal import print_json, print_text
    from trellis_admin.texts.bulk_actions import describe_bulk

    refusals = await operator.bulk.refusals(record.id) if record.refused else {}
    await operator.catch_up()  # what was sent last is counted too
    states = await operator.ask(count_bulk_states, record.id)
    if as_json:
        print_json("bulk", {"bulk": record, "refusals": refusals, "states": states})
    else:
        print_text(describe_bulk(record, refusals, states, now()))
