"""`trellis audit`: reads what waits on a server with the types of a contract."""

from __future__ import annotations

import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Self

import typer

from trellis_admin.connections import Connection, connected
from trellis_admin.exits import ExitCode

if TYPE_CHECKING:
    from trellis_nats import Service

    from trellis_admin.samples import Exported

__all__ = ["app"]

Against = Annotated[
    str | None,
    typer.Option(
        metavar="CONTRACT",
        help="The contract: a manifest, or a generated package (its folder, the contract.json in it, or its module name).",
    ),
]
Others = Annotated[
    list[str] | None,
    typer.Option(
        "--with",
        metavar="CONTRACT",
        help="A contract that the manifest uses, or a folder of them, as trellis-gen facade takes it; repeatable.",
    ),
]

Registered = Annotated[
    str | None,
    typer.Option(
        "--service",
        metavar="MODULE:ATTRIBUTE",
        help="Use the upcasters of a service, or those that a function registers on the service that it gets. A function needs "
        "--against with the generated package that its module imports.",
    ),
]

_EVERY: Final = 0.2
"""Seconds between two reports of progress."""

_MOST: Final = 1_000_000
"""How many results or events are read at most: the place of each is held in memory."""

app = typer.Typer(add_completion=False, invoke_without_command=True)


@app.callback()
@connected
def audit_command(
    connection: Connection,
    context: typer.Context,
    against: Against = None,
    others: Others = None,
    registered: Registered = None,
    results: Annotated[
        int, typer.Option(min=0, max=_MOST, help="Read the last N results of each queue too.", metavar="N")
    ] = 0,
    events: Annotated[
        int, typer.Option(min=0, max=_MOST, help="Read the last N events of each kind too.", metavar="N")
    ] = 0,
    show_payloads: Annotated[
        bool,
        typer.Option(
            "--show-payloads",
            help="Print the values that are refused, and what upcasters raise. They may be secret.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Read the payload of every job that waits or is dead, as a worker of a contract would. Nothing is changed.

    Exit codes:
    0: all are read.
    1: some are refused, or are in queues that the contract does not have.
    2: wrong usage.
    3: the manifest is not valid, or the server cannot be asked.
    """
    if context.invoked_subcommand is not None:
        _refuse_options_before(context.invoked_subcommand, context)
        return
    import asyncio

    from trellis_admin.audit import AuditRequest, audit_service, to_json, to_text
    from trellis_admin.terminal import print_text

    request = AuditRequest(results=results, events=events, keep_values=show_payloads)
    with open_audited(against, others, registered) as service, Progress() as progress:
        found = asyncio.run(
            audit_service(service, connection.server, connection.options, request, progress=progress.show)
        )
    show = to_json if as_json else to_text
    print_text(show([found], show_values=show_payloads))
    raise typer.Exit(ExitCode.OK if found.is_safe else ExitCode.LEFT)


def _refuse_options_before(command: str, context: typer.Context) -> None:
    """Refuse options of the audit that stand before another command, which would not get them."""
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name)
        if source is not None and source.name == "COMMANDLINE":
            raise typer.BadParameter(f"write it after {command}", param_hint=parameter.opts[0])


@app.command("export")
@connected
def export_command(
    connection: Connection,
    folder: Annotated[Path, typer.Argument(metavar="DIR", file_okay=False, help="Where the samples go.")],
    against: Annotated[
        str,
        typer.Option(
            metavar="CONTRACT", help="Whose schemas say what is secret: a manifest or a generated package."
        ),
    ],
    sample: Annotated[int, typer.Option(min=1, metavar="N", help="How many samples of each queue, at most.")],
    redact: Annotated[
        bool, typer.Option("--redact/--no-redact", help="Replace what may be secret by constants.")
    ] = True,
    redact_pointer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="POINTER",
            help="Replace this too: /card/number, or /lines/*/note for every item; repeatable.",
        ),
    ] = None,
    others: Others = None,
) -> None:
    """Write samples of what waits or is dead, redacted, for `trellis-gen breaking --samples DIR`.

    The samples cover what differs: queues, states, versions that wrote them, and shapes. Files that are there are kept.

    Exit codes:
    0: they are written.
    2: wrong usage.
    3: the manifest is not valid, or the server cannot be asked.
    """
    import asyncio

    from trellis_admin.manifests import open_contract
    from trellis_admin.samples import ExportRequest, export_samples, load_manifest, write_samples
    from trellis_admin.terminal import print_text

    pointers = _parse_pointers(redact_pointer or [])
    if pointers and not redact:
        raise typer.BadParameter("nothing is replaced with --no-redact", param_hint="--redact-pointer")
    request = ExportRequest(sample=sample, redact=redact, pointers=pointers)
    with open_contract(against, others or ()) as service, Progress() as progress:
        manifest = load_manifest(service)
        exporting = export_samples(
            service, manifest, connection.server, connection.options, request, progress=progress.show
        )
        exported = asyncio.run(exporting)
    try:
        written = write_samples(folder, exported.samples)
    except OSError as error:
        raise typer.BadParameter(f"{folder} cannot be written: {error.strerror}", param_hint="DIR") from None
    unmatched = [(redact_pointer or ())[index] for index in exported.unmatched]
    print_text(describe_export(exported, written, folder, unmatched))


def _parse_pointers(texts: list[str]) -> tuple[tuple[str, ...], ...]:
    from trellis_admin.samples import parse_pointer

    try:
        return tuple(map(parse_pointer, texts))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--redact-pointer") from None


def describe_export(exported: Exported, written: list[str], folder: Path, unmatched: list[str]) -> str:
    """Return what was exported, for people."""
    from trellis_nats._support.plural import plural

    lines = [f"{plural(len(written), 'sample')} of {plural(exported.jobs, 'job')} written to {folder}"]
    if known := len(exported.samples) - len(written):
        lines.append(f"  {known} were there already, or are equal once they are redacted")
    if exported.unreadable:
        has = "job has" if exported.unreadable == 1 else "jobs have"
        lines.append(f"  {exported.unreadable:,} {has} no payload that can be exported")
    lines += [
        f"  --redact-pointer {pointer} names nothing in these samples; is it right?" for pointer in unmatched
    ]
    invalid = [sample for sample in exported.samples if sample.was_valid and not sample.valid]
    lines += [
        f"  {sample.file}: redacted, the contract does not read it; a placeholder does not fit the schema"
        for sample in invalid
    ]
    return "\n".join(lines)


@contextmanager
def open_audited(
    against: str | None, others: list[str] | None, registered: str | None
) -> Generator[type[Service] | Service]:
    """Provide what reads: a contract's class, or a service with upcasters.

    Raises:
        UnreadablePackage: it cannot be loaded, or the service has another contract.
        InvalidManifest: a manifest has errors.
    """
    from trellis_admin.manifests import is_manifest, open_contract
    from trellis_admin.packages import UnreadablePackage, load_registered

    if against is None:
        if others:
            raise typer.BadParameter("it is for the manifest of --against", param_hint="--with")
        if registered is None:
            raise typer.BadParameter(
                "pass --against CONTRACT, or --service with a service object", param_hint="--against"
            )
        yield load_registered(registered, None)
        return
    with open_contract(against, others or ()) as service:
        if registered is None:
            yield service
            return
        with_upcasters = load_registered(registered, service, is_generated_now=is_manifest(against))
        if with_upcasters.contract.digest != service.contract.digest:
            raise UnreadablePackage(
                f"{registered} has the contract {with_upcasters.contract.digest}, and {against} is {service.contract.digest}"
            )
        yield with_upcasters


class Progress:
    """One line on stderr that is written again and again, if that is a terminal."""

    def __init__(self) -> None:
        self._is_shown = sys.stderr.isatty()
        self._next = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the line."""
        if self._is_shown and self._next:
            sys.stderr.write("\r\x1b[K")

    def show(self, step: str, done: int, total: int) -> None:
        """Show how far a step is."""
        if self._is_shown and (now := time.monotonic()) >= self._next:
            self._next = now + _EVERY
            sys.stderr.write(f"\r\x1b[K{step}: {done:,} of {total:,}")
            sys.stderr.flush()
