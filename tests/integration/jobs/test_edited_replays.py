"""A dead job that is replayed with another payload: one new job, whatever fails on the way, and however many ask for it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

import pytest
from pydantic import JsonValue
from trellis_nats import ActionRefused, JobNotEnqueued, JobState, RequestTimeout
from trellis_nats._nats.jetstream.streams import StoredMessage, count_by_subject, get_last_message
from trellis_nats.codec import JsonText, decode_json
from trellis_nats.ids import new_id
from trellis_nats.jobs.actions.job_actions import JobActions, job_actions
from trellis_nats.jobs.actions.replacement import EditedPayload, Replacements, replacements
from trellis_nats.jobs.model.admin_action import AdminAction
from trellis_nats.jobs.model.event import StoredEvent
from trellis_nats.jobs.model.raw_members import raw_members
from trellis_nats.jobs.model.states import EventType
from trellis_nats.jobs.queue import setup_of
from trellis_nats.testing import NatsServer

from tests.support.foreign_events import publish_foreign
from tests.support.shop import Parcel, ParcelJob, Receipt, Shop

SOON: Final = timedelta(seconds=20)
LINEAGE: Final[JsonValue] = {"parentJobId": "p", "rootJobId": "r"}
ANNA: Final = AdminAction(actor="anna", reason="the number was wrong")
TEXT: Final = b'{ "number": 9007199254740993 }'
EDITED: Final = EditedPayload(JsonText(decode_json(TEXT), TEXT), writer="w" * 43)


def replays_of(shop: Shop, queue: str = "pack") -> Replacements:
    context = setup_of(shop.jobs.ship).context
    return replacements(
        shop.jobs.runtime.connection,
        f"trellis.jobs.shop.{queue}",
        creator=None if context.keys is None or queue == "pack" else context.keys.creator,
    )


async def store_dead(shop: Shop, queue: str = "pack") -> str:
    job_id = new_id()
    for kind in (EventType.CREATED, EventType.STARTED, EventType.DEAD):
        is_first = kind is EventType.CREATED
        await publish_foreign(shop, kind, job_id, {"lineage": LINEAGE} if is_first else {}, queue=queue)
    return job_id


async def newest(shop: Shop, job_id: str) -> StoredMessage:
    found = await get_last_message(shop.jobs.runtime.connection, "JOBS", f"trellis.jobs.shop.*.{job_id}.>")
    assert found is not None
    return found


async def created_jobs(shop: Shop) -> int:
    return len(await count_by_subject(shop.jobs.runtime.connection, "JOBS", "trellis.jobs.shop.*.*.created"))


@asynccontextmanager
async def dying_before_the_dismissal(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[None]:
    """Let a process die after it created the new job: what follows is not sent."""

    async def die(*_: object, **__: object) -> None:
        raise RequestTimeout("the process died")

    with monkeypatch.context() as patched:
        patched.setattr(JobActions, "dismiss", die)
        with pytest.raises(RequestTimeout):
            yield


async def test_a_new_job_runs_and_the_dead_one_names_it(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            return Receipt(total=job.payload.number)

        await shop.jobs.start_workers()
        dead = await store_dead(shop)
        job_id = (await replays_of(shop).replay(dead, EDITED, ANNA, request_id="r-1")).event.job_id

        assert await shop.jobs.pack.ref(job_id).result(timeout=SOON) == Receipt(total=2**53 + 1)
        created = await get_last_message(
            shop.jobs.runtime.connection, "JOBS", f"trellis.jobs.shop.pack.{job_id}.created"
        )
        assert created is not None
        event = json.loads(created.data)
        assert raw_members(created.data)["payload"] == TEXT
        assert created.headers["trellis-contract-digest"] == "w" * 43
        assert event["trigger"] == {"kind": "manualReplay", "id": dead, "requestId": "r-1"}
        assert event["lineage"] == {"parentJobId": dead, "rootJobId": "r"}
        assert (event["maxTries"], event["adminAction"]["actor"]) == (3, "anna")

        snapshot = await shop.jobs.pack.ref(dead).get()
        assert snapshot.state is JobState.DISMISSED
        assert (
            snapshot.last_error
            == f"replaced by job {job_id}, which has an edited payload: the number was wrong"
        )
        admin = json.loads((await newest(shop, dead)).data)["adminAction"]
        assert (admin["replacedBy"], admin["actor"]) == (job_id, "anna")


async def test_a_repetition_returns_the_same_job(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        dead, replays = await store_dead(shop), replays_of(shop)
        first = (await replays.replay(dead, EDITED, ANNA, request_id="r-1")).event.job_id
        assert (await replays.replay(dead, EDITED, ANNA, request_id="r-1")).event.job_id == first
        with pytest.raises(ActionRefused, match=f"job {first} had replaced it, by another request"):
            await replays.replay(dead, EDITED, ANNA, request_id="r-2")
        assert await created_jobs(shop) == 2


async def test_a_repetition_after_a_crash_creates_no_second_job(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Shop.connect(nats_server.url) as shop:
        dead, replays = await store_dead(shop), replays_of(shop)
        async with dying_before_the_dismissal(monkeypatch):
            await replays.replay(dead, EDITED, ANNA, request_id="r-1")
        assert (await shop.jobs.pack.ref(dead).get()).state is JobState.DEAD

        job_id = (await replays.replay(dead, EDITED, ANNA, request_id="r-1")).event.job_id
        assert await created_jobs(shop) == 2
        assert (await shop.jobs.pack.ref(dead).get()).state is JobState.DISMISSED
        assert (await shop.jobs.pack.ref(job_id).get()).state is JobState.PENDING


async def test_another_operator_after_a_crash_creates_no_second_job_and_completes_the_first(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Shop.connect(nats_server.url) as shop:
        dead, replays = await store_dead(shop), replays_of(shop)
        async with dying_before_the_dismissal(monkeypatch):
            await replays.replay(dead, EDITED, ANNA, request_id="r-1")

        with pytest.raises(ActionRefused, match="had replaced it, by another request"):
            await replays.replay(dead, EDITED, AdminAction(actor="bert"), request_id="r-2")
        assert await created_jobs(shop) == 2
        assert (await shop.jobs.pack.ref(dead).get()).state is JobState.DISMISSED


async def test_a_plain_replay_in_between_wins_and_the_edited_job_never_runs(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Shop.connect(nats_server.url) as shop:
        dead, replays = await store_dead(shop), replays_of(shop)
        actions = job_actions(shop.jobs.runtime.connection, "trellis.jobs.shop.pack")
        async with dying_before_the_dismissal(monkeypatch):
            await replays.replay(dead, EDITED, ANNA, request_id="r-1")
        dismiss = JobActions.dismiss

        async def late(self: JobActions, job_id: str, by: AdminAction, *, seen: int | None = None) -> object:
            await actions.replay(dead, AdminAction(actor="bert"))
            return await dismiss(self, job_id, by, seen=seen)

        monkeypatch.setattr(JobActions, "dismiss", late)
        with pytest.raises(ActionRefused, match="it had been sent again") as refused:
            await replays.replay(dead, EDITED, ANNA, request_id="r-1")
        assert refused.value.why == "changed"
        assert (await shop.jobs.pack.ref(dead).get()).state is JobState.PENDING
        jobs = await count_by_subject(
            shop.jobs.runtime.connection, "JOBS", "trellis.jobs.shop.pack.*.cancelled"
        )
        assert len(jobs) == 1


async def test_of_many_edits_at_once_one_wins(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop, Shop.connect(nats_server.url) as other:
        for _ in range(10):
            dead, before = await store_dead(shop), await created_jobs(shop)
            said = await asyncio.gather(
                *(
                    replays_of(each).replay(dead, EDITED, ANNA, request_id=new_id())
                    for each in (shop, other, shop)
                ),
                return_exceptions=True,
            )
            won = [stored.event.job_id for stored in said if isinstance(stored, StoredEvent)]
            assert len(won) == 1, said
            assert all(won[0] in str(lost) for lost in said if isinstance(lost, ActionRefused))
            assert await created_jobs(shop) == before + 1


async def test_a_job_that_died_again_has_another_replacement(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        dead, replays = await store_dead(shop), replays_of(shop)
        seen = (await newest(shop, dead)).sequence
        actions = job_actions(shop.jobs.runtime.connection, "trellis.jobs.shop.pack")
        await actions.replay(dead, ANNA)
        for kind in (EventType.STARTED, EventType.DEAD):
            await publish_foreign(shop, kind, dead)
        with pytest.raises(ActionRefused, match="after it was looked at"):
            await replays.replay(dead, EDITED, ANNA, request_id="r-1", seen=seen)
        await replays.replay(dead, EDITED, ANNA, request_id="r-1")
        assert (await shop.jobs.pack.ref(dead).get()).state is JobState.DISMISSED


@pytest.mark.parametrize("kind", [EventType.COMPLETED, EventType.FAILED, None])
async def test_only_a_dead_job_is_replaced(nats_server: NatsServer, kind: EventType | None) -> None:
    async with Shop.connect(nats_server.url) as shop:
        job_id = new_id()
        for each in (EventType.CREATED, EventType.STARTED, kind):
            if each is not None:
                await publish_foreign(shop, each, job_id)
        with pytest.raises(ActionRefused) as refused:
            await replays_of(shop).replay(job_id, EDITED, ANNA, request_id="r-1")
        assert refused.value.why == "state"
        assert await created_jobs(shop) == 1


async def test_the_new_job_needs_room_under_its_key(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        holder = await shop.jobs.ship.create(Parcel(number=2))
        dead = await shop.jobs.ship.create(Parcel(number=1))
        for kind in (EventType.STARTED, EventType.DEAD):
            await publish_foreign(shop, kind, dead.id, queue="ship")
        edited = EditedPayload(JsonText({"number": 2}, b'{"number":2}'), writer="w" * 43)
        without_contract = replacements(shop.jobs.runtime.connection, "trellis.jobs.shop.ship")
        with pytest.raises(ActionRefused, match="its queue has a concurrency key") as refused:
            await without_contract.replay(dead.id, edited, ANNA, request_id="r-1")
        assert refused.value.why == "key"
        with pytest.raises(JobNotEnqueued):
            await replays_of(shop, "ship").replay(dead.id, edited, ANNA, request_id="r-1")
        assert (await dead.get()).state is JobState.DEAD, "nothing was stored"

        await holder.cancel()
        created = await replays_of(shop, "ship").replay(dead.id, edited, ANNA, request_id="r-1")
        assert (await shop.jobs.ship.ref(created.event.job_id).get()).raw_payload == {"number": 2}
