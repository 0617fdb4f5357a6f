"""`trellis doctor --role` checks an account with the permissions of its role, and names what it may do beyond them."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from trellis_admin.doctor import Examined, Severity, collect, examine
from trellis_admin.packages import load_service
from trellis_admin.session import open_admin_connection
from trellis_nats import Permissions, permissions
from trellis_nats._nats.connection import Connection
from trellis_nats.grants import Role
from trellis_nats.testing import NatsServer

from tests.house.sources import ROOT
from tests.support.depot import Depot, accounts, login, standing
from tests.support.trellis_command import run_trellis_here

PACKAGE: Final = ROOT / "examples/orders_service/orders_participant"
ROLES: Final[tuple[Role, ...]] = ("worker", "producer", "operator", "viewer", "auditor")


async def found_on(connection: Connection, role: Role) -> dict[str, str]:
    findings = examine(await collect(connection, [Examined(service=Depot, role=role)]))
    return {finding.check: finding.text for finding in findings if finding.severity is not Severity.HINT}


async def test_an_account_with_exactly_its_role_is_not_warned_of() -> None:
    found = dict[str, dict[str, str]]()
    async with standing() as server:
        for role in ROLES:
            inbox = None if role in {"operator", "viewer"} else "_INBOX_depot"
            options = replace(login(role), inbox_prefix=inbox)
            async with open_admin_connection(server.url, options) as connection:
                found[role] = await found_on(connection, role)

    # An operator of one service is not allowed to look up the others: that it may not is a warning.
    permission_checks = {"permissions-wide", "permissions-missing", "permissions-narrow"}
    warned = [
        (role, text) for role in ROLES for check, text in found[role].items() if check in permission_checks
    ]
    assert [text for role, text in warned if role != "operator"] == []
    assert "permissions-wide" not in found["operator"]


async def test_rights_beyond_the_role_are_named() -> None:
    wide = permissions(Depot, "worker") | Permissions(
        publish=("$JS.API.STREAM.CREATE.JOBS",), subscribe=("_INBOX.>",)
    )
    async with standing({"worker": wide}) as server:
        options = replace(login("worker"), inbox_prefix="_INBOX_depot")
        async with open_admin_connection(server.url, options) as connection:
            found = await found_on(connection, "worker")

    assert found["permissions-wide"] == (
        'the account may do more than its role needs: subscribe to "_INBOX.trellis-doctor-probe.>" '
        '(to receive the answers to any program); publish to "$JS.API.STREAM.CREATE.JOBS" (to create stream JOBS)'
    )


async def test_the_command_connects_as_the_role_does() -> None:
    service = load_service(str(PACKAGE))
    users = {"provisioner": permissions(service, "provisioner"), "worker": permissions(service, "worker")}
    async with NatsServer(config=accounts(users)) as server:
        async with service.connect(server.url, options=login("provisioner")):
            pass
        login_as = ("--server", server.url, "--user", "worker", "--password", "worker")
        ended = await run_trellis_here("doctor", PACKAGE, "--role", "worker", *login_as)

    assert (ended.code, ended.error) == (0, "")
    assert "of doctor need more than the role of the account" in ended.out
