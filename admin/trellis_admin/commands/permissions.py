"""`trellis permissions`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, cast

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trellis_nats import Permissions
    from trellis_nats.grants import Role
    from trellis_nats.runtime import Callers

__all__ = ["app"]

Roles = Annotated[
    str,
    typer.Argument(
        metavar="ROLE",
        help="worker, producer, operator, viewer, provisioner, auditor or client; several with commas between them.",
        show_default=False,
    ),
]
Packages = Annotated[
    list[str],
    typer.Argument(
        metavar="PACKAGE",
        help="A generated package: its folder, the contract.json in it, or its module name.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
InboxPrefix = Annotated[
    str | None,
    typer.Option(help="The prefix of the subjects on which answers arrive, if it is not the usual one."),
]
Key = Annotated[
    str | None,
    typer.Option(
        metavar="PUBLIC",
        help="The public key of a program that signs its calls: answers arrive in the inbox of the key.",
    ),
]
CallersMode = Annotated[
    str,
    typer.Option(
        metavar="MODE", help="How the service checks who calls: open (not at all), keys or control-plane."
    ),
]
Domain = Annotated[str | None, typer.Option(help="The domain of the JetStream that is used.")]
ApiPrefix = Annotated[
    str | None, typer.Option(help="The prefix of JetStream's API, where it is not $JS.API.")
]

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Print what a user of NATS must be allowed to do, as server configuration.",
)


@app.command("permissions")
def permissions_command(
    roles: Roles,
    packages: Packages,
    session_key: Key = None,
    callers: CallersMode = "open",
    inbox_prefix: InboxPrefix = None,
    domain: Domain = None,
    api_prefix: ApiPrefix = None,
    as_json: AsJson = False,
) -> None:
    """Print what a user of NATS must be allowed to do to have a role in some services, and nothing else.

    The output is the `permissions` of a user in the configuration of nats-server. Nothing is sent to a server.

    Exit codes:
    0: printed.
    2: wrong usage, for instance no such role or package.
    """
    from trellis_nats import Permissions, permissions

    from trellis_admin.packages import load_client, load_service
    from trellis_admin.terminal import print_text

    wanted = [role.strip() for role in roles.split(",")]
    joined = Permissions()
    for package in packages:
        for role in wanted:
            joined |= permissions(
                load_client(package) if role == "client" else load_service(package),
                cast("Role", role),  # `permissions` checks it
                session_key=session_key,
                callers=cast("Callers", callers),  # likewise
                inbox_prefix=inbox_prefix,
                jetstream_domain=domain,
                jetstream_api_prefix=api_prefix,
            )
    print_text(_to_json(joined, wanted) if as_json else joined.to_config().removesuffix("\n"))


def _to_json(joined: Permissions, roles: Sequence[str]) -> str:
    expiry = joined.allow_responses
    shown = {
        "roles": roles,
        "publish": joined.publish,
        "subscribe": joined.subscribe,
        "allowResponsesSeconds": None if expiry is None else round(expiry.total_seconds()),
    }
    return json.dumps(shown, indent=2)
