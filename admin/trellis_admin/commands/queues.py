"""`trellis queues`: how queues do, and pausing them for all their workers."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Final

import typer

from trellis_admin.commands.acting import Reason
from trellis_admin.commands.choosing import QueueName, find_prefix
from trellis_admin.commands.list_by_default import ListByDefault
from trellis_admin.commands.operating import AsJson, operated

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trellis_nats.jobs.model.queue_pause import QueuePause

    from trellis_admin.operator import Operator
    from trellis_admin.queries import QueueRow

__all__ = ["app", "read_pauses"]

app = typer.Typer(add_completion=False, cls=ListByDefault, help="List, pause and resume queues.")

_WINDOW_MIN: Final = 1
_WINDOW_MAX: Final = 7 * 24 * 60
Window = Annotated[
    int,
    typer.Option(
        "--window",
        min=_WINDOW_MIN,
        max=_WINDOW_MAX,
        metavar="MINUTES",
        help="Over how many minutes rates are taken.",
    ),
]


@app.command("list")
@operated
async def list_command(operator: Operator, window: Window = 60, as_json: AsJson = False) -> None:
    """List queues: what waits, runs, is retried and is dead, how fast and how well they are worked, and which are paused."""
    from trellis_nats.clock import now

    from trellis_admin.queries import find_held, list_queues
    from trellis_admin.terminal import print_json, print_table
    from trellis_admin.texts.fleet import describe_held, describe_pauses, tabulate_queues

    at = now()
    rows = await operator.ask(list_queues, timedelta(minutes=window), at)
    pauses = await read_pauses(operator, rows)
    found = await find_held(operator.session.connection, [row.prefix for row in rows])
    held = [
        name for row in rows if row.prefix in found and (name := f"{row.service}/{row.queue}") not in pauses
    ]
    if as_json:
        print_json("queues", {"windowMinutes": window, "queues": rows, "pauses": pauses, "held": held})
        return
    if rows:
        print_table(tabulate_queues(rows, pauses, at, held))
        typer.echo(f"ended/min, success and run p95: the last {window} min; --window changes that", err=True)
    else:
        typer.echo("no queue has had a job or a worker", err=True)
    for line in (*describe_pauses(pauses, at), *describe_held(held)):
        typer.echo(line, err=True)


async def read_pauses(operator: Operator, rows: Sequence[QueueRow]) -> Mapping[str, QueuePause]:
    """Return the paused queues, by `<service>/<queue>`. What the account may not look up is not among them."""
    from trellis_admin import queries

    names = {row.prefix: f"{row.service}/{row.queue}" for row in rows}
    found = await queries.read_pauses(operator.session.connection, names)
    return {names.get(prefix, "/".join(prefix.split(".")[-2:])): pause for prefix, pause in found.items()}


@app.command("pause")
@operated
async def pause(operator: Operator, queue: QueueName, reason: Reason = None, as_json: AsJson = False) -> None:
    """Pause a queue for all its workers, within a second. What runs ends normally, and nothing is lost."""
    from trellis_nats.clock import now

    from trellis_admin.terminal import print_json, print_text
    from trellis_admin.texts.fleet import describe_pauses

    result = await operator.pause(await find_prefix(operator, queue), reason=reason)
    if as_json:
        print_json("queue-pause", {"queue": queue, "pause": result.pause, "isNew": result.is_new})
        return
    text = describe_pauses({queue: result.pause}, now())[0]
    print_text(text if result.is_new else f"{text}; it was paused already")
    print_text(f"next: trellis queues resume {queue}")


@app.command("resume")
@operated
async def resume(
    operator: Operator, queue: QueueName, reason: Reason = None, as_json: AsJson = False
) -> None:
    """Let a paused queue go on, within a second."""
    from trellis_nats.clock import now

    from trellis_admin.terminal import print_json, print_text, show_past

    result = await operator.resume(await find_prefix(operator, queue), reason=reason)
    removed = result.removed
    if as_json:
        print_json(
            "queue-resume",
            {"queue": queue, "removed": removed, "missingBucket": result.missing_bucket},
        )
    elif result.missing_bucket is not None:
        print_text(
            f"{queue} has no record of a pause, because bucket {result.missing_bucket} does not exist; workers that had seen one stay "
            "paused until it exists again: trellis provision apply PACKAGE creates it"
        )
    elif removed is None:
        print_text(
            f"{queue} had no record of a pause; if the server held its consumers all the same, it does no longer"
        )
    else:
        print_text(f"{queue} goes on; {removed.by} had paused it {show_past(removed.since, now())}")
