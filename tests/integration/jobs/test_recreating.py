"""A stale job is created again: one new job with the same payload, however many ask for it."""

from __future__ import annotations

import asyncio
import json
from typing import Final

import pytest
from trellis_nats import ActionRefused, JobNotEnqueued, JobRef, JobState
from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats._nats.jetstream.streams import count_by_subject, get_last_message
from trellis_nats._versions import DIGEST_HEADER
from trellis_nats.ids import new_id
from trellis_nats.jobs.actions.job_actions import job_actions
from trellis_nats.jobs.actions.replacement import replacements
from trellis_nats.jobs.model.admin_action import AdminAction
from trellis_nats.jobs.model.states import EventType
from trellis_nats.testing import NatsServer

from tests.support.foreign_events import foreign_body, publish_foreign
from tests.support.inspection import inspect_queue
from tests.support.shop import Parcel, Receipt, Shop

ANNA: Final = AdminAction(actor="anna", reason="it is still wanted")
PREFIX: Final = "trellis.jobs.shop.ship"
TEXT: Final = '{ "number": 1, "note": 9007199254740993.10 }'


async def store_stale(shop: Shop) -> JobRef[Parcel, Receipt]:
    """Store a job whose worker died, and whose slot another job took."""
    ref = await shop.jobs.ship.create(Parcel(number=1))
    for kind in (EventType.STARTED, EventType.STALE):
        await publish_foreign(shop, kind, ref.id, queue="ship")
    assert await ref.release_key()
    return ref


async def created_jobs(shop: Shop) -> int:
    return len(await count_by_subject(shop.jobs.runtime.connection, "JOBS", f"{PREFIX}.*.created"))


async def test_a_stale_job_is_created_again_once(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        stale = await store_stale(shop)
        new = await stale.recreate(reason="it is still wanted", actor="anna", request_id="r")

        snapshot = await new.get()
        assert (snapshot.state, snapshot.payload, snapshot.tries) == (JobState.PENDING, Parcel(number=1), 0)
        assert (await stale.recreate(request_id="r")).id == new.id, "a repetition continues"
        with pytest.raises(ActionRefused, match=f"another request had created job {new.id} instead of it"):
            await stale.recreate()
        assert (await stale.get()).state is JobState.STALE
        assert await created_jobs(shop) == 2
        stored = await inspect_queue(shop.jobs.ship).event_log.newest_of(new.id, "created")
        assert stored is not None
        assert stored.event.trigger == {"kind": "manualReplay", "id": stale.id, "requestId": "r"}
        assert stored.event.lineage == {"parentJobId": stale.id, "rootJobId": stale.id}
        with pytest.raises(JobNotEnqueued):
            await shop.jobs.ship.create(Parcel(number=1))  # the new job has the only entry of the key


async def test_the_stored_payload_is_kept_byte_for_byte_and_keeps_its_key(nats_server: NatsServer) -> None:
    """By the template of this version, the payload of another one may have another key, or none."""
    async with Shop.connect(nats_server.url) as shop:
        ref = await shop.jobs.ship.create(Parcel(number=7))
        first = await inspect_queue(shop.jobs.ship).event_log.newest_of(ref.id, "created")
        assert first is not None
        job_id, connection = new_id(), shop.jobs.runtime.connection
        body = foreign_body(EventType.CREATED, job_id, {"concurrency": first.event.concurrency}, queue="ship")
        text = json.dumps(body).replace('{"number": 1}', TEXT)
        await publish_acked(
            connection, f"{PREFIX}.{job_id}.created", text.encode(), headers={DIGEST_HEADER: "o" * 43}
        )
        for kind in (EventType.STARTED, EventType.STALE):
            await publish_foreign(shop, kind, job_id, queue="ship")

        with pytest.raises(JobNotEnqueued, match='key "7"'):
            await shop.jobs.ship.ref(job_id).recreate()
        await ref.cancel()
        new = await shop.jobs.ship.ref(job_id).recreate()

        stored = await inspect_queue(shop.jobs.ship).event_log.newest_of(new.id, "created")
        message = await get_last_message(connection, "JOBS", f"{PREFIX}.{new.id}.created")
        assert stored is not None
        assert message is not None
        assert TEXT.encode() in message.data
        assert stored.digest == "o" * 43, "its writer's upcasters still apply"
        assert isinstance(stored.event.concurrency, dict)
        assert stored.event.concurrency["key"] == "7"


async def test_of_many_requests_at_once_one_wins(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop, Shop.connect(nats_server.url) as other:
        stale = await store_stale(shop)
        said = await asyncio.gather(
            *(each.jobs.ship.ref(stale.id).recreate() for each in (shop, other, shop)), return_exceptions=True
        )
        assert sum(isinstance(answer, JobRef) for answer in said) == 1, said
        assert await created_jobs(shop) == 2


async def test_only_a_stale_job_is_created_again(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        remedies = {
            EventType.DEAD: "replay it",
            EventType.FAILED: "retry it",
            EventType.COMPLETED: "only one",
        }
        for number, (kind, remedy) in enumerate(remedies.items()):
            ref = await shop.jobs.ship.create(Parcel(number=number))
            for each in (EventType.STARTED, kind):
                await publish_foreign(shop, each, ref.id, queue="ship")
            with pytest.raises(ActionRefused, match=f"was not created again: .*{remedy}"):
                await ref.recreate()
        assert await created_jobs(shop) == len(remedies)


async def test_an_action_that_a_stale_job_refuses_names_the_one_that_helps(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        stale, actions = await store_stale(shop), job_actions(shop.jobs.runtime.connection, PREFIX)
        for act in (stale.retry(), actions.retry(stale.id, ANNA), actions.replay(stale.id, ANNA)):
            with pytest.raises(
                ActionRefused, match=r"create a new job with its payload, .*`ref.recreate\(\)`"
            ):
                await act


async def test_it_needs_the_contract_of_its_key_and_what_its_caller_saw(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        stale, without = await store_stale(shop), replacements(shop.jobs.runtime.connection, PREFIX)
        with pytest.raises(ActionRefused, match="a program that has the contract") as refused:
            await without.recreate(stale.id, ANNA, request_id="r")
        assert refused.value.why == "key"
        with pytest.raises(ActionRefused, match="after it was looked at"):
            await without.recreate(stale.id, ANNA, request_id="r", seen=1)
        assert await created_jobs(shop) == 1
