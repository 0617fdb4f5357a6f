"""`trellis dead`: dead jobs by error, and what becomes of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Final

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
    choose,
    find_job,
)
from trellis_admin.commands.jobs import show
from trellis_admin.commands.listing import AsCsv, AsIds, SortOption, list_matching
from trellis_admin.commands.operating import AsJson, operated

if TYPE_CHECKING:
    from trellis_admin.operator import Operator

__all__ = ["app"]

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="List dead jobs, group them by error, replay or dismiss them.",
)
app.command("show")(show)

_GROUP: Final = re.compile("[0-9a-f]{8}")
Group = Annotated[
    str | None,
    typer.Option(
        "--group",
        "-g",
        metavar="GROUP",
        help="All dead jobs of a group: eight digits of `trellis dead groups`.",
    ),
]


@app.command("list")
@operated
async def list_command(
    operator: Operator,
    words: Filter = None,
    queues: QueueOption = None,
    group: Group = None,
    limit: Limit = DEFAULT_LIMIT,
    at: At = None,
    before: Before = None,
    sort: SortOption = "changed",
    as_ids: AsIds = False,
    as_csv: AsCsv = False,
    as_json: AsJson = False,
) -> None:
    """List dead jobs, those that died last first."""
    query = await _dead(operator, await choose(operator, words, queues), group)
    await list_matching(
        operator,
        query,
        command="trellis dead list",
        limit=limit,
        at=at,
        before=before,
        sort=sort,
        usual="changed",
        as_ids=as_ids,
        as_csv=as_csv,
        as_json=as_json,
    )


async def _dead(operator: Operator, query: str, group: str | None) -> str:
    """Return the filter for the dead jobs that a filter and a group name together.

    Raises:
        JobNotFound: no dead job has the error of the group: an empty list would look like good news.
    """
    from trellis_nats.clock import now
    from trellis_nats.errors import JobNotFound

    from trellis_admin.queries import list_error_groups

    parts = [query] if query else []
    if group is not None:
        is_one = _GROUP.fullmatch(group) is not None
        if not is_one or not await operator.ask(list_error_groups, now(), fingerprint=group):
            raise JobNotFound(
                f'no dead job is in a group "{group:.100}"; `trellis dead groups` lists the groups'
            )
        parts.append(f"error:{group}")
    return " ".join([*parts, "state:dead"])


@app.command("groups")
@operated
async def groups_command(
    operator: Operator, words: Filter = None, queues: QueueOption = None, as_json: AsJson = False
) -> None:
    """Group dead jobs that match a filter by their errors, the largest group first."""
    from trellis_nats.clock import now

    from trellis_admin.queries import list_error_groups, parse_filter
    from trellis_admin.terminal import print_json, print_table
    from trellis_admin.texts.job_lists import tabulate_groups

    query = await choose(operator, words, queues)
    groups = await operator.ask(list_error_groups, now(), wanted=parse_filter(query, now()))
    if as_json:
        print_json("error-groups", {"groups": groups})
        return
    if not groups:
        typer.echo("no dead job matches" if query else "nothing is dead", err=True)
        return
    print_table(tabulate_groups(groups, now()))
    typer.echo(
        f"next: trellis dead list --group {groups[0].fingerprint}, or trellis dead replay --group {groups[0].fingerprint} --dry-run",
        err=True,
    )


@app.command("replay")
@operated
async def replay(
    operator: Operator,
    ids: Ids = None,
    matching: Matching = None,
    group: Group = None,
    edit: Annotated[
        typer.FileBinaryRead | None,
        typer.Option(
            "--edit",
            metavar="FILE",
            help="A file with another payload as JSON (- for standard input), for one job: a new job that names the dead one, which is "
            "dismissed. Needs --contract.",
        ),
    ] = None,
    reason: Reason = None,
    dry_run: DryRun = False,
    is_agreed: Confirmed = False,
    rate: Rate = None,
    begin_with: BeginWith = None,
    all_at_once: AllAtOnce = False,
    as_json: AsJson = False,
) -> None:
    """Let dead jobs begin again, with the stored payload and all their attempts.

    Many at once are a bulk action: it begins with 10 and waits for `trellis bulk go-on`, and stops when more than 5 % die again.

    Exit codes:
    0: done, or it waits.
    4: there is no such job.
    5: refused: it is not dead, or was not confirmed.
    """
    require_one(ids, matching, group, rate=rate, begin_with=begin_with, all_at_once=all_at_once)
    if edit is not None:
        if dry_run:
            raise typer.BadParameter(
                "it counts jobs whose payload stays; leave out --edit", param_hint="--dry-run"
            )
        await _replay_edited(operator, ids or [], edit, reason=reason, as_json=as_json)
        return
    if ids:
        await act_on_jobs(operator, "replay", ids, reason=reason, dry_run=dry_run, as_json=as_json)
    await act_on_many(
        operator,
        "replay",
        await _dead(operator, matching or "", group),
        reason=reason,
        dry_run=dry_run,
        is_agreed=is_agreed,
        rate=rate,
        begin_with=begin_with,
        all_at_once=all_at_once,
        as_json=as_json,
    )


async def _replay_edited(
    operator: Operator, ids: list[str], edit: typer.FileBinaryRead, *, reason: str | None, as_json: bool
) -> None:
    import asyncio

    from trellis_admin.terminal import print_json, print_text

    if len(ids) != 1:
        raise typer.BadParameter("an edited payload is for one job: name it by its id", param_hint="--edit")
    payload = await asyncio.to_thread(edit.read)
    place = await find_job(operator, ids[0])
    made = await operator.replay_edited(f"{place.prefix}.{place.id}", payload, reason=reason)
    if as_json:
        print_json("edited-replay", {"id": place.id, "new": made})
    else:
        print_text(
            f"{place.id} dismissed; replayed with the edited payload as {made}\nnext: trellis jobs watch {made}"
        )


@app.command("dismiss")
@operated
async def dismiss(
    operator: Operator,
    ids: Ids = None,
    matching: Matching = None,
    group: Group = None,
    reason: Reason = None,
    dry_run: DryRun = False,
    is_agreed: Confirmed = False,
    rate: Rate = None,
    as_json: AsJson = False,
) -> None:
    """Put dead jobs aside: they count as dead no longer, and are kept as long.

    Exit codes:
    0: done.
    4: there is no such job.
    5: refused: it is not dead, or was not confirmed.
    """
    require_one(ids, matching, group, rate=rate)
    if ids:
        await act_on_jobs(operator, "dismiss", ids, reason=reason, dry_run=dry_run, as_json=as_json)
    await act_on_many(
        operator,
        "dismiss",
        await _dead(operator, matching or "", group),
        reason=reason,
        dry_run=dry_run,
        is_agreed=is_agreed,
        rate=rate,
        begin_with=None,
        all_at_once=True,
        as_json=as_json,
    )
