"""`trellis tail`: the events of all jobs as they are stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from trellis_admin.commands.choosing import QueueOption, find_prefix
from trellis_admin.commands.operating import AsJson, operated

if TYPE_CHECKING:
    from trellis_admin.operator import Operator

__all__ = ["app"]

app = typer.Typer(add_completion=False)

_REPORTS: Final = frozenset({"progress", "logged", "checkpoint"})


@app.command()
@operated
async def tail(
    operator: Operator,
    queues: QueueOption = None,
    kinds: Annotated[
        list[str] | None,
        typer.Option(
            "--event", "-e", metavar="EVENT", help="Only this event, as in -e dead -e failed; repeatable."
        ),
    ] = None,
    reports: Annotated[
        bool, typer.Option("--reports", help="Progress, log lines and checkpoints too.")
    ] = False,
    number: Annotated[
        int | None, typer.Option("--number", "-n", min=1, metavar="N", help="End after so many events.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print the events of jobs as they are stored, until Ctrl-C. Payloads are not printed."""
    from trellis_nats._nats.jetstream.stream_follower import follow_stream
    from trellis_nats.jobs.model.subjects import EVENTS_PREFIX, STREAM, WORKERS_PREFIX

    from trellis_admin.terminal import print_json, print_text
    from trellis_admin.texts.live_events import EVENT_KINDS, LiveEvent, describe_live_event

    for kind in kinds or ():
        if kind not in EVENT_KINDS:
            raise typer.BadParameter(
                f'"{kind}" is not an event; events are {", ".join(EVENT_KINDS)}', param_hint="--event"
            )
    prefixes = [await find_prefix(operator, name) for name in queues or ()]
    filter_subject = f"{prefixes[0]}.>" if len(prefixes) == 1 else f"{EVENTS_PREFIX}.>"
    printed = 0
    async with follow_stream(operator.session.connection, STREAM, filter_subject, after=None) as messages:
        typer.echo("waiting for events; Ctrl-C ends it", err=True)
        async for message in messages:
            if message.subject.startswith(f"{WORKERS_PREFIX}."):
                continue
            event = LiveEvent.parse(message.subject, message.data, message.stream_sequence, message.stored_at)
            if event is None or (prefixes and event.prefix not in prefixes):
                continue
            is_report = event.kind in _REPORTS
            is_wanted = event.kind in kinds or (is_report and reports) if kinds else not is_report or reports
            if not is_wanted:
                continue
            if as_json:
                print_json("event", {"event": event}, indent=None)
            else:
                print_text(describe_live_event(event))
            printed += 1
            if printed == number:
                return
