"""What `create` and `submit` return when a key has no room, and what they store in its record."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import assert_never

import pytest
from pydantic import JsonValue
from trellis_nats import (
    Accepted,
    Coalesced,
    InvalidPayload,
    JobNotEnqueued,
    JobState,
    MalformedKeyRecord,
    PayloadTooLarge,
    Rejected,
    Replaced,
)
from trellis_nats._nats.jetstream.streams import get_stream_info
from trellis_nats.clock import now, timestamp
from trellis_nats.jobs.keys.model.record import QueueEntry
from trellis_nats.testing import NatsServer

from tests.support.ferry import Cargo, Ferry
from tests.support.inspection import inspect_queue
from tests.support.records import bucket_of, holders, key_of, name_of, record_of
from tests.support.shop import Parcel, Shop

ANNA = Cargo(ship="anna")


async def test_a_job_of_a_free_key_is_accepted_and_waits_in_the_record(nats_server: NatsServer) -> None:
    async with Ferry.connect(nats_server.url) as ferry:
        outcome = await ferry.jobs.strict.submit(ANNA)

        assert isinstance(outcome, Accepted)
        assert outcome.key == "anna"
        assert await holders(ferry, ferry.jobs.strict, ANNA) == ([], [outcome.ref.id])


async def test_a_job_beyond_the_limit_is_rejected_and_not_stored(nats_server: NatsServer) -> None:
    async with Ferry.connect(nats_server.url) as ferry:
        first = await ferry.jobs.strict.create(ANNA)

        assert await ferry.jobs.strict.submit(ANNA) == Rejected(
            key="anna", reason="queue-depth", active=0, queued=1, limit=1
        )
        assert (await ferry.jobs.strict.submit(Cargo(ship="berta"))).key == "berta"
        assert await holders(ferry, ferry.jobs.strict, ANNA) == ([], [first.id])
        info = await get_stream_info(ferry.jobs.runtime.connection, "JOBS")
        assert info is not None
        assert stored(info) == 2


@pytest.mark.parametrize("queue", ["strict", "once", "latest"])
async def test_create_is_strict_whatever_the_policy(nats_server: NatsServer, queue: str) -> None:
    async with Ferry.connect(nats_server.url) as ferry:
        chosen = {"strict": ferry.jobs.strict, "once": ferry.jobs.once, "latest": ferry.jobs.latest}[queue]
        places = 1 if queue == "strict" else 2
        refs = [await chosen.create(ANNA) for _ in range(places)]

        with pytest.raises(JobNotEnqueued) as caught:
            await chosen.create(ANNA)

        error = caught.value
        assert (error.reason, error.key, error.active, error.queued) == ("queue-depth", "anna", 0, places)
        assert error.limit == places
        assert error.existing_job_id == refs[0].id
        said = (
            f'key "anna" is full: 0 active, {places} waiting, room for {places} (maxActive 1 + maxQueuedPerKey {places - 1}). '
            "Create the"
        )
        assert str(error).startswith(said)


async def test_coalesce_returns_the_job_that_waits_longest(nats_server: NatsServer) -> None:
    async with Ferry.connect(nats_server.url) as ferry:
        first = await ferry.jobs.once.create(ANNA)
        second = await ferry.jobs.once.create(ANNA)

        outcome = await ferry.jobs.once.submit(ANNA)

        assert isinstance(outcome, Coalesced)
        assert outcome.key == "anna"
        assert outcome.existing.id == first.id
        assert await holders(ferry, ferry.jobs.once, ANNA) == ([], [first.id, second.id])


async def test_replace_oldest_replaces_the_job_that_waits_longest(nats_server: NatsServer) -> None:
    async with Ferry.connect(nats_server.url) as ferry:
        first = await ferry.jobs.latest.create(ANNA)
        second = await ferry.jobs.latest.create(ANNA)

        outcome = await ferry.jobs.latest.submit(Cargo(ship="anna", number=3))

        assert isinstance(outcome, Replaced)
        assert (outcome.replaced.id, outcome.key) == (first.id, "anna")
        skipped = await first.get()
        assert skipped.state is JobState.SKIPPED
        assert skipped.last_error == f"replaced by newer keyed job {outcome.ref.id}"
        assert await holders(ferry, ferry.jobs.latest, ANNA) == ([], [second.id, outcome.ref.id])


async def test_every_outcome_can_be_matched(nats_server: NatsServer) -> None:
    async with Ferry.connect(nats_server.url) as ferry:
        said: list[str] = []
        for _ in range(3):
            outcome = await ferry.jobs.latest.submit(ANNA)
            match outcome:
                case Accepted(ref=ref):
                    said.append(f"accepted {ref.queue}")
                case Rejected(reason=reason):
                    said.append(reason)
                case Coalesced(existing=existing):
                    said.append(existing.id)
                case Replaced(replaced=replaced):
                    said.append(f"replaced {replaced.queue}")
                case _:
                    assert_never(outcome)

        assert said == ["accepted latest", "accepted latest", "replaced latest"]


async def test_events_name_the_key_and_the_outcome_of_the_submission(nats_server: NatsServer) -> None:
    async with Ferry.connect(nats_server.url) as ferry, ferry.jobs.follow() as events:
        await ferry.jobs.latest.create(ANNA)
        await ferry.jobs.latest.create(ANNA)
        outcome = await ferry.jobs.latest.submit(ANNA)
        assert isinstance(outcome, Replaced)

        history = inspect_queue(ferry.jobs.latest).event_log
        created = await history.newest_of(outcome.ref.id, "created")

        assert created is not None
        key = key_of(ferry.jobs.latest, ANNA)
        assert created.event.concurrency == {"key": "anna", "keyHash": key.hash}
        assert created.event.queue_policy == {
            "outcome": "replaced",
            "reason": "replace-oldest",
            "replacedJobId": outcome.replaced.id,
        }
        assert [(await anext(events)).event for _ in range(4)] == ["created", "created", "skipped", "created"]


async def test_an_idempotency_key_returns_the_first_job_even_when_the_key_is_full(
    nats_server: NatsServer,
) -> None:
    async with Ferry.connect(nats_server.url) as ferry:
        first = await ferry.jobs.strict.create(ANNA, idempotency_key="one")

        again = await ferry.jobs.strict.create(ANNA, idempotency_key="one")
        outcome = await ferry.jobs.strict.submit(ANNA, idempotency_key="one")

        assert again.id == first.id
        assert isinstance(outcome, Accepted)
        assert outcome.ref.id == first.id
        assert await holders(ferry, ferry.jobs.strict, ANNA) == ([], [first.id])


async def test_many_jobs_are_created_only_if_each_has_room(nats_server: NatsServer) -> None:
    async with Ferry.connect(nats_server.url) as ferry:
        with pytest.raises(JobNotEnqueued):
            await ferry.jobs.strict.create_many([Cargo(ship="anna"), Cargo(ship="berta"), Cargo(ship="anna")])
        assert await holders(ferry, ferry.jobs.strict, ANNA) == ([], [])

        refs = await ferry.jobs.strict.create_many([Cargo(ship="anna"), Cargo(ship="berta")])

        assert await holders(ferry, ferry.jobs.strict, ANNA) == ([], [refs[0].id])


async def test_a_number_that_runtimes_write_differently_is_rejected_before_sending(
    nats_server: NatsServer,
) -> None:
    async with Ferry.connect(nats_server.url) as ferry:
        with pytest.raises(InvalidPayload, match=r"#/number: the concurrency key accepts only integers"):
            await ferry.jobs.numbered.create(Cargo(ship="anna", number=2**53))


async def test_an_unreadable_record_is_named_in_the_error_and_unchanged(nats_server: NatsServer) -> None:
    async with Ferry.connect(nats_server.url) as ferry:
        name = name_of(ferry.jobs.strict, ANNA)
        await bucket_of(ferry).put(name, b'{"version": 1, "active": "invalid"}')

        with pytest.raises(
            MalformedKeyRecord, match=f'key "anna": the record "{name}" of bucket "JOBS_KEYS_ferry"'
        ):
            await ferry.jobs.strict.submit(ANNA)

        left = await bucket_of(ferry).get(name)
        assert left is not None
        assert left.value == b'{"version": 1, "active": "invalid"}'


async def test_fifty_submitters_of_one_key_fill_it_exactly(
    nats_server: NatsServer,
) -> None:
    async with Ferry.connect(nats_server.url) as ferry, Ferry.connect(nats_server.url) as other:
        submitters = [(ferry if n % 2 else other).jobs.once.submit(ANNA) for n in range(50)]
        outcomes = await asyncio.gather(*submitters)

        accepted = {outcome.ref.id for outcome in outcomes if isinstance(outcome, Accepted)}
        joined = {outcome.existing.id for outcome in outcomes if isinstance(outcome, Coalesced)}
        _, queued = await holders(ferry, ferry.jobs.once, ANNA)
        assert len(accepted) == 2
        assert set(queued) == accepted
        assert joined <= accepted
        assert sum(isinstance(outcome, Coalesced) for outcome in outcomes) == 48


async def test_a_cancelled_waiting_job_leaves_the_record(nats_server: NatsServer) -> None:
    async with Ferry.connect(nats_server.url) as ferry:
        first = await ferry.jobs.strict.create(ANNA)

        await first.cancel()

        second = await ferry.jobs.strict.create(ANNA)
        assert await holders(ferry, ferry.jobs.strict, ANNA) == ([], [second.id])


async def test_a_reservation_of_a_job_that_was_never_stored_is_evicted(
    nats_server: NatsServer,
) -> None:
    """The process died between its reservation and its `created` event (reference, 10.14)."""
    async with Ferry.connect(nats_server.url) as ferry:
        await reserve(ferry, "01GHOST", age=timedelta(seconds=11))

        ref = await ferry.jobs.strict.create(ANNA)

        assert await holders(ferry, ferry.jobs.strict, ANNA) == ([], [ref.id])


async def test_a_recent_reservation_is_kept(nats_server: NatsServer) -> None:
    async with Ferry.connect(nats_server.url) as ferry:
        await reserve(ferry, "01COMING", age=timedelta(seconds=1))

        with pytest.raises(JobNotEnqueued):
            await ferry.jobs.strict.create(ANNA)


async def reserve(ferry: Ferry, job_id: str, *, age: timedelta) -> None:
    """Put an entry into the record, as a creator does that dies after its reservation."""
    queue = ferry.jobs.strict
    ref = await queue.create(ANNA)
    await ref.cancel()
    record = await record_of(ferry, queue, ANNA)
    entry = QueueEntry(job_id=job_id, created_at=timestamp(now() - age), request_id="r", context=None)
    changed = type(record)(
        service=record.service,
        queue=record.queue,
        display=record.display,
        hash=record.hash,
        max_active=1,
        max_queued=0,
        queued=(entry,),
        updated_at=record.updated_at,
    )
    await bucket_of(ferry).put(name_of(queue, ANNA), changed.encode())


async def test_a_queue_without_a_key_does_not_use_the_bucket(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        for number in range(10):
            await shop.jobs.pack.create(Parcel(number=number))

        info = await get_stream_info(shop.jobs.runtime.connection, "KV_JOBS_KEYS_shop")
        assert info is not None
        assert stored(info) == 0


async def test_a_job_that_is_too_large_gets_no_entry_and_displaces_no_job() -> None:
    large = Cargo(ship="anna", note="x" * 65_000)
    with NatsServer(config="max_payload: 64KB") as server:
        async with Ferry.connect(server.url) as ferry:
            waiting = [await ferry.jobs.latest.create(ANNA) for _ in range(2)]

            with pytest.raises(PayloadTooLarge):
                await ferry.jobs.latest.submit(large)
            with pytest.raises(PayloadTooLarge):
                await ferry.jobs.latest.create_many([Cargo(ship="berta"), large])

            assert await holders(ferry, ferry.jobs.latest, ANNA) == ([], [ref.id for ref in waiting])
            assert await bucket_of(ferry).get(name_of(ferry.jobs.latest, Cargo(ship="berta"))) is None


async def test_thirty_submitters_that_replace_each_other_fill_the_key_exactly(
    nats_server: NatsServer,
) -> None:
    """Each may displace a job that has a reservation and is not stored yet."""
    async with Ferry.connect(nats_server.url) as ferry:
        outcomes = await asyncio.gather(*(ferry.jobs.latest.submit(ANNA) for _ in range(30)))

        refs = [each.ref for each in outcomes if isinstance(each, Accepted | Replaced)]
        states = [(await ref.get()).state for ref in refs]
        _, queued = await holders(ferry, ferry.jobs.latest, ANNA)
        assert len(refs) == 30
        assert states.count(JobState.PENDING) == len(queued) == 2
        assert states.count(JobState.SKIPPED) == 28


def stored(info: Mapping[str, JsonValue]) -> JsonValue:
    state = info["state"]
    assert isinstance(state, dict)
    return state["messages"]
