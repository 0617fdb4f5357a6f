"""10,000 refused requests a second among good ones, for ten seconds. FLOOD_RATE says how many each second."""

from __future__ import annotations

import os
from pathlib import Path

from trellis_nats.testing import NatsServer

from tests.support.flooded import flood

RATE = int(os.environ.get("FLOOD_RATE", "10000"))
SECONDS = 10


async def test_good_calls_are_answered_during_a_flood_of_refused_ones(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    outcome = await flood(nats_server, tmp_path, rate=RATE, seconds=SECONDS)

    print(f"\n{RATE}/s: {outcome}")  # noqa: T201 - the numbers are the result
    assert outcome.sent > RATE * SECONDS * 0.9
    assert outcome.grown_bytes < 100 * 1024 * 1024
    # Where the processor is too slow for the flood, "too many calls are waiting" is an answer too.
    assert len(outcome.during) > 10 * outcome.failed["UnexpectedError"]
    assert outcome.failed.keys() <= {"UnexpectedError"}
