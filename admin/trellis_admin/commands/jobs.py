"""`trellis jobs`: lists, shows and watches jobs, and steers single ones or all that match."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from trellis_admin.commands.acting import (
    AllAtOnce,
    BeginWith,
    Confirmed,
    DryRun,
    Ids,
    Matching,
    Rate,
    Reason,
    act_on_jobs,
    act_on_many,
    require_one,
)
from trellis_admin.commands.choosing import (
    DEFAULT_LIMIT,
    At,
    Before,
    Filter,
    Limit,
    QueueOption,
    StateOption,
    choose,
    find_job,
)
from trellis_admin.commands.listing import AsCsv, AsIds, SortOption, list_matching
from trellis_admin.commands.operating import AsJson, operated
from trellis_admin.exits import ExitCode

if TYPE_CHECKING:
    from trellis_admin.operator import Operator

__all__ = ["app", "show", "watch"]

app = typer.Typer(add_completion=False, no_args_is_help=True, help="List, show, watch and steer jobs.")

JobId = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        show_default=False,
        help="The job's id, or at least 8 characters of its beginning; <prefix>.<id> where several queues have it.",
    ),
]


@app.command("list")
@operated
async def list_command(
    operator: Operator,
    words: Filter = None,
    queues: QueueOption = None,
    states: StateOption = None,
    limit: Limit = DEFAULT_LIMIT,
    at: At = None,
    before: Before = None,
    sort: SortOption = "newest",
    as_ids: AsIds = False,
    as_csv: AsCsv = False,
    as_json: AsJson = False,
) -> None:
    """List jobs that match a filter, and say how many there are."""
    query = await choose(operator, words, queues, states)
    await list_matching(
        operator,
        query,
        command="trellis jobs list",
        limit=limit,
        at=at,
        before=before,
        sort=sort,
        usual="newest",
        as_ids=as_ids,
        as_csv=as_csv,
        as_json=as_json,
    )


@app.command("show")
@operated
async def show(
    operator: Operator,
    job: JobId,
    payload: Annotated[
        bool,
        typer.Option(
            "--payload",
            help="Show the payload, the result and the checkpoint. The audit log records who saw them.",
        ),
    ] = False,
    events: Annotated[bool, typer.Option("--events", help="List every event.")] = False,
    reason: Reason = None,
    as_json: AsJson = False,
) -> None:
    """Show one job: its timeline, attempts with errors and logs, progress, checkpoint, lineage and trace."""
    from trellis_nats.clock import now

    from trellis_admin.queries import find_jobs, find_recreated, find_silence, find_wait_of, read_family
    from trellis_admin.terminal import print_json, print_text
    from trellis_admin.texts.history import describe_event, describe_history, describe_values, history_to_wire
    from trellis_admin.texts.waiting import explain_wait

    if reason is not None and not payload:
        raise typer.BadParameter("it says why values are looked at; add --payload", param_hint="--reason")
    place = await find_job(operator, job)
    target = f"{place.prefix}.{place.id}"
    history = await operator.history(target)
    found = [row for row in await operator.ask(find_jobs, history.id) if row.prefix == history.prefix]
    family = await operator.ask(read_family, found[0]) if found else None
    revealed = await operator.reveal(target, reason=reason) if payload else None
    recreated = await operator.ask(find_recreated, found[0]) if found else None
    wait = await operator.ask(find_wait_of, found[0], now()) if found else None
    if as_json:
        shown = history_to_wire(history, revealed)
        print_json("job", {"job": shown, "family": family, "recreated": recreated, "versionWait": wait})
        return
    silent = await operator.ask(find_silence, found[0], now()) if found else None
    held = await explain_wait(operator, found[0], now()) if found else None
    held_back = None if held is None else f"it waits: {held.why}\nnext: {held.next}"
    parts = [
        describe_history(
            history,
            family,
            now(),
            recreated=recreated,
            version_wait=wait,
            silent_since=silent,
            held_back=held_back,
        )
    ]
    if events:
        parts.append("\n".join(["Events", *(describe_event(event) for event in history.events)]))
    if revealed is not None:
        parts += describe_values(revealed, history)
    print_text("\n\n".join(parts))


@app.command("watch")
@operated
async def watch(operator: Operator, job: JobId, as_json: AsJson = False) -> None:
    """Print the events of a job as they are stored, until it has ended.

    Exit codes:
    0: it completed.
    1: it ended otherwise.
    4: there is no such job.
    """
    from trellis_nats.jobs.model.states import TERMINAL_STATES, JobState

    from trellis_admin.queries import follow_history
    from trellis_admin.terminal import print_json, print_text
    from trellis_admin.texts.history import describe_event

    place = await find_job(operator, job)
    printed = 0
    async for history in follow_history(operator.session.connection, place.prefix, place.id):
        for event in history.events:
            if event.sequence > printed:
                printed = event.sequence
                if as_json:
                    print_json(
                        "event", {"id": history.id, "queue": history.queue, "event": event}, indent=None
                    )
                else:
                    print_text(describe_event(event))
        if history.state in TERMINAL_STATES:
            raise typer.Exit(ExitCode.OK if history.state is JobState.COMPLETED else ExitCode.LEFT)


@app.command("stack")
@operated
async def stack(operator: Operator, job: JobId, as_json: AsJson = False) -> None:
    """Print what the handler of a running job does now: files, lines and functions, no values.

    Exit codes:
    0: printed.
    1: no process answered that it runs the job.
    4: there is no such job.
    """
    from trellis_nats.jobs.stacks import read_stack

    from trellis_admin.terminal import print_json, print_text
    from trellis_admin.texts.history import describe_stack

    place = await find_job(operator, job)
    found = await read_stack(operator.session.connection, place.service, place.queue, place.id)
    if as_json:
        print_json("stack", {"stack": found})
    elif found is not None:
        print_text(describe_stack(found))
    else:
        typer.echo(
            f"no process answered that it runs job {place.id}: it does not run, or its process is frozen, is of another runtime or an "
            f"earlier release, or may not answer; `trellis jobs show {place.id}` says what it is",
            err=True,
        )
    raise typer.Exit(ExitCode.LEFT if found is None else ExitCode.OK)


@app.command("cancel")
@operated
async def cancel(
    operator: Operator,
    ids: Ids = None,
    matching: Matching = None,
    reason: Reason = None,
    dry_run: DryRun = False,
    is_agreed: Confirmed = False,
    rate: Rate = None,
    as_json: AsJson = False,
) -> None:
    """Cancel jobs that wait or run. A handler that runs sees it.

    Exit codes:
    0: done.
    4: there is no such job.
    5: refused: it has ended, or was not confirmed.
    """
    require_one(ids, matching, rate=rate)
    if ids:
        await act_on_jobs(operator, "cancel", ids, reason=reason, dry_run=dry_run, as_json=as_json)
    await act_on_many(
        operator,
        "cancel",
        matching or "",
        reason=reason,
        dry_run=dry_run,
        is_agreed=is_agreed,
        rate=rate,
        begin_with=None,
        all_at_once=True,
        as_json=as_json,
    )


@app.command("retry")
@operated
async def retry(
    operator: Operator,
    ids: Ids = None,
    matching: Matching = None,
    reason: Reason = None,
    dry_run: DryRun = False,
    is_agreed: Confirmed = False,
    rate: Rate = None,
    begin_with: BeginWith = None,
    all_at_once: AllAtOnce = False,
    as_json: AsJson = False,
) -> None:
    """Let failed jobs begin again, with all their attempts. For dead ones: trellis dead replay.

    Exit codes:
    0: done.
    4: there is no such job.
    5: refused: its state does not allow it, or it was not confirmed.
    """
    require_one(ids, matching, rate=rate, begin_with=begin_with, all_at_once=all_at_once)
    if ids:
        await act_on_jobs(operator, "retry", ids, reason=reason, dry_run=dry_run, as_json=as_json)
    await act_on_many(
        operator,
        "retry",
        matching or "",
        reason=reason,
        dry_run=dry_run,
        is_agreed=is_agreed,
        rate=rate,
        begin_with=begin_with,
        all_at_once=all_at_once,
        as_json=as_json,
    )


@app.command("recreate")
@operated
async def recreate(
    operator: Operator,
    ids: Ids = None,
    matching: Matching = None,
    reason: Reason = None,
    dry_run: DryRun = False,
    is_agreed: Confirmed = False,
    rate: Rate = None,
    begin_with: BeginWith = None,
    all_at_once: AllAtOnce = False,
    as_json: AsJson = False,
) -> None:
    """Create stale jobs again: a new job with the stored payload, which names the stale one. Needs --contract.

    A stale job's worker died, and another job took its slot of its key. Look first whether its work is still wanted:
    trellis jobs list state:stale

    With --matching, those that were created again before are left out.

    Exit codes:
    0: done, or it waits.
    2: the contract of the queue is not known.
    4: there is no such job.
    5: refused: it is not stale, was created again before, its key has no room, or it was not confirmed.
    """
    require_one(ids, matching, rate=rate, begin_with=begin_with, all_at_once=all_at_once)
    if ids:
        await act_on_jobs(operator, "recreate", ids, reason=reason, dry_run=dry_run, as_json=as_json)
    await act_on_many(
        operator,
        "recreate",
        matching or "",
        reason=reason,
        dry_run=dry_run,
        is_agreed=is_agreed,
        rate=rate,
        begin_with=begin_with,
        all_at_once=all_at_once,
        as_json=as_json,
    )
