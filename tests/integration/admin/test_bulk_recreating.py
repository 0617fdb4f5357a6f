"""Stale jobs that are created again by a bulk action: each once, however often it is asked for."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from unittest.mock import patch

import pytest
import trellis_admin
from orders_participant import OrdersService, SyncTicketsPayload
from trellis_admin.bulk import BulkProblem, BulkRecord, BulkState
from trellis_admin.bulk.runner import Acted, Selected
from trellis_admin.bulk.world import JobsWorld
from trellis_nats import ConfigurationError
from trellis_nats.testing import NatsServer

from tests.support.bulk_process import LEASE
from tests.support.shop import Shop
from tests.support.stored_jobs import actions_of, store_jobs


class KilledError(BaseException):
    """Stands for the end of the process."""


@asynccontextmanager
async def stale_jobs(url: str, count: int) -> AsyncGenerator[tuple[OrdersService, Sequence[str]]]:
    """Provide a service with so many stale jobs, each with a key of its own."""
    async with OrdersService.connect(url) as orders:
        connection = orders.jobs.runtime.connection
        stale = [
            job_id
            for number in range(count)
            for job_id in await store_jobs(
                connection,
                1,
                "stale",
                service="orders-service",
                queue="sync-tickets",
                created={"payload": {"origin": f"o{number}"}},
            )
        ]
        yield orders, stale


async def test_stale_jobs_are_created_again_once_each(nats_server: NatsServer, tmp_path: Path) -> None:
    async with (
        stale_jobs(nats_server.url, 12) as (orders, stale),
        trellis_admin.connect(
            nats_server.url, actor="anna", db=tmp_path / "anna.sqlite", contract=OrdersService
        ) as operator,
    ):
        first = await operator.recreate(stale[0], reason="alone")
        plan = await operator.bulk.plan("recreate", "queue:sync-tickets")
        assert (plan.count, plan.dry_run.accepted, plan.dry_run.is_complete) == (11, 11, True)
        assert plan.filter.text == "queue:sync-tickets state:stale"
        bulk = await operator.bulk.start(plan, confirm=11, reason="still wanted", rate=None)

        waiting = await operator.bulk.run(bulk.id)
        assert (waiting.state, waiting.sent, waiting.left) == (BulkState.WAITING, 10, 1)
        await operator.bulk.go_on(bulk.id)
        done = await operator.bulk.run(bulk.id)

        assert (done.state, done.sent, done.refused, done.changed) == (BulkState.DONE, 11, 0, 0)
        await operator.catch_up()
        made = (await operator.jobs(f"bulk:{bulk.id}")).rows
        assert {row.parent_id for row in made} == set(stale[1:])
        assert {(row.state, row.actor) for row in made} == {("pending", "anna")}
        created = await actions_of(orders.jobs.runtime.connection, "created")
        assert {job_id for (job_id, _), number in created.items() if number == 1} == {
            *stale,
            first,
            *(row.id for row in made),
        }
        again = await operator.bulk.plan("recreate", "queue:sync-tickets")
        assert again.count == 0, "each was created again"
        (entry,) = (await operator.audit_log("kind:bulk action:recreate")).entries
        assert entry.outcome is not None
        assert entry.outcome.text == "11 sent, 0 refused, 0 had changed"


async def test_a_killed_process_creates_no_stale_job_twice(nats_server: NatsServer, tmp_path: Path) -> None:
    """The successor's projection may not have what the process that died had created: the id of the action tells it."""
    async with (
        stale_jobs(nats_server.url, 6) as (orders, stale),
        trellis_admin.connect(
            nats_server.url, actor="anna", db=tmp_path / "anna.sqlite", contract=OrdersService
        ) as operator,
    ):
        operator.bulk.lease = LEASE
        plan = await operator.bulk.plan("recreate", "")
        bulk = await operator.bulk.start(plan, confirm=6, begin_with=None, rate=None)
        act, acted = JobsWorld.act, list[str]()

        async def die_after_some(self: JobsWorld, record: BulkRecord, job: Selected) -> Acted:
            done = await act(self, record, job)
            acted.append(job.job_id)
            if len(acted) == len(stale) // 2:
                raise KilledError
            return done

        with patch.object(JobsWorld, "act", die_after_some), pytest.raises(KilledError):
            await operator.bulk.run(bulk.id)

        done = await operator.bulk.run(bulk.id)

        assert (done.state, done.sent, done.refused, done.changed) == (BulkState.DONE, 6, 0, 0)
        created = await actions_of(orders.jobs.runtime.connection, "created")
        assert sum(number for (_, own), number in created.items() if own == bulk.id) == len(stale)


async def test_a_key_without_room_refuses_its_job_and_no_other(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    async with (
        stale_jobs(nats_server.url, 3) as (orders, stale),
        trellis_admin.connect(
            nats_server.url, actor="anna", db=tmp_path / "anna.sqlite", contract=OrdersService
        ) as operator,
    ):
        for _ in range(2):
            await orders.jobs.sync_tickets.create(SyncTicketsPayload(origin="o1"))
        await store_jobs(orders.jobs.runtime.connection, 1, "stale")
        plan = await operator.bulk.plan("recreate", "")
        reasons = [refusal.reason for refusal in plan.dry_run.reasons]
        assert reasons == [
            "no known contract has its queue, trellis.jobs.shop.pack, and so the limits of its key"
        ]
        bulk = await operator.bulk.start(plan, confirm=4, begin_with=None, rate=None)

        done = await operator.bulk.run(bulk.id)

        assert (done.state, done.sent, done.refused, done.changed) == (BulkState.DONE, 2, 2, 0)
        refusals = await operator.bulk.refusals(bulk.id)
        assert refusals[f"trellis.jobs.orders-service.sync-tickets.{stale[1]}"].startswith("key ")


async def test_creating_again_needs_the_contract(nats_server: NatsServer, tmp_path: Path) -> None:
    async with (
        Shop.connect(nats_server.url),
        trellis_admin.connect(nats_server.url, actor="anna", db=tmp_path / "anna.sqlite") as operator,
    ):
        with pytest.raises(ConfigurationError, match="no contract is known: name a generated package"):
            await operator.bulk.plan("recreate", "")
        with pytest.raises(BulkProblem, match="`trellis jobs recreate` creates a new one"):
            await operator.bulk.plan("retry", "state:stale")
