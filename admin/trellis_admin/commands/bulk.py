"""`trellis bulk`: actions on many jobs, which survive the process that began them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from trellis_admin.commands.acting import Reason, exit_with, print_bulk, run_bulk
from trellis_admin.commands.choosing import find_bulk
from trellis_admin.commands.list_by_default import ListByDefault
from trellis_admin.commands.operating import AsJson, operated

if TYPE_CHECKING:
    from trellis_admin.operator import Operator

__all__ = ["app"]

app = typer.Typer(
    add_completion=False, cls=ListByDefault, help="List, show, watch and steer actions on many jobs."
)

_POLL: Final = 1.0
BulkId = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        show_default=False,
        help="The id of a bulk action, or at least 8 characters of its beginning.",
    ),
]


@app.command("list")
@operated
async def list_command(operator: Operator, as_json: AsJson = False) -> None:
    """List bulk actions, the newest first."""
    from trellis_nats.clock import now

    from trellis_admin.terminal import print_json, print_table
    from trellis_admin.texts.bulk_actions import tabulate_bulk

    records = await operator.bulk.list_all()
    if as_json:
        print_json("bulk-list", {"bulk": records})
    elif records:
        print_table(tabulate_bulk(records, now()))
    else:
        typer.echo("no bulk action was begun; trellis dead replay --matching FILTER begins one", err=True)


@app.command("show")
@operated
async def show(operator: Operator, bulk_id: BulkId, as_json: AsJson = False) -> None:
    """Show one bulk action: how far it is, in which states its jobs are now, and why jobs were refused."""
    record = await operator.bulk.read(await find_bulk(operator, bulk_id))
    await print_bulk(operator, record, as_json=as_json)


@app.command("watch")
@operated
async def watch(operator: Operator, bulk_id: BulkId, as_json: AsJson = False) -> None:
    """Print how far a bulk action is, until it waits or has ended. Another process runs it.

    Exit codes:
    0: it is done, waits or is paused.
    4: there is no such bulk action.
    5: it stopped or was aborted, or jobs were refused.
    """
    import asyncio

    from trellis_admin.bulk import BulkState
    from trellis_admin.terminal import print_json, print_text
    from trellis_admin.texts.bulk_actions import describe_progress

    bulk_id = await find_bulk(operator, bulk_id)
    printed = None
    while True:
        record = await operator.bulk.read(bulk_id)
        line = describe_progress(record)
        if line != printed:
            printed = line
            if as_json:
                print_json("bulk", {"bulk": record}, indent=None)
            else:
                print_text(line)
        if record.state is not BulkState.RUNNING:
            break
        await asyncio.sleep(_POLL)
    if not as_json:
        await print_bulk(operator, record, as_json=False)
    exit_with(record)


@app.command("go-on")
@app.command("resume")
@operated
async def resume(operator: Operator, bulk_id: BulkId, reason: Reason = None, as_json: AsJson = False) -> None:
    """Let a bulk action go on after it waited, was paused or stopped, or lost its process; and run it here.

    Exit codes:
    0: it is done, or waits again.
    4: there is no such bulk action.
    5: it has ended already, stopped again, or jobs were refused.
    """
    from trellis_admin.bulk import BulkState

    bulk_id = await find_bulk(operator, bulk_id)
    record = await operator.bulk.read(bulk_id)
    lost_its_process = record.needs_runner and (record.state is BulkState.RUNNING or record.is_final)
    if not lost_its_process:
        record = await operator.bulk.go_on(bulk_id, reason=reason)
    elif reason is not None:
        typer.echo(f"it is {record.state}, and only goes on here: the reason is not stored", err=True)
    await run_bulk(operator, record, as_json=as_json)


@app.command("pause")
@operated
async def pause(operator: Operator, bulk_id: BulkId, reason: Reason = None, as_json: AsJson = False) -> None:
    """Pause a bulk action, within half a second."""
    bulk_id = await find_bulk(operator, bulk_id)
    await print_bulk(operator, await operator.bulk.pause(bulk_id, reason=reason), as_json=as_json)


@app.command("abort")
@operated
async def abort(operator: Operator, bulk_id: BulkId, reason: Reason = None, as_json: AsJson = False) -> None:
    """End a bulk action: no further job is sent. What was sent stays sent."""
    bulk_id = await find_bulk(operator, bulk_id)
    aborted = await operator.bulk.abort(bulk_id, reason=reason)
    if aborted.needs_runner:
        aborted = await operator.bulk.run(bulk_id)
    await print_bulk(operator, aborted, as_json=as_json)
