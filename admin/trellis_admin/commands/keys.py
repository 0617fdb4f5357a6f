"""`trellis keys`: concurrency keys, who holds them and who waits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from trellis_admin.commands.acting import Reason
from trellis_admin.commands.choosing import DEFAULT_LIMIT, Limit, QueueName, complete_queue, find_prefix
from trellis_admin.commands.operating import AsJson, operated

if TYPE_CHECKING:
    from trellis_admin.operator import Operator

__all__ = ["app"]

app = typer.Typer(add_completion=False, no_args_is_help=True, help="List, show and release concurrency keys.")

Key = Annotated[
    str,
    typer.Argument(
        metavar="KEY", show_default=False, help="The key, its hash, or the beginning of its hash."
    ),
]


@app.command("list")
@operated
async def list_command(
    operator: Operator,
    queue: Annotated[
        str | None,
        typer.Argument(
            metavar="[QUEUE]",
            autocompletion=complete_queue,
            show_default=False,
            help="The queue, as queue or service/queue. Without it: which queues have keys, and how many.",
        ),
    ] = None,
    limit: Limit = DEFAULT_LIMIT,
    as_json: AsJson = False,
) -> None:
    """List the keys of a queue that jobs hold or wait for, blocked ones first; or the queues that have such keys."""
    from trellis_nats.clock import now

    from trellis_admin.terminal import print_json, print_table
    from trellis_admin.texts.fleet import describe_keys, tabulate_key_counts, tabulate_keys

    if queue is None:
        counts = await operator.keys.count_keys()
        if as_json:
            print_json("key-counts", {"queues": counts})
        elif counts:
            print_table(tabulate_key_counts(counts))
            typer.echo(f"next: trellis keys list {counts[0].queue}", err=True)
        else:
            typer.echo("no job holds or waits for a key", err=True)
        return
    keys = await operator.keys.list_keys(await find_prefix(operator, queue), limit=limit)
    if as_json:
        print_json("keys", {"queue": queue, "keys": keys})
        return
    if keys.keys:
        print_table(tabulate_keys(keys, now()))
    typer.echo(describe_keys(keys), err=True)


@app.command("show")
@operated
async def show(operator: Operator, queue: QueueName, key: Key, as_json: AsJson = False) -> None:
    """Show one key: the jobs that hold it and wait for it, and how long its leases last."""
    from trellis_nats.clock import now

    from trellis_admin.terminal import print_json, print_text
    from trellis_admin.texts.fleet import describe_key

    stored = await operator.keys.show(await find_prefix(operator, queue), key)
    if as_json:
        print_json("key", {"key": stored})
    else:
        print_text(describe_key(stored, now()))


@app.command("release")
@operated
async def release(
    operator: Operator,
    queue: QueueName,
    key: Key,
    job: Annotated[
        str | None,
        typer.Option("--job", metavar="ID", help="The job that holds the slot, where the key has several."),
    ] = None,
    reason: Reason = None,
    as_json: AsJson = False,
) -> None:
    """Release a slot whose process is gone. Its job ends as stale, and the next one gets the slot.

    A process that answers that it works on the job keeps it: cancel the job instead, or stop the process.

    Exit codes:
    0: released.
    5: refused: its owner still has it, no job holds it, or it has changed.
    """
    from trellis_admin.terminal import print_json, print_text

    stored = await operator.keys.show(await find_prefix(operator, queue), key)
    released = await operator.keys.release(stored, reason=reason, job_id=job)
    if as_json:
        print_json("released-key", {"released": released})
    else:
        print_text(
            f"{stored.key} released; job {released.job_id} is {released.job_state or 'no longer stored'}"
        )
