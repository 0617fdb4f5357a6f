"""What operators do from Python: fenced by what was seen, recorded before it happens."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trellis_admin
from orders_participant import OrdersService
from pydantic import JsonValue
from trellis_admin.audit_log import Action, AdminResourceMissing, Kind, Phase, count_audit
from trellis_admin.bulk import BulkProblem
from trellis_admin.operator import AmbiguousJob, Operator, QueueProblem
from trellis_admin.rpc.trellis_jobs_participant import TrellisJobsService
from trellis_nats import ActionRefused, ConfigurationError, JobNotFound, Options
from trellis_nats.errors import CannotConnect, InvalidPayload
from trellis_nats.jobs.model.states import JobState
from trellis_nats.testing import NatsServer

from tests.support.eventually import eventually
from tests.support.operating import denying, restricted
from tests.support.shop import Parcel, ParcelJob, Receipt, Shop
from tests.support.stored_jobs import actions_of, store_jobs
from tests.support.versions import VERSIONS, binary_of


@asynccontextmanager
async def operating(
    url: str, tmp_path: Path, options: Options | None = None, **more: object
) -> AsyncGenerator[Operator]:
    connecting = trellis_admin.connect(
        url,
        options,
        **{"actor": "anna", "db": tmp_path / "jobs.sqlite", **more},  # type: ignore[arg-type]
    )
    async with connecting as operator:
        yield operator


async def test_a_dead_job_is_found_replayed_and_completes(nats_server: NatsServer, tmp_path: Path) -> None:
    async with Shop.connect(nats_server.url) as shop, operating(nats_server.url, tmp_path) as operator:
        (dead,) = await store_jobs(shop.jobs.runtime.connection, 1)
        await operator.catch_up()
        page = await operator.jobs("state:dead queue:pack")
        (row,) = page.rows
        assert (row.id, row.error_type, (await operator.count("queue:pack"))[JobState.DEAD].number) == (
            dead,
            "ValueError",
            1,
        )

        done = await operator.replay(row, reason="a larger\nbox")

        assert (done.previous, done.state) == (JobState.DEAD, JobState.PENDING)

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            return Receipt(total=job.payload.number)

        await shop.start()

        async def is_completed() -> bool:
            return (await shop.jobs.pack.ref(dead).get()).state is JobState.COMPLETED

        await eventually(is_completed)
        await operator.catch_up()
        (row,) = (await operator.jobs(f"id:{dead}")).rows
        assert (row.state, row.actor) == (JobState.COMPLETED, "anna")
        (entry,) = (await operator.audit_log()).entries
        assert entry.record.target["job"] == dead
        assert entry.outcome is not None
        assert entry.outcome.detail == {"sequence": done.sequence}


async def test_a_job_that_changed_since_it_was_seen_is_left_alone(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    async with Shop.connect(nats_server.url) as shop, operating(nats_server.url, tmp_path) as operator:
        await store_jobs(shop.jobs.runtime.connection, 1)
        await operator.catch_up()
        (row,) = (await operator.jobs("state:dead")).rows
        await operator.dismiss(row, reason="first")

        with pytest.raises(ActionRefused) as refused:
            await operator.replay(row, reason="second")

        assert refused.value.why in {"changed", "state"}
        assert not await actions_of(shop.jobs.runtime.connection)
        outcomes = [entry.outcome for entry in (await operator.audit_log()).entries]
        assert [outcome.phase for outcome in outcomes if outcome] == [Phase.REFUSED, Phase.DONE]
        assert str(refused.value) in [outcome.text for outcome in outcomes if outcome]


async def test_two_operators_have_one_winner(nats_server: NatsServer, tmp_path: Path) -> None:
    async with Shop.connect(nats_server.url) as shop, operating(nats_server.url, tmp_path) as operator:
        await store_jobs(shop.jobs.runtime.connection, 20)
        await operator.catch_up()
        rows = (await operator.jobs("state:dead")).rows

        acts = [act(row) for row in rows for act in (operator.replay, operator.dismiss)]
        ends = await asyncio.gather(*acts, return_exceptions=True)

        for first, second in zip(ends[::2], ends[1::2], strict=True):
            assert isinstance(first, ActionRefused) != isinstance(second, ActionRefused)


async def test_each_action_takes_its_states(nats_server: NatsServer, tmp_path: Path) -> None:
    async with Shop.connect(nats_server.url) as shop, operating(nats_server.url, tmp_path) as operator:
        connection = shop.jobs.runtime.connection
        (failed,) = await store_jobs(connection, 1, "failed")
        (waits,) = await store_jobs(connection, 1, "pending")

        assert (await operator.retry(failed)).state is JobState.PENDING
        assert (await operator.cancel(waits)).state is JobState.CANCELLED
        with pytest.raises(ActionRefused):
            await operator.replay(waits)


async def test_a_job_is_named_by_its_id_or_with_its_queue(nats_server: NatsServer, tmp_path: Path) -> None:
    async with Shop.connect(nats_server.url) as shop, operating(nats_server.url, tmp_path) as operator:
        with pytest.raises(JobNotFound, match='there is no job "01NONE"'):
            await operator.cancel("01NONE")
        twice = "01M8KT1SQRNGY82PMCC50CW60P"
        for queue in ("pack", "charge"):
            await store_jobs(shop.jobs.runtime.connection, 1, "pending", queue=queue, ids=[twice])

        with pytest.raises(AmbiguousJob, match=rf"shop\.charge\.{twice}, trellis\.jobs\.shop\.pack\.{twice}"):
            await operator.cancel(twice)
        assert (await operator.cancel(f"trellis.jobs.shop.pack.{twice}")).state is JobState.CANCELLED
        with pytest.raises(JobNotFound):
            await operator.cancel(twice[:12])


async def test_a_queue_is_paused_and_resumed(nats_server: NatsServer, tmp_path: Path) -> None:
    async with Shop.connect(nats_server.url) as shop, operating(nats_server.url, tmp_path) as operator:
        await shop.jobs.pack.create(Parcel(number=1))

        paused = await operator.pause("shop/pack", reason="release")
        again = await operator.pause("pack")
        resumed = await operator.resume("pack")

        assert (paused.is_new, again.is_new) == (True, False)
        assert (paused.pause.by, paused.pause.reason, paused.pause.source) == (
            "anna",
            "release",
            "Python API",
        )
        assert resumed.removed == paused.pause
        with pytest.raises(QueueProblem, match='no queue "pakc"'):
            await operator.pause("pakc")
        actions = [entry.record.action for entry in (await operator.audit_log("kind:queue")).entries]
        assert actions == [Action.RESUME, Action.PAUSE, Action.PAUSE]


async def test_the_stack_of_a_running_job_is_shown(nats_server: NatsServer, tmp_path: Path) -> None:
    async with Shop.connect(nats_server.url) as shop, operating(nats_server.url, tmp_path) as operator:
        go_on = asyncio.Event()

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            await go_on.wait()
            return Receipt(total=job.payload.number)

        await shop.start()
        ref = await shop.jobs.pack.create(Parcel(number=1))

        async def has_stack() -> bool:
            stack = await operator.stack(ref.id)
            return stack is not None and any(frame.function.endswith(".pack") for frame in stack.frames[:1])

        await eventually(has_stack)
        go_on.set()
        await ref.result()
        assert await operator.stack(ref.id) is None


async def test_a_payload_is_revealed_exactly_and_recorded(nats_server: NatsServer, tmp_path: Path) -> None:
    async with Shop.connect(nats_server.url) as shop, operating(nats_server.url, tmp_path) as operator:
        big = 2**63 + 1
        (job,) = await store_jobs(
            shop.jobs.runtime.connection, 1, created={"payload": {"number": big, "note": "é"}}
        )

        revealed = await operator.reveal(job, reason="which box?")

        assert (b"%d" % big) in revealed.text
        assert not revealed.is_checked
        (entry,) = (await operator.audit_log("kind:payload")).entries
        assert (entry.record.action, entry.record.reason) == (Action.REVEAL, "which box?")
        assert str(big) not in str(entry)


async def test_an_attempt_that_a_role_does_not_allow_is_recorded(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    async with Shop.connect(nats_server.url), operating(nats_server.url, tmp_path) as operator:
        await operator.deny(
            Kind.BULK, Action.REPLAY, {"count": 318}, reason="limit raised", why="needs the role operator"
        )

        assert (await count_audit(operator.session.connection)).refused == 1


@pytest.mark.parametrize("denied", ["trellis.audit.>", "$JS.API.STREAM.CREATE.TRELLIS_AUDIT"])
async def test_without_the_audit_log_nothing_happens(tmp_path: Path, denied: str) -> None:
    with NatsServer(config=denying({"clerk": [denied]})) as server:
        async with Shop.connect(server.url, options=restricted("admin")) as shop:
            (dead,) = await store_jobs(shop.jobs.runtime.connection, 1)
            async with operating(server.url, tmp_path, restricted("clerk")) as operator:
                for act in (operator.replay, operator.dismiss, operator.reveal):
                    with pytest.raises(AdminResourceMissing):
                        await act(dead)
                with pytest.raises(AdminResourceMissing):
                    await operator.pause("pack")

            assert not await actions_of(shop.jobs.runtime.connection)
            assert not await actions_of(shop.jobs.runtime.connection, "dismissed")


async def test_an_account_that_may_not_write_events_is_told_so_and_recorded(tmp_path: Path) -> None:
    with NatsServer(config=denying({"clerk": ["trellis.jobs.>"]})) as server:
        async with Shop.connect(server.url, options=restricted("admin")) as shop:
            (dead,) = await store_jobs(shop.jobs.runtime.connection, 1)
            async with operating(server.url, tmp_path, restricted("clerk")) as operator:
                with pytest.raises(Exception, match=r'may not publish to "trellis\.jobs\.shop\.pack'):
                    await operator.replay(dead)
                (entry,) = (await operator.audit_log()).entries

        assert entry.outcome is not None
        assert entry.outcome.phase is Phase.REFUSED


async def test_the_actor_is_the_environments_or_the_users(
    nats_server: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("TRELLIS_ACTOR", "release-bot")
    async with Shop.connect(nats_server.url), trellis_admin.connect(nats_server.url) as operator:
        assert operator.actor == "release-bot"
        assert operator.session.database.parent == tmp_path / "trellis"
        assert operator.session.database.exists()
    monkeypatch.delenv("TRELLIS_ACTOR")
    monkeypatch.setenv("LOGNAME", "dora")
    async with trellis_admin.connect(nats_server.url) as operator:
        assert operator.actor == "dora"


async def test_two_accounts_have_files_of_their_own(
    nats_server: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with NatsServer() as other:
        async with (
            Shop.connect(nats_server.url),
            Shop.connect(other.url),
            trellis_admin.connect(nats_server.url) as first,
            trellis_admin.connect(nats_server.url) as same,
            trellis_admin.connect(other.url) as second,
        ):
            assert first.session.database == same.session.database != second.session.database


async def test_a_server_without_jobs_has_none(nats_server: NatsServer, tmp_path: Path) -> None:
    async with operating(nats_server.url, tmp_path) as operator:
        assert (await operator.jobs()).rows == ()
        assert (await operator.audit_log()).entries == ()
        assert await operator.bulk.list_all() == []


async def test_no_server_is_said(tmp_path: Path) -> None:
    with pytest.raises(CannotConnect):
        async with operating("nats://127.0.0.1:1", tmp_path):
            pass


@pytest.mark.parametrize("version", VERSIONS)
async def test_older_servers(version: str, tmp_path: Path) -> None:
    with NatsServer(binary=binary_of(version)) as server:
        async with Shop.connect(server.url) as shop, operating(server.url, tmp_path) as operator:
            (dead,) = await store_jobs(shop.jobs.runtime.connection, 1)

            assert (await operator.replay(dead, reason="fixed")).state is JobState.PENDING
            with pytest.raises(ActionRefused):
                await operator.replay(dead)


PAID: dict[str, JsonValue] = {"orderId": "o-1", "customerId": "c-1", "amountCents": 4_200}


async def dead_payment(orders: OrdersService, payload: dict[str, JsonValue]) -> str:
    (dead,) = await store_jobs(
        orders.jobs.runtime.connection,
        1,
        service="orders-service",
        queue="charge-payment",
        created={"payload": payload},
    )
    return dead


async def test_a_job_is_replayed_with_an_edited_payload(nats_server: NatsServer, tmp_path: Path) -> None:
    async with (
        OrdersService.connect(nats_server.url) as orders,
        operating(nats_server.url, tmp_path, contract=[TrellisJobsService, OrdersService]) as operator,
    ):
        dead = await dead_payment(orders, PAID)
        for wrong in (b'{"orderId": "o-1"}', b"not json"):
            with pytest.raises(InvalidPayload):
                await operator.replay_edited(dead, wrong)
        edited = json.dumps({**PAID, "amountCents": 987_654_321}).encode()

        new = await operator.replay_edited(dead, edited, reason="rounding")

        await operator.catch_up()
        (old,) = (await operator.jobs(f"id:{dead}")).rows
        (created,) = (await operator.jobs(f"id:{new}")).rows
        assert old.state is JobState.DISMISSED
        assert (created.state, created.trigger, created.parent_id) == ("pending", "manualReplay", dead)
        assert (await operator.reveal(new)).text == edited
        (entry,) = (await operator.audit_log("action:edit")).entries
        assert entry.outcome is not None
        assert entry.outcome.detail == {"job": new}
        assert "987654321" not in str(entry)  # a shorter number is a part of many a time or id


async def test_an_edited_job_is_admitted_to_its_key(nats_server: NatsServer, tmp_path: Path) -> None:
    async with (
        OrdersService.connect(nats_server.url) as orders,
        operating(nats_server.url, tmp_path, contract=OrdersService) as operator,
    ):
        (dead,) = await store_jobs(
            orders.jobs.runtime.connection,
            1,
            service="orders-service",
            queue="sync-tickets",
            created={"payload": {"origin": "acme"}},
        )

        new = await operator.replay_edited(dead, b'{"origin": "hooli"}')

        key = await operator.keys.show("sync-tickets", "zendesk:hooli:tickets")
        assert [waiting.job_id for waiting in key.waiting] == [new]


async def test_a_stale_job_is_created_again(nats_server: NatsServer, tmp_path: Path) -> None:
    async with (
        OrdersService.connect(nats_server.url) as orders,
        operating(nats_server.url, tmp_path, contract=OrdersService) as operator,
        operating(nats_server.url, tmp_path) as without,
    ):
        (stale,) = await store_jobs(
            orders.jobs.runtime.connection,
            1,
            "stale",
            service="orders-service",
            queue="sync-tickets",
            created={"payload": {"origin": "acme"}},
        )
        with pytest.raises(ConfigurationError, match="name a generated package"):
            await without.recreate(stale)
        with pytest.raises(ActionRefused, match="trellis jobs recreate"):
            await operator.retry(stale)

        new = await operator.recreate(stale, reason="still wanted")

        await operator.catch_up()
        (created,) = (await operator.jobs(f"id:{new}")).rows
        assert (created.state, created.trigger, created.parent_id) == ("pending", "manualReplay", stale)
        key = await operator.keys.show("sync-tickets", "zendesk:acme:tickets")
        assert [waiting.job_id for waiting in key.waiting] == [new]
        (entry,) = (await operator.audit_log("action:recreate")).entries
        assert entry.outcome is not None
        assert entry.outcome.detail == {"job": new}
        assert (await operator.reveal(new)).text == b'{"origin": "acme"}'
        with pytest.raises(ActionRefused, match=f"had created job {new} instead of it"):
            await operator.recreate(stale)


async def test_without_its_contract_no_edited_payload_is_accepted(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    async with Shop.connect(nats_server.url) as shop, operating(nats_server.url, tmp_path) as operator:
        (dead,) = await store_jobs(shop.jobs.runtime.connection, 1)

        with pytest.raises(ConfigurationError, match="name a generated package"):
            await operator.replay_edited(dead, b"{}")


async def test_a_contract_hides_what_it_does_not_declare(nats_server: NatsServer, tmp_path: Path) -> None:
    async with (
        OrdersService.connect(nats_server.url) as orders,
        operating(nats_server.url, tmp_path, contract=OrdersService) as operator,
    ):
        dead = await dead_payment(orders, {**PAID, "card": "4111", "amountCents": 2**60 + 1})

        revealed = await operator.reveal(dead)

        assert b"4111" not in revealed.text
        assert b"%d" % (2**60 + 1) in revealed.text
        assert revealed.hidden == ("/card",)


async def test_a_dry_run_and_a_replay_leave_out_what_the_contract_refuses(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    async with (
        OrdersService.connect(nats_server.url) as orders,
        operating(nats_server.url, tmp_path, contract=OrdersService) as operator,
    ):
        good = [await dead_payment(orders, PAID) for _ in range(3)]
        bad = [await dead_payment(orders, {"orderId": "o-1", "customerId": "c-1"}) for _ in range(2)]
        plan = await operator.bulk.plan("replay", "queue:charge-payment")
        (refusal,) = plan.dry_run.reasons
        assert (plan.count, plan.dry_run.accepted, plan.dry_run.refused) == (5, 3, 2)
        assert "amountCents" in refusal.reason
        assert set(refusal.examples) == set(bad)

        bulk = await operator.bulk.start(plan, confirm=5, begin_with=None, rate=None)
        async with operating(nats_server.url, tmp_path) as without:
            with pytest.raises(
                BulkProblem, match=r"checks payloads against contract \w{8}, which is not known"
            ):
                await without.bulk.run(bulk.id)
        done = await operator.bulk.run(bulk.id)

        assert (done.sent, done.refused, done.changed) == (3, 2, 0)
        actions = await actions_of(orders.jobs.runtime.connection)
        assert {job_id for job_id, _ in actions} == set(good)
