"""Bulk actions on a real server: each selected job once, exact counts, one winner, and a stop where jobs die again."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from unittest.mock import patch

import pytest
import trellis_admin
from trellis_admin.audit_log import AdminResourceMissing, Phase
from trellis_admin.bulk import (
    BulkNotFound,
    BulkProblem,
    BulkRecord,
    BulkState,
    CountDiffers,
)
from trellis_admin.bulk.runner import Selected
from trellis_admin.bulk.store import BulkStore
from trellis_admin.bulk.world import JobsWorld
from trellis_admin.operator import Operator
from trellis_admin.queries import FilterProblem
from trellis_nats import Options
from trellis_nats._nats.jetstream.api import call
from trellis_nats.clock import now
from trellis_nats.testing import NatsServer

from tests.support.bulk_process import LEASE, bulk_process, until_sent
from tests.support.eventually import eventually
from tests.support.operating import denying, restricted
from tests.support.shop import ParcelJob, Receipt, Shop
from tests.support.stored_jobs import actions_of, store_jobs
from tests.support.versions import VERSIONS, binary_of

SOON = timedelta(seconds=60)


@asynccontextmanager
async def operating(
    url: str, tmp_path: Path, *, actor: str = "anna", options: Options | None = None
) -> AsyncGenerator[Operator]:
    """Provide an operator on a server that has the streams of the shop."""
    async with trellis_admin.connect(url, options, actor=actor, db=tmp_path / f"{actor}.sqlite") as operator:
        operator.bulk.lease = LEASE
        yield operator


@asynccontextmanager
async def shop_with(url: str, *numbers: int) -> AsyncGenerator[Shop]:
    """Provide the streams of the shop with so many dead jobs, in groups."""
    async with Shop.connect(url) as shop:
        for number in numbers:
            await store_jobs(shop.jobs.runtime.connection, number)
        yield shop


async def replay(
    operator: Operator, query: str = "", *, begin_with: int | None = None, rate: float | None = None
) -> BulkRecord:
    """Begin a replay of everything that a query finds."""
    plan = await operator.bulk.plan("replay", query)
    return await operator.bulk.start(
        plan, confirm=plan.count, reason="fixed", begin_with=begin_with, rate=rate
    )


async def test_a_replay_begins_with_a_few_and_waits(nats_server: NatsServer, tmp_path: Path) -> None:
    async with shop_with(nats_server.url, 25) as shop, operating(nats_server.url, tmp_path) as operator:
        plan = await operator.bulk.plan("replay", "queue:pack")
        assert (plan.count, plan.dry_run.accepted, plan.dry_run.is_complete) == (25, 25, True)
        assert plan.filter.text == "queue:pack state:dead"
        bulk = await operator.bulk.start(plan, confirm=25, reason="gateway is back", rate=None)

        waiting = await operator.bulk.run(bulk.id)
        assert (waiting.state, waiting.sent, waiting.left, waiting.runner) == (BulkState.WAITING, 10, 15, "")
        (entry,) = (await operator.audit_log("kind:bulk")).entries
        assert (entry.record.id, entry.outcome, entry.record.target["count"]) == (bulk.id, None, 25)

        await operator.bulk.go_on(bulk.id)
        done = await operator.bulk.run(bulk.id)
        assert (done.state, done.sent, done.refused, done.changed) == (BulkState.DONE, 25, 0, 0)
        assert set((await actions_of(shop.jobs.runtime.connection)).values()) == {1}
        entries = (await operator.audit_log("kind:bulk action:replay")).entries
        assert [entry.outcome.phase for entry in entries if entry.outcome] == [Phase.DONE]
        await operator.catch_up()
        page = await operator.jobs(f"bulk:{bulk.id}")
        assert {row.state for row in page.rows} == {"pending"}
        assert {row.actor for row in page.rows} == {"anna"}


async def test_jobs_that_die_later_are_not_selected(nats_server: NatsServer, tmp_path: Path) -> None:
    async with shop_with(nats_server.url, 5) as shop, operating(nats_server.url, tmp_path) as operator:
        plan = await operator.bulk.plan("replay", "")
        later = await store_jobs(shop.jobs.runtime.connection, 3)
        bulk = await operator.bulk.start(plan, confirm=5, begin_with=None, rate=None)

        done = await operator.bulk.run(bulk.id)

        assert done.sent == 5
        acted = {job_id for job_id, _ in await actions_of(shop.jobs.runtime.connection)}
        assert not acted & set(later)


async def test_a_killed_process_is_continued_and_every_job_is_sent_once(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    count = 1_200
    async with shop_with(nats_server.url, count) as shop, operating(nats_server.url, tmp_path) as operator:
        bulk = await replay(operator)
        async with bulk_process(nats_server.url, tmp_path / "second.sqlite", bulk.id) as process:
            await until_sent(process, 250)
            process.kill()
            await process.wait()

        done = await operator.bulk.run(bulk.id)

        actions = await actions_of(shop.jobs.runtime.connection)
        assert (done.state, done.sent, done.refused, done.changed) == (BulkState.DONE, count, 0, 0)
        assert done.restarts == 1
        assert len(actions) == count
        assert set(actions.values()) == {1}
        assert {bulk_id for _, bulk_id in actions} == {bulk.id}


async def test_a_frozen_process_and_its_successor_send_every_job_once(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    count = 900
    async with shop_with(nats_server.url, count) as shop, operating(nats_server.url, tmp_path) as operator:
        bulk = await replay(operator)
        async with bulk_process(nats_server.url, tmp_path / "second.sqlite", bulk.id) as process:
            await until_sent(process, 250)
            process.send_signal(signal.SIGSTOP)
            done = await operator.bulk.run(bulk.id)
            process.send_signal(signal.SIGCONT)
            await process.wait()

        actions = await actions_of(shop.jobs.runtime.connection)
        again = await operator.bulk.read(bulk.id)
        assert again.sent == done.sent == len(actions) == count
        assert set(actions.values()) == {1}


async def test_a_selection_of_a_stream_that_was_made_again_is_not_used(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    """Sequences begin again: the jobs at these places are others, which the operator has not seen."""
    async with shop_with(nats_server.url, 30) as shop, operating(nats_server.url, tmp_path) as operator:
        bulk = await replay(operator, begin_with=10)
        await operator.bulk.run(bulk.id)
        for stream in ("JOBS_WORK", "JOBS"):
            await call(shop.jobs.runtime.connection, f"STREAM.DELETE.{stream}")
        async with shop_with(nats_server.url, 60):
            await operator.bulk.go_on(bulk.id)

            stopped = await operator.bulk.run(bulk.id)

            assert (stopped.state, stopped.sent) == (BulkState.STOPPED, 10)
            assert "rolled back or made again" in stopped.note
            assert not await actions_of(shop.jobs.runtime.connection)


async def test_it_stops_when_the_stream_is_made_again_while_it_runs(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        shop = await stack.enter_async_context(shop_with(nats_server.url, 30))
        operator = await stack.enter_async_context(operating(nats_server.url, tmp_path))
        select = JobsWorld.select

        async def select_after(world: JobsWorld, record: BulkRecord, *, limit: int) -> Sequence[Selected]:
            if record.sent:
                for stream in ("JOBS_WORK", "JOBS"):
                    await call(shop.jobs.runtime.connection, f"STREAM.DELETE.{stream}")
                await stack.enter_async_context(shop_with(nats_server.url, 60))
            return await select(world, record, limit=limit)

        bulk = await replay(operator, rate=40)
        with patch.object(JobsWorld, "select", select_after):
            stopped = await operator.bulk.run(bulk.id)

        assert (stopped.state, stopped.sent) == (BulkState.STOPPED, 20)
        assert "rolled back or made again" in stopped.note
        assert not await actions_of(shop.jobs.runtime.connection)


async def test_overlapping_replays_have_one_winner_for_each_job(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    count = 600
    async with (
        shop_with(nats_server.url, count) as shop,
        operating(nats_server.url, tmp_path) as anna,
        operating(nats_server.url, tmp_path, actor="bob") as bob,
    ):
        first, second = await replay(anna), await replay(bob, "queue:pack")

        ends = await asyncio.gather(anna.bulk.run(first.id), bob.bulk.run(second.id))

        actions = await actions_of(shop.jobs.runtime.connection)
        assert len(actions) == count
        assert set(actions.values()) == {1}
        for end in ends:
            assert end.state is BulkState.DONE
            assert end.sent == sum(bulk_id == end.id for _, bulk_id in actions)
            assert end.sent + end.changed == count


async def test_workers_and_cancellations_race_with_a_bulk_action(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    async with Shop.connect(nats_server.url) as shop, operating(nats_server.url, tmp_path) as operator:
        await store_jobs(shop.jobs.runtime.connection, 300, "pending")

        @shop.jobs.pack.handle(concurrency=8)
        async def pack(job: ParcelJob) -> Receipt:
            return Receipt(total=job.payload.number)

        plan = await operator.bulk.plan("cancel", "queue:pack")
        bulk = await operator.bulk.start(plan, confirm=300, begin_with=None, rate=None)
        await shop.start()
        done = await operator.bulk.run(bulk.id)

        cancelled = await actions_of(shop.jobs.runtime.connection, "cancelled")
        assert done.sent == len(cancelled)
        assert done.sent + done.changed == 300


async def test_it_stops_when_jobs_die_again_and_can_go_on(nats_server: NatsServer, tmp_path: Path) -> None:
    async with shop_with(nats_server.url, 400) as shop, operating(nats_server.url, tmp_path) as operator:
        broken = True

        @shop.jobs.pack.handle(concurrency=16)
        async def pack(job: ParcelJob) -> Receipt:
            if broken:
                raise ValueError("no box is large enough")
            return Receipt(total=job.payload.number)

        await shop.start()
        bulk = await replay(operator, rate=60)
        stopped = await operator.bulk.run(bulk.id)

        assert stopped.state is BulkState.STOPPED
        assert "died again" in stopped.note
        assert 20 <= stopped.sent < 400
        broken = False
        await operator.bulk.change_rate(bulk.id, None)
        await operator.bulk.go_on(bulk.id)
        done = await operator.bulk.run(bulk.id)
        assert (done.state, done.sent) == (BulkState.DONE, 400)


async def test_it_is_paused_resumed_and_aborted_from_elsewhere(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    async with (
        shop_with(nats_server.url, 200) as shop,
        operating(nats_server.url, tmp_path) as anna,
        operating(nats_server.url, tmp_path, actor="bob") as bob,
    ):
        bulk = await replay(anna, rate=10)
        running = asyncio.create_task(anna.bulk.run(bulk.id))

        async def has_sent() -> bool:
            return (await bob.bulk.read(bulk.id)).sent >= 5

        await eventually(has_sent)
        await bob.bulk.pause(bulk.id, reason="wait")
        paused = await running
        assert (paused.state, paused.runner) == (BulkState.PAUSED, "")

        await bob.bulk.go_on(bulk.id)
        running = asyncio.create_task(anna.bulk.run(bulk.id))
        await bob.bulk.abort(bulk.id, reason="wrong jobs")
        aborted = await running
        assert (aborted.state, aborted.note, aborted.is_settled) == (
            BulkState.ABORTED,
            "bob: wrong jobs",
            True,
        )
        assert aborted.sent == len(await actions_of(shop.jobs.runtime.connection))
        with pytest.raises(BulkProblem, match="is aborted"):
            await bob.bulk.go_on(bulk.id)
        actions = [entry.record.action for entry in (await anna.audit_log("actor:bob kind:bulk")).entries]
        assert actions == ["resume", "abort", "resume", "pause"]


async def test_a_serving_process_runs_what_begins_and_continues_what_was_left(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    async with shop_with(nats_server.url, 60) as shop, operating(nats_server.url, tmp_path) as operator:
        left = await replay(operator)
        serving = asyncio.create_task(operator.bulk.serve())

        async def is_done(bulk_id: str) -> bool:
            return (await operator.bulk.read(bulk_id)).is_settled

        await eventually(lambda: is_done(left.id), within=SOON)
        await store_jobs(shop.jobs.runtime.connection, 30)
        begun = await replay(operator, begin_with=10)

        async def waits() -> bool:
            record = await operator.bulk.read(begun.id)
            return record.state is BulkState.WAITING and not record.runner

        await eventually(waits, within=SOON)
        await operator.bulk.go_on(begun.id)
        await eventually(lambda: is_done(begun.id), within=SOON)
        serving.cancel()
        assert [record.sent for record in await operator.bulk.list_all()] == [30, 60]


async def test_records_that_ended_long_ago_are_removed(nats_server: NatsServer, tmp_path: Path) -> None:
    async with shop_with(nats_server.url, 2), operating(nats_server.url, tmp_path) as operator:
        ended, waiting = [await replay(operator, f"id:{row.id}") for row in (await operator.jobs()).rows]
        await operator.bulk.run(ended.id)
        store = BulkStore(operator.session.connection)
        await store.add_refusals(ended.id, {"x": "y"})

        await store.prune(ended.created_at)
        assert len(await store.list_all()) == 2
        await store.prune(now() + timedelta(seconds=1))

        assert [record.id for record in await store.list_all()] == [waiting.id]
        assert await store.read_refusals(ended.id) == {}
        with pytest.raises(BulkNotFound):
            await operator.bulk.read(ended.id)


async def test_a_serving_process_continues_what_a_killed_one_ran(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    count = 900
    async with shop_with(nats_server.url, count) as shop, operating(nats_server.url, tmp_path) as operator:
        bulk = await replay(operator)
        async with bulk_process(nats_server.url, tmp_path / "second.sqlite", bulk.id) as process:
            await until_sent(process, 250)
            serving = asyncio.create_task(operator.bulk.serve())
            process.kill()
            await process.wait()

        async def is_settled() -> bool:
            return (await operator.bulk.read(bulk.id)).is_settled

        await eventually(is_settled, within=SOON)
        serving.cancel()
        done = await operator.bulk.read(bulk.id)
        assert (done.state, done.sent, done.restarts) == (BulkState.DONE, count, 1)
        assert set((await actions_of(shop.jobs.runtime.connection)).values()) == {1}


async def test_a_job_whose_deadline_has_passed_is_refused(nats_server: NatsServer, tmp_path: Path) -> None:
    async with shop_with(nats_server.url, 4) as shop, operating(nats_server.url, tmp_path) as operator:
        late = await store_jobs(
            shop.jobs.runtime.connection, 3, created={"deadline": "2026-01-01T00:00:00.000Z"}
        )
        plan = await operator.bulk.plan("replay", "")
        assert (plan.count, plan.dry_run.accepted, plan.dry_run.expired) == (7, 4, 3)
        bulk = await operator.bulk.start(plan, confirm=7, begin_with=None, rate=None)

        done = await operator.bulk.run(bulk.id)

        assert (done.state, done.sent, done.refused, done.changed) == (BulkState.DONE, 4, 3, 0)
        refusals = await operator.bulk.refusals(bulk.id)
        assert set(refusals) == {f"trellis.jobs.shop.pack.{job_id}" for job_id in late}
        assert all("deadline" in reason for reason in refusals.values())


WRONG: dict[str, tuple[Callable[[Operator], Awaitable[object]], type[Exception], str]] = {
    "other states": (
        lambda one: one.bulk.plan("replay", "state:completed"),
        BulkProblem,
        "takes jobs that are dead",
    ),
    "word": (lambda one: one.bulk.plan("replay", "stat:dead"), FilterProblem, "did you mean state"),
    "id": (lambda one: one.bulk.read("nothing"), BulkNotFound, "no bulk action"),
    "no id": (lambda one: one.bulk.read("a b"), BulkNotFound, "not the id"),
    "run": (lambda one: one.bulk.run("nothing"), BulkNotFound, "no bulk action"),
    "pause": (lambda one: one.bulk.pause("nothing"), BulkNotFound, "no bulk action"),
    "nothing": (lambda one: replay(one, "queue:none"), BulkProblem, "no job matches"),
    "rate": (lambda one: replay(one, rate=0), BulkProblem, "not possible"),
    "begin": (lambda one: replay(one, begin_with=0), BulkProblem, "at least one"),
}


@pytest.mark.parametrize("name", WRONG)
async def test_wrong_input_is_explained_and_does_nothing(
    nats_server: NatsServer, tmp_path: Path, name: str
) -> None:
    begin, problem, said = WRONG[name]
    async with shop_with(nats_server.url, 2) as shop, operating(nats_server.url, tmp_path) as operator:
        assert await operator.bulk.list_all() == []
        with pytest.raises(problem, match=said):
            await begin(operator)

        assert await operator.bulk.list_all() == []
        assert not await actions_of(shop.jobs.runtime.connection)
        assert (await operator.audit_log()).entries == ()


async def test_another_number_than_the_confirmed_one_does_nothing(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    async with shop_with(nats_server.url, 6) as shop, operating(nats_server.url, tmp_path) as operator:
        plan = await operator.bulk.plan("dismiss", "")
        with pytest.raises(
            CountDiffers, match="nothing was dismissed: you confirmed 5, and the filter has 6"
        ):
            await operator.bulk.start(plan, confirm=5)
        page = await operator.jobs("state:dead", limit=1)
        await operator.dismiss(page.rows[0])
        with pytest.raises(CountDiffers, match="you confirmed 6, and the filter has 5"):
            await operator.bulk.start(plan, confirm=6)
        again = await operator.bulk.plan("dismiss", "", at=plan.at, seen_count=6)

        assert again.dry_run.changed == 1
        assert len(await actions_of(shop.jobs.runtime.connection, "dismissed")) == 1


@pytest.mark.parametrize(
    "denied", ["$KV.TRELLIS_ADMIN.>", "$JS.API.STREAM.CREATE.KV_TRELLIS_ADMIN", "trellis.audit.>"]
)
async def test_without_permission_nothing_begins(tmp_path: Path, denied: str) -> None:
    with NatsServer(config=denying({"clerk": [denied]})) as server:
        async with Shop.connect(server.url, options=restricted("admin")) as shop:
            await store_jobs(shop.jobs.runtime.connection, 2)
            async with operating(server.url, tmp_path, options=restricted("clerk")) as operator:
                with pytest.raises(AdminResourceMissing, match=r"role operator|permissions"):
                    await replay(operator)

            assert not await actions_of(shop.jobs.runtime.connection)


@pytest.mark.parametrize("version", VERSIONS)
async def test_older_servers(version: str, tmp_path: Path) -> None:
    with NatsServer(binary=binary_of(version)) as server:
        async with shop_with(server.url, 40) as shop, operating(server.url, tmp_path) as operator:
            bulk = await replay(operator)

            done = await operator.bulk.run(bulk.id)

            assert (done.state, done.sent) == (BulkState.DONE, 40)
            assert set((await actions_of(shop.jobs.runtime.connection)).values()) == {1}
