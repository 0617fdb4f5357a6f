"""The statements of the tour are true."""

import asyncio
import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from orders_participant import ChargePaymentJob, ChargePaymentPayload, ChargePaymentResult, OrdersService
from trellis_nats.testing import NatsServer, service_under_test

from tests.support.trellis_command import run_trellis_here

ROOT = Path(__file__).parents[2]
TOUR = (ROOT / "docs/start/tour.md").read_text()
COMMANDS = [
    line.partition("#")[0].strip()
    for block in re.findall(r"```console\n(.*?)```", TOUR, re.DOTALL)
    for line in block.splitlines()
]


@pytest.mark.parametrize("command", [each for each in COMMANDS if "trellis-gen" in each])
def test_the_generator_commands_run_and_find_the_example_fresh(command: str) -> None:
    run = subprocess.run(
        [*shlex.split(command), "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert run.returncode == 0, run.stdout + run.stderr


def test_the_error_that_is_shown_is_the_error_that_is_printed(tmp_path: Path) -> None:
    contract = tmp_path / "contracts" / "orders_service.manifest.json"
    contract.parent.mkdir()
    text = (ROOT / "contracts" / contract.name).read_text()
    broken = text.replace('"schema": "ReserveInventoryPayload"', '"schema": "ReserveInventoryPaylaod"')
    assert json.loads(broken) != json.loads(text)
    contract.write_text(broken)
    shutil.copy(ROOT / "contracts" / "notifications.manifest.json", contract.parent)
    shown = re.search(r"```\n(contracts/orders_service.*?)```", TOUR, re.DOTALL)
    assert shown is not None

    run = subprocess.run(
        [ROOT / ".venv/bin/trellis-gen", "facade", f"contracts/{contract.name}", "--with", "contracts"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 3
    assert run.stderr == shown[1]
    assert [path.name for path in tmp_path.iterdir()] == ["contracts"]


async def test_the_dead_job_of_the_tour_is_replayed_from_the_shell(
    nats_server: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    tour = re.search(r"## 8\. Operate it.*?```console\n(.*?)```", TOUR, re.DOTALL)
    assert tour is not None
    shown = [line.removeprefix("$ trellis ") for line in tour[1].splitlines() if line.startswith("$ ")]
    async with service_under_test(OrdersService, url=nats_server.url) as orders:
        orders.service.consumers.shipped_audit.leave_to_others()
        is_up = asyncio.Event()

        @orders.service.jobs.charge_payment.handle
        async def charge(_: ChargePaymentJob) -> ChargePaymentResult:
            if not is_up.is_set():
                raise TimeoutError("the payment gateway did not answer")
            return ChargePaymentResult(charge_id="ch_1")

        payload = ChargePaymentPayload(order_id="o-1", customer_id="c-42", amount_cents=1)
        ref = await orders.service.jobs.charge_payment.create(payload)
        await orders.drain()
        is_up.set()
        printed = ""
        for command in shown:
            arguments = [argument.replace("$ID", ref.id) for argument in shlex.split(command)]
            ended = await run_trellis_here(*arguments, "--server", nats_server.url)
            assert ended.code == 0, ended.error
            printed += ended.out

    for line in tour[1].splitlines():
        if not line.startswith("$ "):
            without_times = re.sub(
                r"\d+ [smh] ago|[·█]+", "", line.replace("01M8NFPFHT33DF651J9CSR0RAH", ref.id)
            )
            assert all(word in printed for word in without_times.split()), line
    assert "completed" in printed
