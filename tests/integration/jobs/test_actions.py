"""What an operator does to one job: every action in every state, and what is stored of it."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from pydantic import JsonValue
from trellis_nats import ActionRefused, ConfigurationError, JobNotFound, JobState, MalformedJobEvent
from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats._nats.jetstream.streams import StoredMessage, get_last_message, purge_stream
from trellis_nats.clock import timestamp
from trellis_nats.ids import new_id
from trellis_nats.jobs.actions.job_actions import ActionDone, JobActions, job_actions
from trellis_nats.jobs.model.admin_action import AdminAction
from trellis_nats.jobs.model.event import StoredEvent
from trellis_nats.jobs.model.raw_members import raw_members
from trellis_nats.jobs.model.states import EventType
from trellis_nats.jobs.store.event_log import EventLog
from trellis_nats.testing import NatsServer

from tests.support.foreign_events import foreign_body, publish_foreign
from tests.support.shop import ParcelJob, Receipt, Shop
from tests.support.versions import VERSIONS, binary_of

SOON: Final = timedelta(seconds=20)
ANNA: Final = AdminAction(actor="anna", reason="the printer works again", source="console", bulk_id="b-1")

HISTORIES: Final = {
    JobState.PENDING: "created",
    JobState.ACTIVE: "created started progress",
    JobState.RETRY: "created started retry",
    JobState.COMPLETED: "created started completed",
    JobState.FAILED: "created started failed",
    JobState.CANCELLED: "created cancelled",
    JobState.EXPIRED: "created expired",
    JobState.SKIPPED: "created skipped",
    JobState.STALE: "created started stale",
    JobState.DEAD: "created started retry started dead",
    JobState.DISMISSED: "created started dead dismissed",
}
POSSIBLE: Final = {
    "cancel": {JobState.PENDING, JobState.ACTIVE, JobState.RETRY},
    "retry": {JobState.FAILED},
    "replay": {JobState.DEAD},
    "dismiss": {JobState.DEAD},
}
AFTER: Final = {
    "cancel": (EventType.CANCELLED, JobState.CANCELLED),
    "retry": (EventType.RETRIED, JobState.PENDING),
    "replay": (EventType.RETRIED, JobState.PENDING),
    "dismiss": (EventType.DISMISSED, JobState.DISMISSED),
}


async def store(shop: Shop, kinds: str) -> str:
    job_id = new_id()
    for kind in kinds.split():
        await publish_foreign(shop, EventType(kind), job_id)
    return job_id


def actions_of(shop: Shop, queue: str = "pack") -> JobActions:
    return job_actions(shop.jobs.runtime.connection, f"trellis.jobs.shop.{queue}")


async def act(
    actions: JobActions, action: str, job_id: str, by: AdminAction = ANNA, seen: int | None = None
) -> ActionDone:
    match action:
        case "cancel":
            return await actions.cancel(job_id, by, seen=seen)
        case "retry":
            return await actions.retry(job_id, by, seen=seen)
        case "replay":
            return await actions.replay(job_id, by, seen=seen)
        case _:
            return await actions.dismiss(job_id, by, seen=seen)


async def newest(shop: Shop, job_id: str, event: str = ">", queue: str = "pack") -> StoredMessage:
    found = await get_last_message(
        shop.jobs.runtime.connection, "JOBS", f"trellis.jobs.shop.{queue}.{job_id}.{event}"
    )
    assert found is not None
    return found


@pytest.mark.parametrize("action", POSSIBLE)
async def test_each_action_in_each_state(nats_server: NatsServer, action: str) -> None:
    async with Shop.connect(nats_server.url) as shop:
        for state in HISTORIES:
            if state in POSSIBLE[action]:
                await assert_done(shop, action, state)
            else:
                await assert_refused(shop, action, state)


async def assert_done(shop: Shop, action: str, state: JobState) -> None:
    job_id = await store(shop, HISTORIES[state])
    done = await act(actions_of(shop), action, job_id)

    event, after = AFTER[action]
    assert (done.job_id, done.event, done.previous, done.state) == (job_id, event, state, after)
    assert done.sequence == (await newest(shop, job_id, event)).sequence
    assert (await shop.jobs.pack.ref(job_id).get()).state is after


async def assert_refused(shop: Shop, action: str, state: JobState) -> None:
    job_id = await store(shop, HISTORIES[state])
    before = await newest(shop, job_id)
    with pytest.raises(ActionRefused, match=r"was not \w+: .* earlier \(20") as refused:
        await act(actions_of(shop), action, job_id)

    error = refused.value
    assert (error.why, error.state, error.job_id, error.action) == ("state", state, job_id, action)
    assert (error.event, error.sequence <= before.sequence) == (
        HISTORIES[state].replace(" progress", "").split()[-1],
        True,
    )
    assert (await newest(shop, job_id)).sequence == before.sequence, "nothing was stored"


@pytest.mark.parametrize(
    ("action", "state", "said"),
    [
        ("cancel", JobState.COMPLETED, r"was not cancelled: it had completed \d\.\d s earlier"),
        ("retry", JobState.DEAD, "its last attempt had failed .*; replay it"),
        ("replay", JobState.FAILED, "it had failed .*; retry it"),
        ("dismiss", JobState.FAILED, "other runtimes do not dismiss failed jobs"),
        ("replay", JobState.COMPLETED, "a job in state completed cannot be replayed, only one in state dead"),
    ],
)
async def test_a_refusal_says_what_happened(
    nats_server: NatsServer, action: str, state: JobState, said: str
) -> None:
    async with Shop.connect(nats_server.url) as shop:
        job_id = await store(shop, HISTORIES[state])
        with pytest.raises(ActionRefused, match=said):
            await act(actions_of(shop), action, job_id)


async def test_what_a_replay_stores(nats_server: NatsServer) -> None:
    payload = b'{ "number": 12345678901234567890, "b": 1.10, "a": 1e400, "note": "\\ud800" }'
    deadline = timestamp(datetime.now(UTC) + timedelta(hours=1))
    fields: dict[str, JsonValue] = {
        "deadline": deadline,
        "lineage": {"parentJobId": "p", "rootJobId": "r", "relatedKeys": ["k"]},
        "trigger": {"kind": "parentJob", "parentJobId": "p"},
        "concurrency": {"key": "a", "keyHash": "0" * 64, "slotToken": "t"},
        "maxTries": 7,
    }
    async with Shop.connect(nats_server.url) as shop:
        job_id = new_id()
        body = foreign_body(EventType.CREATED, job_id, fields) | {"payload": "@"}
        text = json.dumps(body).encode().replace(b'"@"', payload)
        await publish_acked(
            shop.jobs.runtime.connection,
            f"trellis.jobs.shop.pack.{job_id}.created",
            text,
            headers={"trellis-contract-digest": "w" * 43},
        )
        for kind in (EventType.STARTED, EventType.DEAD):
            await publish_foreign(shop, kind, job_id)
        await actions_of(shop).replay(job_id, ANNA)

        stored = await newest(shop, job_id, "retried")
        members = raw_members(stored.data)
        assert members.pop("payload") == payload
        event = json.loads(stored.data) | {"payload": None}
        assert event.pop("timestamp") <= timestamp(datetime.now(UTC))
        assert event == {
            "jobId": job_id,
            "service": "shop",
            "jobType": "pack",
            "eventType": "retried",
            "state": "pending",
            "previousState": "dead",
            "tries": 0,
            "maxTries": 7,
            "context": body["context"],
            "payload": None,
            "deadline": deadline,
            "trigger": {"kind": "manualReplay"},
            "lineage": fields["lineage"],
            "concurrency": {"key": "a", "keyHash": "0" * 64},
            "adminAction": {
                "reason": "the printer works again",
                "actor": "anna",
                "bulkId": "b-1",
                "source": "console",
            },
        }
        assert stored.headers["trellis-contract-digest"] == "w" * 43
        assert stored.headers["request-id"] == event["context"]["requestId"]


async def test_what_the_other_actions_store(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        actions = actions_of(shop)
        job_id = await store(shop, HISTORIES[JobState.FAILED])
        await actions.retry(job_id, AdminAction())
        retried = json.loads((await newest(shop, job_id)).data)
        assert "trigger" not in retried
        assert "adminAction" not in retried
        assert retried["previousState"] == "failed"

        await actions.cancel(job_id, AdminAction(actor="anna"))
        cancelled = json.loads((await newest(shop, job_id)).data)
        assert (cancelled["error"], cancelled["previousState"]) == ("cancelled", "pending")
        assert cancelled["adminAction"] == {"actor": "anna"}

        dead = new_id()
        for kind in (EventType.CREATED, EventType.STARTED):
            await publish_foreign(shop, kind, dead)
        await publish_foreign(shop, EventType.DEAD, dead, {"error": "no paper", "tries": 3})
        await actions.dismiss(dead, AdminAction())
        dismissed = json.loads((await newest(shop, dead)).data)
        assert (dismissed["error"], dismissed["tries"], dismissed["previousState"]) == ("no paper", 3, "dead")


async def test_a_job_that_changed_after_it_was_seen_is_left_alone(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        actions, job_id = actions_of(shop), await store(shop, HISTORIES[JobState.DEAD])
        seen = (await newest(shop, job_id)).sequence
        await actions.replay(job_id, ANNA, seen=seen)
        for kind in (EventType.STARTED, EventType.DEAD):
            await publish_foreign(shop, kind, job_id)
        dead_again = (await newest(shop, job_id)).sequence

        for action in ("replay", "dismiss"):
            with pytest.raises(ActionRefused, match="that was after it was looked at") as refused:
                await act(actions, action, job_id, seen=seen)
            assert (refused.value.why, refused.value.sequence) == ("changed", dead_again)
        await actions.dismiss(job_id, ANNA, seen=dead_again)


@pytest.mark.parametrize("report", [EventType.PROGRESS, EventType.LOGGED, EventType.STALE_COMPLETION_IGNORED])
async def test_a_report_is_not_a_change(nats_server: NatsServer, report: EventType) -> None:
    async with Shop.connect(nats_server.url) as shop:
        job_id = await store(shop, "created started")
        seen = (await newest(shop, job_id)).sequence
        await publish_foreign(shop, report, job_id)
        assert (await actions_of(shop).cancel(job_id, ANNA, seen=seen)).previous is JobState.ACTIVE


async def test_a_sequence_of_the_whole_stream_is_one_that_was_seen(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        job_id, other = await store(shop, HISTORIES[JobState.DEAD]), await store(shop, "created")
        at = (await newest(shop, other)).sequence
        assert (await actions_of(shop).replay(job_id, ANNA, seen=at)).state is JobState.PENDING


async def test_a_replica_that_lags_behind_what_was_seen_is_not_believed(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Shop.connect(nats_server.url) as shop:
        actions, job_id = actions_of(shop), await store(shop, HISTORIES[JobState.DEAD])
        seen = (await newest(shop, job_id)).sequence
        newest_of = EventLog.newest_of

        async def lagging(self: EventLog, job_id: str) -> StoredEvent | None:
            return await newest_of(self, job_id, EventType.STARTED)

        monkeypatch.setattr(EventLog, "newest", lagging)
        monkeypatch.setattr(EventLog, "is_replicated", True)
        assert (await actions.replay(job_id, ANNA, seen=seen)).previous is JobState.DEAD


async def test_an_unfenced_event_behind_the_end_changes_nothing(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        job_id = await store(shop, HISTORIES[JobState.DEAD])
        seen = (await newest(shop, job_id)).sequence
        await publish_foreign(shop, EventType.STARTED, job_id)
        with pytest.raises(ActionRefused, match="its last attempt had failed"):
            await actions_of(shop).cancel(job_id, ANNA)
        assert (await actions_of(shop).replay(job_id, ANNA, seen=seen)).previous is JobState.DEAD


async def test_a_deadline_that_has_passed_is_a_refusal_and_a_new_one_is_possible(
    nats_server: NatsServer,
) -> None:
    async with Shop.connect(nats_server.url) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            return Receipt(total=1)

        actions, job_id = actions_of(shop), new_id()
        await publish_foreign(shop, EventType.CREATED, job_id, {"deadline": "2026-01-01T00:00:00.000Z"})
        for kind in (EventType.STARTED, EventType.DEAD):
            await publish_foreign(shop, kind, job_id)
        before = (await newest(shop, job_id)).sequence
        with pytest.raises(
            ActionRefused, match=r"its deadline 2026-01-01T00:00:00\.000Z has passed"
        ) as refused:
            await actions.replay(job_id, ANNA)
        assert refused.value.why == "deadline"
        with pytest.raises(ConfigurationError, match="has passed"):
            await actions.replay(job_id, ANNA, deadline=timedelta(0))
        with pytest.raises(ConfigurationError, match="no time zone"):
            await actions.replay(job_id, ANNA, deadline=datetime(2100, 1, 1))  # noqa: DTZ001 - what is refused
        assert (await newest(shop, job_id)).sequence == before

        await actions.replay(job_id, ANNA, deadline=timedelta(hours=1))
        await shop.jobs.start_workers()
        ref = shop.jobs.pack.ref(job_id)
        assert await ref.result(timeout=SOON) == Receipt(total=1)
        deadline = (await ref.get()).deadline
        assert deadline is not None
        assert deadline > datetime.now(UTC)


async def test_a_job_whose_history_was_purged(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        actions, connection = actions_of(shop), shop.jobs.runtime.connection
        without_payload, gone = (
            await store(shop, HISTORIES[JobState.DEAD]),
            await store(shop, HISTORIES[JobState.DEAD]),
        )
        await purge_stream(connection, "JOBS", f"trellis.jobs.shop.pack.{without_payload}.created")
        seen = (await newest(shop, gone)).sequence
        await purge_stream(connection, "JOBS", f"trellis.jobs.shop.pack.{gone}.>")

        with pytest.raises(ActionRefused, match="its payload is not stored any longer") as refused:
            await actions.replay(without_payload, ANNA)
        assert refused.value.why == "payload"
        await actions.dismiss(without_payload, ANNA)
        for action in POSSIBLE:
            with pytest.raises(JobNotFound, match="purged"):
                await act(actions, action, gone, seen=seen)
        with pytest.raises(JobNotFound):
            await actions.cancel(new_id(), ANNA)


async def test_a_job_that_cannot_be_read_is_left_alone(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        job_id = await store(shop, HISTORIES[JobState.DEAD])
        await publish_acked(
            shop.jobs.runtime.connection, f"trellis.jobs.shop.pack.{job_id}.dead", b"{", headers={}
        )
        for action in POSSIBLE:
            with pytest.raises(MalformedJobEvent, match=job_id):
                await act(actions_of(shop), action, job_id)
        with pytest.raises(ConfigurationError, match="job id"):
            await actions_of(shop).cancel("*", ANNA)
        with pytest.raises(ConfigurationError, match="reason: a text is expected"):
            AdminAction(reason=7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def test_of_many_operators_at_once_one_wins(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop, Shop.connect(nats_server.url) as other:
        job_ids = [await store(shop, HISTORIES[JobState.DEAD]) for _ in range(20)]

        async def try_it(actions: JobActions, action: str, job_id: str) -> str | None:
            try:
                await act(actions, action, job_id)
            except ActionRefused as refused:
                return refused.event
            return None

        for job_id in job_ids:
            said = await asyncio.gather(
                *(
                    try_it(actions_of(each), action, job_id)
                    for each in (shop, other)
                    for action in ("replay", "dismiss", "replay")
                )
            )
            assert said.count(None) == 1, said
            last = (await newest(shop, job_id)).subject.rpartition(".")[2]
            assert set(said) == {None, last}, "those who lost are told what happened"


async def test_an_action_on_a_server_without_a_fence() -> None:
    binary = binary_of(next(version for version in VERSIONS if version.startswith("2.10")))
    if not binary.exists():
        pytest.skip("nats-server 2.10 is not installed: `make test` does that")
    with NatsServer(binary=binary) as server:
        async with Shop.connect(server.url) as shop:
            for action, (event, state) in AFTER.items():
                start = next(iter(POSSIBLE[action]))
                job_id = await store(shop, HISTORIES[start])
                done = await act(actions_of(shop), action, job_id)
                assert (done.event, done.state) == (event, state)
                if action != "retry":
                    with pytest.raises(ActionRefused):
                        await act(actions_of(shop), action, job_id)
