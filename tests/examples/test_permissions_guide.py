"""The server of the guide to permissions runs the orders service."""

from __future__ import annotations

import os
import re
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
from orders_participant import (
    ChargePaymentJob,
    ChargePaymentPayload,
    ChargePaymentResult,
    GetOrderRequest,
    OrdersClient,
    OrdersService,
)
from trellis_nats import Credentials, Maintenance, NoResponders, Options, PermissionDenied
from trellis_nats._nats.jetstream.api import call
from trellis_nats.testing import NatsServer

GUIDE = (Path(__file__).parents[2] / "docs/guides/permissions.md").read_text()
SOON = timedelta(seconds=10)
ROLES = ("provisioner", "worker", "producer", "operator", "client")


def block(beginning: str) -> str:
    blocks: list[str] = re.findall(r"^```\w*\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)
    (found,) = (each for each in blocks if each.startswith(beginning))
    return found


def options(user: str) -> Options:
    return Options(
        credentials=Credentials(user=user, password=f"of-{user}"),
        provision="create" if user == "provisioner" else "verify",
        maintenance=Maintenance(rescue_every=None, purge_every=None),
    )


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    for role in ROLES:
        monkeypatch.setenv(f"{role.upper()}_PASSWORD", f"of-{role}")
    exec(block("from orders_participant"), {})  # noqa: S102 - the guide's own code
    server = block("accounts")
    assert server.count("include ") == 4
    placed = server.replace("jetstream { sync", f'jetstream {{ store_dir: "{tmp_path}", sync')
    # A server reads included files relative to its own file, which is in a temporary folder.
    folder = os.path.relpath(tmp_path, Path(tempfile.gettempdir()) / "server")
    return placed.replace('include "', f'include "{folder}/')


async def test_the_server_of_the_guide_runs_the_orders_service(config: str) -> None:
    async with NatsServer(config=config, jetstream=False) as server:
        async with OrdersService.connect(server.url, options=options("provisioner")):
            pass
        async with (
            OrdersService.connect(server.url, options=options("worker")) as worker,
            OrdersService.connect(server.url, options=options("producer")) as producer,
            OrdersClient.connect(server.url, options=options("client")) as client,
        ):

            @worker.jobs.charge_payment.handle
            async def charge(job: ChargePaymentJob) -> ChargePaymentResult:
                return ChargePaymentResult(charge_id=f"c-{job.payload.order_id}")

            worker.consumers.shipped_audit.leave_to_others()
            await worker.start()
            payload = ChargePaymentPayload(order_id="7", customer_id="c", amount_cents=1)
            ref = await producer.jobs.charge_payment.create(payload)
            assert (await ref.result(timeout=SOON)).charge_id == "c-7"
            with pytest.raises(PermissionDenied):
                await call(producer.jobs.runtime.connection, "STREAM.DELETE.JOBS")
            with pytest.raises(NoResponders):
                await client.rpc.orders.get(GetOrderRequest(order_id="7"))


def test_the_operators_of_the_guide_have_both_roles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(block("from orders_participant") + block("from trellis_nats import Permissions"), {})  # noqa: S102 - the guide's own code

    operators, viewers = ((tmp_path / f"all-{role}s.conf").read_text() for role in ("operator", "viewer"))
    retried = '"trellis.jobs.orders-service.charge-payment.*.retried"'
    assert retried in operators
    assert retried not in viewers
    assert '"$JS.API.CONSUMER.CREATE.TRELLIS_AUDIT.>"' in viewers
