"""Concurrency keys as an operator sees them, and the release of one whose owner is gone."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
import trellis_admin
from trellis_admin.audit_log import CannotRead, Phase
from trellis_admin.keys import KeyProblem, KeyState
from trellis_admin.operator import Operator, QueueProblem
from trellis_nats import Options
from trellis_nats._nats.jetstream.api import call
from trellis_nats.jobs.model.states import JobState
from trellis_nats.testing import NatsServer

from tests.support.eventually import eventually
from tests.support.ferry import LATE_LEASE, Cargo, Ferry
from tests.support.ferry_process import ferry_process
from tests.support.left_behind import ANNA, Watch, dead_slot, entry, leave
from tests.support.operating import denying, restricted
from tests.support.records import holders

GONE = LATE_LEASE + timedelta(seconds=3)
"""A lease, and the time by which clocks may differ."""


@asynccontextmanager
async def operating(url: str, tmp_path: Path, options: Options | None = None) -> AsyncGenerator[Operator]:
    async with trellis_admin.connect(url, options, actor="anna", db=tmp_path / "jobs.sqlite") as operator:
        yield operator


async def test_keys_are_listed_with_their_holders_blocked_ones_first(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    async with Ferry.connect(nats_server.url) as ferry:
        queue, watch = ferry.jobs.guarded, Watch()
        watch.works(queue)
        await ferry.jobs.start_workers()
        held = await queue.create(Cargo(ship="held"))
        await eventually(lambda: watch.running == {held.id})
        await leave(ferry, queue, active=[dead_slot()], queued=[entry("01WAITS")], cargo=Cargo(ship="gone"))
        await leave(ferry, queue, queued=[entry("01LATER")], cargo=Cargo(ship="waits"))
        await leave(ferry, queue, cargo=Cargo(ship="free"))
        async with operating(nats_server.url, tmp_path) as operator:
            listed = await operator.keys.list_keys("guarded")
            short = await operator.keys.list_keys("ferry/guarded", limit=1)
            blocked = await operator.keys.show("guarded", "gone")
            by_hash = await operator.keys.show("trellis.jobs.ferry.guarded", blocked.key_hash[:12])

        assert [(key.key, key.state) for key in listed.keys] == [
            ("gone", KeyState.BLOCKED),
            ("held", KeyState.HELD),
            ("waits", KeyState.WAITING),
        ]
        assert (listed.total, listed.blocked, listed.held, listed.is_cut) == (3, 1, 1, False)
        assert ([key.key for key in short.keys], short.total) == (["gone"], 3)
        assert blocked == by_hash
        assert [holder.job_id for holder in blocked.holders] == ["01DEAD"]
        assert [waiting.job_id for waiting in blocked.waiting] == ["01WAITS"]
        assert [holder.job_id for holder in listed.keys[1].holders] == [held.id]
        watch.go_on.set()


async def test_a_key_of_a_killed_worker_is_released_and_its_job_is_stale(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    async with Ferry.connect(nats_server.url) as ferry, operating(nats_server.url, tmp_path) as operator:
        queue = ferry.jobs.late
        async with ferry_process(nats_server.url) as worker:
            first = await queue.create(Cargo(ship="anna", takes=60))
            second = await queue.create(ANNA)
            await worker.wait_for("began")
            seen = await operator.keys.show("late", "anna")
            with pytest.raises(KeyProblem, match=r"answers that it works on job .*cancel the job"):
                await operator.keys.release(seen, reason="too early")
            worker.process.kill()
            await worker.process.wait()

        async def is_over() -> bool:
            stored = await operator.keys.show("late", "anna")
            try:
                released = await operator.keys.release(stored, reason="node-08 was drained")
            except KeyProblem:
                return False
            assert (released.job_id, released.is_stale) == (first.id, True)
            return True

        # Its process must not answer, and its lease must have run out.
        await eventually(is_over, within=GONE + timedelta(seconds=10))
        assert (await first.get()).state is JobState.STALE
        assert await holders(ferry, queue, ANNA) == ([], [second.id])
        (done,) = (await operator.audit_log("action:release outcome:done")).entries
        assert done.record.target["key"] == "anna"
        assert done.record.reason == "node-08 was drained"
        watch = Watch(ends=True)
        watch.works(queue)
        await ferry.jobs.start_workers()
        await second.result(timeout=timedelta(seconds=10))


async def test_a_key_that_changed_since_it_was_seen_is_not_released(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    async with Ferry.connect(nats_server.url) as ferry, operating(nats_server.url, tmp_path) as operator:
        queue = ferry.jobs.guarded
        await queue.create(Cargo(ship="other"))
        await leave(ferry, queue, active=[dead_slot(age=timedelta(minutes=1))])
        seen = await operator.keys.show("guarded", "anna")
        await queue.create(ANNA)

        with pytest.raises(KeyProblem, match="has changed since it was seen"):
            await operator.keys.release(seen)
        again = await operator.keys.show("guarded", "anna")
        released = await operator.keys.release(again)

        assert (released.job_id, released.job_state) == ("01DEAD", None)
        phases = [
            entry.outcome.phase for entry in (await operator.audit_log("kind:key")).entries if entry.outcome
        ]
        assert phases == [Phase.DONE, Phase.REFUSED]
        with pytest.raises(KeyProblem, match="no job holds it"):
            await operator.keys.release(await operator.keys.show("guarded", "anna"))


async def test_the_slot_of_a_silent_process_is_kept_while_its_lease_lasts(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    async with Ferry.connect(nats_server.url) as ferry, operating(nats_server.url, tmp_path) as operator:
        queue = ferry.jobs.guarded
        await queue.create(Cargo(ship="other"))
        slot = dead_slot(age=-timedelta(minutes=1))
        await leave(ferry, queue, active=[slot])

        with pytest.raises(KeyProblem, match=r"does not answer, but its lease lasts \d+ s longer"):
            await operator.keys.release(await operator.keys.show("guarded", "anna"))

        assert await holders(ferry, queue, ANNA) == ([slot.job_id], [])


async def test_wrong_names_are_explained(nats_server: NatsServer, tmp_path: Path) -> None:
    async with Ferry.connect(nats_server.url) as ferry, operating(nats_server.url, tmp_path) as operator:
        await ferry.jobs.guarded.create(ANNA)

        with pytest.raises(QueueProblem, match='no queue "garded"'):
            await operator.keys.list_keys("garded")
        with pytest.raises(KeyProblem, match='has no key "bob"'):
            await operator.keys.show("guarded", "bob")
        with pytest.raises(KeyProblem, match='has no key ""'):
            await operator.keys.show("guarded", "")


async def test_an_account_without_permission_reads_no_key(tmp_path: Path) -> None:
    config = denying({"clerk": ["$JS.API.CONSUMER.CREATE.KV_JOBS_KEYS_ferry.>"]})
    with NatsServer(config=config) as server:
        async with Ferry.connect(server.url, options=restricted("admin")) as ferry:
            await ferry.jobs.guarded.create(ANNA)
            async with operating(server.url, tmp_path, restricted("clerk")) as operator:
                with pytest.raises(
                    CannotRead, match=r"the keys cannot be read from stream KV_JOBS_KEYS_ferry"
                ):
                    await operator.keys.list_keys("guarded")


async def test_a_service_without_keys_has_none(nats_server: NatsServer, tmp_path: Path) -> None:
    """Its bucket was deleted."""
    async with Ferry.connect(nats_server.url) as ferry:
        await ferry.jobs.guarded.create(ANNA)
        await call(ferry.jobs.runtime.connection, "STREAM.DELETE.KV_JOBS_KEYS_ferry")
        async with operating(nats_server.url, tmp_path) as operator:
            assert (await operator.keys.list_keys("guarded")).keys == ()
