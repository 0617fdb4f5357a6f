"""An object of 2 GiB passes through a process of 64 MiB, in both directions."""

from __future__ import annotations

import asyncio
import sys
from typing import Final

import pytest
from trellis_nats.testing import NatsServer

LARGE_BYTES: Final = 2 * 1024**3
MEMORY_MAX_MIB: Final = 64


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak memory from /proc")
async def test_an_object_of_2_gib_passes_through_a_process_of_64_mib(nats_server: NatsServer) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.files_process", nats_server.url, str(LARGE_BYTES)),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()

    assert process.returncode == 0
    peak_mib = float(output)
    sys.stdout.write(f"large objects: 2 GiB written and read, peak {peak_mib} MiB\n")
    assert peak_mib < MEMORY_MAX_MIB
