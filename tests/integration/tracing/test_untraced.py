"""A program without OpenTelemetry, or without a provider: nothing is loaded, and traces travel as they do anyway."""

import subprocess
import sys
from pathlib import Path

import pytest
from trellis_nats.testing import NatsServer

ROOT = Path(__file__).parents[3]

PROGRAM = """
import asyncio, sys

{before}

from tests.support.shop import Parcel, ParcelJob, Receipt, Shop

async def main() -> None:
    async with Shop.connect(sys.argv[1]) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            child = await shop.jobs.sort.create(Parcel(number=2))
            assert (await child.get()).context == job.context
            return Receipt(total=job.payload.number)

        for queue in (shop.jobs.charge, shop.jobs.sort, shop.jobs.weigh, shop.jobs.ship):
            queue.leave_to_others()
        await shop.jobs.start_workers()
        ref = await shop.jobs.pack.create(Parcel(number=7))
        receipt = await ref.result()
        context = (await ref.get()).context
        print(receipt.total, context.traceparent == f"00-{{context.trace_id}}-{{context.traceparent[36:52]}}-01")
    print(sorted(name for name in sys.modules if name.startswith("opentelemetry"))[:1])

asyncio.run(main())
"""
SWITCHED_OFF = """
import os

os.environ["OTEL_SDK_DISABLED"] = "true"
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

trace.set_tracer_provider(TracerProvider())
"""
BLOCKED = 'sys.modules["opentelemetry"] = None'


@pytest.mark.parametrize(
    ("before", "loaded"),
    [
        ("", "[]"),
        (BLOCKED, "['opentelemetry']"),
        (SWITCHED_OFF, "['opentelemetry']"),
        ('import opentelemetry.trace; sys.modules["opentelemetry.sdk"] = None', "['opentelemetry']"),
    ],
    ids=["installed", "absent", "switched off", "not configured"],
)
def test_a_job_is_worked_and_its_trace_is_inherited(
    nats_server: NatsServer, before: str, loaded: str
) -> None:
    program = PROGRAM.format(before=before)
    run = subprocess.run(
        [sys.executable, "-c", program, nats_server.url],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (run.returncode, run.stderr) == (0, ""), run.stdout + run.stderr
    assert run.stdout.splitlines() == ["7 True", loaded]
