"""The code of the tracing guide, in a program that works one job."""

import re
import subprocess
import sys
from pathlib import Path

from trellis_nats.testing import NatsServer

ROOT = Path(__file__).parents[2]

PROGRAM = """
import asyncio, sys

from tests.support.shop import Parcel, ParcelJob, Receipt, Shop

async def main() -> None:
    async with Shop.connect(sys.argv[1]) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            logging.getLogger("a program").warning("packing %s", job.context.trace_id)
            return Receipt(total=1)

        await shop.jobs.start_workers()
        ref = await shop.jobs.pack.create(Parcel(number=1))
        await ref.result()
    provider.shutdown()

asyncio.run(main())
"""


def test_the_code_of_the_guide_prints_spans_and_joins_the_log(nats_server: NatsServer) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/guides/tracing.md").read_text(), re.DOTALL)
    run = subprocess.run(
        [sys.executable, "-c", "\n".join([*blocks, PROGRAM]), nats_server.url],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 0, run.stderr
    assert re.findall(r'"name": "(.*)"', run.stdout) == ["create pack", "process pack"]
    (line,) = re.findall(r"^packing (\w{32}) trace=(\w{32})$", run.stderr, re.MULTILINE)
    assert line[0] == line[1]
    assert f'"trace_id": "0x{line[0]}"' in run.stdout
