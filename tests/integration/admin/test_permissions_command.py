"""`trellis permissions`: what a user must be allowed to do, printed for a server and as JSON."""

from __future__ import annotations

import json

import pytest
from orders_participant import OrdersClient, OrdersService
from trellis_nats import permissions
from trellis_nats.grants import Role

from tests.house.sources import ROOT
from tests.support.trellis_command import run_trellis_here

PACKAGE = str(ROOT / "examples/orders_service/orders_participant")


@pytest.mark.parametrize("role", ["worker", "producer", "operator", "viewer", "provisioner", "auditor"])
async def test_the_configuration_is_that_of_the_function(role: Role) -> None:
    ended = await run_trellis_here("permissions", role, PACKAGE)

    assert (ended.code, ended.error) == (0, "")
    assert ended.out == permissions(OrdersService, role).to_config()


async def test_roles_and_packages_are_joined() -> None:
    ended = await run_trellis_here("permissions", "worker, client", PACKAGE, PACKAGE, "--json")

    joined = permissions(OrdersService, "worker") | permissions(OrdersClient, "client")
    assert json.loads(ended.out) == {
        "roles": ["worker", "client"],
        "publish": [*joined.publish],
        "subscribe": [*joined.subscribe],
        "allowResponsesSeconds": 600,
    }


async def test_a_package_may_be_a_module_inside_another_one() -> None:
    ended = await run_trellis_here("permissions", "worker", "trellis_admin.rpc.trellis_jobs_participant")

    assert (ended.code, ended.error) == (0, "")
    assert "rpc.v1.Jobs.ReplayDLQ" in ended.out


async def test_prefixes_are_those_of_the_options() -> None:
    ended = await run_trellis_here(
        "permissions", "viewer", PACKAGE, "--domain", "hub", "--inbox-prefix", "_INBOX.anna"
    )

    expected = permissions(OrdersService, "viewer", inbox_prefix="_INBOX.anna", jetstream_domain="hub")
    assert ended.out == expected.to_config()


async def test_keys_and_the_checks_of_callers_are_those_of_the_function() -> None:
    key = "0EqyMnQrtKs6E2i9RhXk5tAiSrcaAWuvhSCjMsl3hzc"
    ended = await run_trellis_here(
        "permissions", "worker", PACKAGE, "--session-key", key, "--callers", "control-plane"
    )

    expected = permissions(OrdersService, "worker", session_key=key, callers="control-plane")
    assert ended.out == expected.to_config()
    assert "rpc.v1.Auth.Requests.Validate" in ended.out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("vewer", PACKAGE), "role must be one of"),
        (("worker,", PACKAGE), "role must be one of"),
        (("worker", "no_such_package"), "no_such_package cannot be imported"),
        (("worker", PACKAGE, "--inbox-prefix", "a b"), "must be tokens of"),
        (("worker", PACKAGE, "--session-key", "x"), "session_key is a public key"),
        (("worker", PACKAGE, "--callers", "key"), "callers must be one of"),
    ],
)
async def test_what_cannot_be_printed_is_said_in_a_sentence(arguments: tuple[str, ...], text: str) -> None:
    ended = await run_trellis_here("permissions", *arguments)

    assert (ended.code, ended.out) == (2, "")
    assert ended.error.startswith("trellis: ")
    assert text in ended.error
