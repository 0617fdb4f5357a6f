"""`trellis doctor`: what keeps jobs from running, and what to do about it."""

from __future__ import annotations

from typing import Annotated

import typer

from trellis_admin.connections import Connection, connected
from trellis_admin.exits import ExitCode

__all__ = ["app"]

app = typer.Typer()


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
            help="Check that this account has the permissions of a role of these packages: worker, producer, operator, viewer …",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Look for what keeps jobs from running, or will, and print the remedy of each fault. Nothing is changed.

    Exit codes:
    0: nothing is wrong; hints do not count.
    1: something is wrong.
    2: wrong usage.
    3: the server cannot be asked.
    """
    import asyncio
    from typing import cast, get_args

    from trellis_nats import RUNTIME_API, Contract, Runtime
    from trellis_nats.connect import open_connection
    from trellis_nats.grants import Role

    from trellis_admin.doctor import Examined, Facts, Severity, collect, examine, to_json, to_text
    from trellis_admin.packages import load_service

    roles = get_args(Role)
    if role is not None and role not in roles:
        raise typer.BadParameter(
            f'"{role}" is not a role; the roles are {", ".join(roles)}', param_hint="--role"
        )
    if role is not None and not packages:
        raise typer.BadParameter("a role is that of a service: name its package too", param_hint="--role")
    examined = [
        Examined(service=load_service(package), role=None if role is None else cast("Role", role))
        for package in packages or ()
    ]

    async def run() -> Facts:
        tool = Contract(id="trellis-admin@v1", digest="", generator="", runtime_api=RUNTIME_API)
        async with open_connection(Runtime(tool, connection.options), connection.server) as opened:
            return await collect(opened, examined, connection.options)

    facts = asyncio.run(run())
    findings = examine(facts)
    typer.echo((to_json if as_json else to_text)(facts, findings))
    is_well = all(finding.severity is Severity.HINT for finding in findings)
    raise typer.Exit(ExitCode.OK if is_well else ExitCode.LEFT)
