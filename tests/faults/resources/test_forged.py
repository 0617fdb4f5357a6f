"""Forged work messages for a job that exists."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Final

from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats.testing import NatsServer

from tests.faults.harness.dump import dumped
from tests.faults.harness.scenario import scenario
from tests.faults.injection.forging import WORK, created

DELAY: Final = timedelta(seconds=4)
"""Longer than a worker takes to start."""


async def test_a_forged_work_message_changes_nothing_of_a_job_that_waits(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    """A client that may publish work knows the id of a waiting job, and sends it with another payload and service."""
    async with scenario("forged work of waiting jobs", nats_server.url, tmp_path) as it:
        ref = await it.submit(delay=DELAY)
        assert ref is not None
        forged = created(ref.id, payload={"number": -1}, service="bank", maxTries=1)
        await publish_acked(it.connection, WORK, json.dumps(forged).encode())
        await it.crew.hire()
        verdict = await it.verdict()
        records = (await dumped(it.connection)).records
        snapshot = await ref.get()

    assert verdict.is_clean, str(verdict)
    assert snapshot.ended_at is not None
    assert snapshot.ended_at - snapshot.created_at >= DELAY, "it began before its time"
    assert [each.event for each in records if each.job == ref.id] == ["created", "started", "completed"]
