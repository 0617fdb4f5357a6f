"""`trellis doctor`: what keeps jobs from running, and what to do about it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trellis_admin.connections import Connection, connected
from trellis_admin.exits import ExitCode

if TYPE_CHECKING:
    from trellis_admin.doctor import Facts

__all__ = ["app"]

app = typer.Typer(add_completion=False)


@app.command()
@connected
def doctor(
    connection: Connection,
    packages: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PACKAGE]...",
            help="Generated packages: what their contracts state is compared too. Each is a folder, the contract.json in it, or a "
            "module name.",
            show_default=False,
        ),
    ] = None,
    role: Annotated[
        str | None,
        typer.Option(
            metavar="ROLE",
            help="Check that this account has the permissions of a role of these packages, and no others: worker, producer, operator, viewer …",
        ),
    ] = None,
    projection: Annotated[
        bool,
        typer.Option(
            "--projection", help="Compare the index of jobs on this machine with the stream, 500 of them."
        ),
    ] = False,
    db: Annotated[
        Path | None,
        typer.Option(
            "--db",
            dir_okay=False,
            help="The file of the index of jobs. Default: one for each account, in the cache folder.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Look for what keeps jobs from running, or will, and print the remedy of each fault. Nothing is changed.

    The name of the check is after each finding; docs/reference/cli.md lists all of them.

    Exit codes:
    0: nothing is wrong; hints do not count.
    1: something is wrong.
    2: wrong usage.
    3: the server cannot be asked.
    """
    from trellis_admin.doctor import Severity, examine, to_json, to_text
    from trellis_admin.terminal import print_text

    facts = _collect(connection, packages or [], role, db, with_projection=projection)
    findings = examine(facts)
    print_text((to_json if as_json else to_text)(facts, findings))
    is_well = all(finding.severity is Severity.HINT for finding in findings)
    raise typer.Exit(ExitCode.OK if is_well else ExitCode.LEFT)


def _collect(
    connection: Connection, packages: list[str], role: str | None, db: Path | None, *, with_projection: bool
) -> Facts:
    import asyncio
    from dataclasses import replace
    from typing import cast, get_args

    from trellis_nats import Runtime
    from trellis_nats.errors import PermissionDenied
    from trellis_nats.grants import Role
    from trellis_nats.permissions import inbox_prefix

    from trellis_admin.doctor import Examined, collect
    from trellis_admin.doctor.projection_check import check_index, read_index
    from trellis_admin.packages import load_service
    from trellis_admin.session import open_admin_connection
    from trellis_admin.terminal import ProgressLine

    roles = get_args(Role)
    if role is not None and role not in roles:
        raise typer.BadParameter(
            f'"{role}" is not a role; the roles are {", ".join(roles)}', param_hint="--role"
        )
    if role is not None and not packages:
        raise typer.BadParameter("a role is that of a service: name its package too", param_hint="--role")
    wanted = None if role is None else cast("Role", role)
    examined = [Examined(service=load_service(package), role=wanted) for package in packages]

    options = connection.options
    if options.inbox_prefix is None and wanted not in {None, "operator", "viewer"}:
        # Those two receive answers where every command of the admin tools does.
        options = replace(options, inbox_prefix=inbox_prefix(Runtime(examined[0].service.contract, options)))

    async def run() -> Facts:
        async with open_admin_connection(connection.server, options) as opened:
            facts = await collect(opened, examined, options)
            if facts.jobs is not None:
                try:
                    with ProgressLine("reading jobs") as line:
                        facts = replace(facts, index=await read_index(opened, db, line.show))
                except PermissionDenied as denial:
                    facts = replace(facts, unreadable=(*facts.unreadable, str(denial)))
            return replace(facts, projection=await check_index(opened, db)) if with_projection else facts

    return asyncio.run(run())
