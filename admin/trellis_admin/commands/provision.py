"""`trellis provision plan|apply`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from trellis_admin.connections import Connection, connected
from trellis_admin.exits import ExitCode

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable

    from trellis_admin.provisioning import ServicePlan

__all__ = ["app"]


Manifests = Annotated[
    list[str],
    typer.Argument(
        metavar="PACKAGE",
        help="A generated package: its folder, the contract.json in it, or its module name.",
        show_default=False,
    ),
]
Replicas = Annotated[
    int | None, typer.Option(min=1, help="Replicas of what is created. Default: 3 in a cluster.")
]
MaxBytes = Annotated[int | None, typer.Option(min=1, help="The limit of each stream that is created.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
AllowDestroy = Annotated[
    bool,
    typer.Option("--allow-destroy", help="Also apply what deletes or limits stored values or waiting work."),
]

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Plan and apply what contracts change on a server."
)


@app.command("plan")
@connected
def plan_command(
    connection: Connection,
    manifests: Manifests,
    as_json: AsJson = False,
) -> None:
    """Print what is, what should be, and what each change does to waiting work. Nothing is changed.

    Exit codes:
    0: the server has what the contracts state.
    1: something differs, or a removed queue holds jobs.
    2: wrong usage.
    3: the server cannot be asked.
    """
    from trellis_admin.packages import load_service
    from trellis_admin.provisioning import plan_service

    services = [load_service(manifest) for manifest in manifests]
    _finish(
        (plan_service(service, connection.server, connection.options) for service in services),
        as_json=as_json,
    )


@app.command("apply")
@connected
def apply_command(
    connection: Connection,
    manifests: Manifests,
    replicas: Replicas = None,
    max_bytes: MaxBytes = None,
    allow_destroy: AllowDestroy = False,
    as_json: AsJson = False,
) -> None:
    """Apply what `plan` prints, each change on its own. Nothing is deleted or limited without --allow-destroy.

    Exit codes:
    0: everything is applied.
    1: something is not applied.
    2: wrong usage.
    3: the server cannot be asked.
    """
    from trellis_admin.packages import load_service
    from trellis_admin.provisioning import apply_service

    options = replace(connection.options, replicas=replicas, max_bytes=max_bytes)
    services = [load_service(manifest) for manifest in manifests]
    _finish(
        (
            apply_service(service, connection.server, options, allow_destroy=allow_destroy)
            for service in services
        ),
        as_json=as_json,
    )


def _finish(planning: Iterable[Coroutine[None, None, ServicePlan]], *, as_json: bool) -> None:
    """Print the plans, also where a later one fails: what was applied before it is applied."""
    import asyncio

    from trellis_admin.report import to_json, to_text
    from trellis_admin.terminal import print_text

    plans: list[ServicePlan] = []
    try:
        for planned in planning:
            plans.append(asyncio.run(planned))  # noqa: PERF401 - those before an error count
    finally:
        if plans:
            print_text(to_json(plans) if as_json else to_text(plans))
    raise typer.Exit(ExitCode.OK if all(planned.is_done for planned in plans) else ExitCode.LEFT)
