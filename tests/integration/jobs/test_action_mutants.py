"""Faults built into the actions on purpose: a trial finds each of them, and the runtime itself passes it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

import pytest
from trellis_nats import ActionRefused, RequestTimeout
from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats._nats.jetstream.streams import StoredMessage, count_by_subject, get_last_message
from trellis_nats.codec import JsonText
from trellis_nats.ids import new_id
from trellis_nats.jobs.actions import job_actions, replacement, seen_job
from trellis_nats.jobs.model import copied_event
from trellis_nats.jobs.model.admin_action import AdminAction
from trellis_nats.jobs.model.raw_members import raw_members
from trellis_nats.jobs.model.states import EventType
from trellis_nats.jobs.store import event_log
from trellis_nats.testing import NatsServer

from tests.support.foreign_events import foreign_body, publish_foreign
from tests.support.shop import Parcel, Shop

BY: Final = AdminAction(actor="anna")
PAYLOAD: Final = b'{"number": 1.10}'
PREFIX: Final = "trellis.jobs.shop.pack"

Trial = Callable[[Shop], Awaitable[bool]]
Mutate = Callable[[pytest.MonkeyPatch], None]

# Any: a mutation passes its arguments on, and so survives changes of the runtime.


async def bury(shop: Shop) -> str:
    job_id = new_id()
    body = json.dumps(foreign_body(EventType.CREATED, job_id) | {"payload": "@"}).encode()
    await publish_acked(
        shop.jobs.runtime.connection,
        f"{PREFIX}.{job_id}.created",
        body.replace(b'"@"', PAYLOAD),
        headers={"trellis-contract-digest": "w" * 43},
    )
    for kind in (EventType.STARTED, EventType.DEAD):
        await publish_foreign(shop, kind, job_id)
    return job_id


async def stored(shop: Shop, subject: str) -> StoredMessage | None:
    return await get_last_message(shop.jobs.runtime.connection, "JOBS", f"{PREFIX}.{subject}")


def actions_of(shop: Shop) -> job_actions.JobActions:
    return job_actions.job_actions(shop.jobs.runtime.connection, PREFIX)


async def two_act_at_once(shop: Shop) -> bool:
    job_id = await bury(shop)
    said = await asyncio.gather(
        actions_of(shop).replay(job_id, BY), actions_of(shop).dismiss(job_id, BY), return_exceptions=True
    )
    return sum(isinstance(one, ActionRefused) for one in said) == 1


async def a_job_died_again(shop: Shop) -> bool:
    job_id = await bury(shop)
    seen = await stored(shop, f"{job_id}.dead")
    await actions_of(shop).replay(job_id, BY)
    for kind in (EventType.STARTED, EventType.DEAD):
        await publish_foreign(shop, kind, job_id)
    try:
        await actions_of(shop).dismiss(job_id, BY, seen=0 if seen is None else seen.sequence)
    except ActionRefused:
        return True
    return False


async def an_event_is_stored_behind_the_end(shop: Shop) -> bool:
    job_id = await bury(shop)
    await publish_foreign(shop, EventType.STARTED, job_id)
    try:
        await actions_of(shop).replay(job_id, BY)
    except ActionRefused:
        return False
    return True


async def a_job_is_replayed(shop: Shop) -> bool:
    job_id = await bury(shop)
    await actions_of(shop).replay(job_id, BY)
    retried = await stored(shop, f"{job_id}.retried")
    return (
        retried is not None
        and raw_members(retried.data)["payload"] == PAYLOAD
        and json.loads(retried.data)["tries"] == 0
        and retried.headers.get("trellis-contract-digest") == "w" * 43
    )


async def a_keyed_job_is_cancelled(shop: Shop) -> bool:
    ref = await shop.jobs.ship.create(Parcel(number=1))
    connection = shop.jobs.runtime.connection
    await job_actions.job_actions(connection, "trellis.jobs.shop.ship").cancel(ref.id, BY)
    record = await get_last_message(connection, "KV_JOBS_KEYS_shop", "$KV.JOBS_KEYS_shop.shop.ship.>")
    return record is not None and json.loads(record.data)["queued"] == []


async def an_edited_replay_is_interrupted(shop: Shop) -> bool:
    """The process dies after it created the new job; then its operator repeats, and another one comes."""
    job_id, connection = await bury(shop), shop.jobs.runtime.connection
    replays = replacement.replacements(connection, PREFIX)
    edited = replacement.EditedPayload(JsonText({"number": 2}, b'{"number":2}'), writer="w" * 43)

    async def die(*_: object, **__: object) -> None:
        raise RequestTimeout("the process died")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job_actions.JobActions, "dismiss", die)
        with pytest.raises(RequestTimeout):
            await replays.replay(job_id, edited, BY, request_id="r")
    is_refused = False
    await replays.replay(job_id, edited, BY, request_id="r")
    try:
        await replays.replay(job_id, edited, BY, request_id="another")
    except ActionRefused:
        is_refused = True
    return is_refused and len(await count_by_subject(connection, "JOBS", f"{PREFIX}.*.created")) == 2


def no_fence(patch: pytest.MonkeyPatch) -> None:
    """Write events without a condition."""
    for name in ("begin_publish", "publish_acked"):
        publish: Any = vars(event_log)[name]

        def mutated(*given: Any, expected_last: object, publish: Any = publish, **others: Any) -> Any:
            del expected_last
            return publish(*given, **others)

        patch.setattr(event_log, name, mutated)


def what_was_seen_is_ignored(patch: pytest.MonkeyPatch) -> None:
    """Act on every job that is in the right state."""
    read = seen_job.SeenJobs.read

    async def mutated(self: Any, job_id: str, seen: int | None) -> Any:
        found = await read(self, job_id, seen)
        return found._replace(decided=found.decided._replace(sequence=0))

    patch.setattr(seen_job.SeenJobs, "read", mutated)


def the_newest_event_decides(patch: pytest.MonkeyPatch) -> None:
    """Believe the newest event, whether or not it counts."""
    patch.setattr(seen_job, "counting_events", list)


def the_payload_is_parsed(patch: pytest.MonkeyPatch) -> None:
    """Write the payload as Python has it."""

    def mutated(data: bytes) -> dict[str, bytes]:
        return {name: json.dumps(value).encode() for name, value in json.loads(data).items()}

    patch.setattr(copied_event, "raw_members", mutated)


def the_writer_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    """Store the payload without the digest of the contract that wrote it."""
    append = event_log.EventLog.append

    async def mutated(self: Any, event: Any, *, after: int, writer: object = None) -> int:
        del writer
        return await append(self, event, after=after)

    patch.setattr(event_log.EventLog, "append", mutated)


def the_key_is_kept(patch: pytest.MonkeyPatch) -> None:
    """Leave a cancelled job in the record of its key."""

    async def mutated(*_: object, **__: object) -> None:
        await asyncio.sleep(0)

    patch.setattr(job_actions, "leave_stored_key", mutated)


def each_request_has_its_own_job(patch: pytest.MonkeyPatch) -> None:
    """Give the new job of an edited replay a new id."""

    def mutated(*_: object) -> str:
        return new_id()

    patch.setattr(replacement, "derive_replacement_id", mutated)


def every_request_is_the_first(patch: pytest.MonkeyPatch) -> None:
    """Take the job of another request for one's own."""

    class EveryRequest:
        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return 0

    def mutated(_: object) -> EveryRequest:
        return EveryRequest()

    patch.setattr(replacement, "_request_of", mutated)


MUTANTS: Final[list[tuple[Mutate, Trial]]] = [
    (no_fence, two_act_at_once),
    (what_was_seen_is_ignored, a_job_died_again),
    (the_newest_event_decides, an_event_is_stored_behind_the_end),
    (the_payload_is_parsed, a_job_is_replayed),
    (the_writer_is_forgotten, a_job_is_replayed),
    (the_key_is_kept, a_keyed_job_is_cancelled),
    (each_request_has_its_own_job, an_edited_replay_is_interrupted),
    (every_request_is_the_first, an_edited_replay_is_interrupted),
]


@pytest.mark.parametrize(("mutate", "trial"), MUTANTS, ids=[mutate.__name__ for mutate, _ in MUTANTS])
async def test_the_mutant_is_found_and_the_runtime_passes(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch, mutate: Mutate, trial: Trial
) -> None:
    async with Shop.connect(nats_server.url) as shop:
        assert await trial(shop), "the runtime itself does not pass"
    with NatsServer() as another:
        async with Shop.connect(another.url) as shop:
            mutate(monkeypatch)
            assert not await trial(shop), "the mutant is not found"
