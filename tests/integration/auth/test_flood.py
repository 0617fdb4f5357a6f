"""Good calls among refused ones; tests/faults/test_flood.py has as many as a service can bear."""

from pathlib import Path

from trellis_nats.testing import NatsServer

from tests.support.flooded import flood


async def test_good_calls_are_answered_among_refused_ones(nats_server: NatsServer, tmp_path: Path) -> None:
    outcome = await flood(nats_server, tmp_path, rate=500, seconds=1)

    assert outcome.sent > 400
    assert outcome.during
    assert not outcome.failed
    assert outcome.grown_bytes < 50 * 1024 * 1024
