"""`trellis dead`: dead jobs by error, and what becomes of them."""

from __future__ import annotations

from pathlib import Path
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
)
from trellis_admin.commands.choosing import (
    DEFAULT_LIMIT,
    At,
    Before,
    Filter,
    Limit,
    QueueOption,
    choose,
    complete_queue,
    find_prefix,
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
    query = _dead(await choose(operator, words, queues), group)
    await list_matching(
        operator,
        query,
        command="trellis dead list",
        limit=limit,
        at=at,
        before=before,
        sort=sort,
        as_ids=as_ids,
        as_csv=as_csv,
        as_json=as_json,
    )


def _dead(query: str, group: str | None) -> str:
    parts = [query] if query else []
    if group is not None:
        parts.append(f'error:"{group}"')
    return " ".join([*parts, "state:dead"])


@app.command("groups")
@operated
async def groups_command(
    operator: Operator,
    queue: Annotated[
        str | None,
        typer.Option(
            "--queue", "-q", metavar="QUEUE", autocompletion=complete_queue, help="Only this queue."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Group dead jobs by their errors, the largest group first."""
    from trellis_nats.clock import now

    from trellis_admin.queries import list_error_groups
    from trellis_admin.terminal import print_json, print_table
    from trellis_admin.texts.job_lists import tabulate_groups

    prefix = None if queue is None else await find_prefix(operator, queue)
    found = await operator.ask(list_error_groups, now())
    groups = [group for group in found if prefix in {None, group.prefix}]
    if as_json:
        print_json("error-groups", {"groups": groups})
        return
    if not groups:
        typer.echo("nothing is dead", err=True)
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
        Path | None,
        typer.Option(
            "--edit",
            exists=True,
            dir_okay=False,
            help="A file with another payload as JSON, for one job: a new job that names the dead one, which is dismissed. Needs "
            "--contract.",
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
    _require_one(ids, matching, group)
    if edit is not None:
        await _replay_edited(operator, ids or [], edit, reason=reason, as_json=as_json)
        return
    if ids:
        await act_on_jobs(operator, "replay", ids, reason=reason, as_json=as_json)
    await act_on_many(
        operator,
        "replay",
        _dead(matching or "", group),
        reason=reason,
        dry_run=dry_run,
        is_agreed=is_agreed,
        rate=rate,
        begin_with=begin_with,
        all_at_once=all_at_once,
        as_json=as_json,
    )


async def _replay_edited(
    operator: Operator, ids: list[str], edit: Path, *, reason: str | None, as_json: bool
) -> None:
    import asyncio

    from trellis_admin.terminal import print_json, print_text

    if len(ids) != 1:
        raise typer.BadParameter("an edited payload is for one job: name it by its id", param_hint="--edit")
    payload = await asyncio.to_thread(edit.read_bytes)
    made = await operator.replay_edited(ids[0], payload, reason=reason)
    if as_json:
        print_json("edited-replay", {"id": ids[0], "new": made})
    else:
        print_text(
            f"{ids[0]} dismissed; replayed with the edited payload as {made}\nnext: trellis jobs watch {made}"
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
    _require_one(ids, matching, group)
    if ids:
        await act_on_jobs(operator, "dismiss", ids, reason=reason, as_json=as_json)
    await act_on_many(
        operator,
        "dismiss",
        _dead(matching or "", group),
        reason=reason,
        dry_run=dry_run,
        is_agreed=is_agreed,
        rate=rate,
        begin_with=None,
        all_at_once=True,
        as_json=as_json,
    )


def _require_one(ids: list[str] | None, matching: str | None, group: str | None) -> None:
    if bool(ids) == (matching is not None or group is not None):
        raise typer.BadParameter(
            "name jobs by their ids, or all of a --group, or all that match with --matching", param_hint="ID"
        )
