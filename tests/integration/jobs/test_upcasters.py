"""Jobs that an earlier version of the contract created run in workers of this version, through an upcaster."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import JsonValue
from trellis_nats import (
    ActiveJob,
    HandlerConflict,
    InvalidPayload,
    JobFailed,
    JobRef,
    JobState,
    JsonObject,
    Options,
    UpcastFailed,
)
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats._support.log_events import LogEvent
from trellis_nats.jobs.model.states import EventType
from trellis_nats.testing import LogSignals, NatsServer, service_under_test

from tests.support.delays import count_messages, narrow_consumer
from tests.support.eventually import eventually
from tests.support.foreign_events import foreign_body
from tests.support.generated import generated
from tests.support.inspection import inspect_queue
from tests.support.renamed_versions import (
    NEW,
    OLD,
    NewNote,
    NewNoteJob,
    NewService,
    NewTask,
    NewTaskJob,
    OldNote,
    OldNoteJob,
    OldService,
    OldTask,
    OldTaskJob,
    from_owner,
    from_text,
)
from tests.support.versions import VERSIONS, binary_of
from tests.unit.codegen.contracts import contract, job

SOON = timedelta(seconds=30)
HEADER = "trellis-contract-digest"


@asynccontextmanager
async def old_worker(url: str) -> AsyncGenerator[OldService]:
    async with OldService.connect(url) as service:

        @service.jobs.notes.handle
        async def note(job: OldNoteJob) -> str:
            return f"old {job.tries} {job.payload.text}"

        @service.jobs.tasks.handle
        async def task(job: OldTaskJob) -> str:
            return f"old {job.tries} {job.payload.owner}"

        await service.start()
        yield service


def register(service: NewService) -> None:
    """Register the upcasters and handlers of the new version. A handler fails once for each note or task "again"."""
    failed = set[str]()
    service.jobs.notes.upcast(from_text, from_digest=OLD.digest)
    service.jobs.tasks.upcast(from_owner, from_digest=OLD.digest)

    @service.jobs.notes.handle
    async def note(job: NewNoteJob) -> str:
        if job.payload.body == "again" and job.id not in failed:
            failed.add(job.id)
            raise RuntimeError("again")
        return f"new {job.tries} {job.payload.body}"

    @service.jobs.tasks.handle
    async def task(job: NewTaskJob) -> str:
        return f"new {job.tries} {job.payload.assigned_to} under {job.key}"


@asynccontextmanager
async def new_worker(url: str, options: Options | None = None) -> AsyncGenerator[NewService]:
    async with NewService.connect(url, options=options) as service:
        register(service)
        await service.start()
        yield service


async def store_foreign(
    connection: Connection,
    payload: JsonValue,
    *,
    job_id: str,
    headers: dict[str, str],
    event: EventType,
    queue: str = "notes",
) -> None:
    """Store the event that opens a job, as another writer does."""
    body = foreign_body(event, job_id, {"service": "notes", "payload": payload}, queue=queue)
    subject = f"trellis.jobs.notes.{queue}.{job_id}.{event}"
    await publish_acked(connection, subject, json.dumps(body).encode(), headers=headers, timeout=SOON)


@pytest.mark.parametrize("server_version", [None, *VERSIONS])
async def test_a_renamed_member_arrives_although_the_new_schema_allows_the_old_payload(
    server_version: str | None,
) -> None:
    binary = None if server_version is None else binary_of(server_version)
    async with NatsServer(binary=binary) as server, OldService.connect(server.url) as producer:
        ref = await producer.jobs.notes.create(OldNote(text="hello"))
        with LogSignals(level=logging.DEBUG) as signals:
            async with new_worker(server.url) as worker:
                assert await ref.result(timeout=SOON) == "new 1 hello"
                snapshot = await worker.jobs.notes.ref(ref.id).get()
        (line,) = signals.of(LogEvent.PAYLOAD_UPCAST, job_id=ref.id)

    assert snapshot.payload == NewNote(body="hello")
    assert snapshot.raw_payload == {"text": "hello"}
    assert line.levelno == logging.DEBUG
    assert "from_text" in line.getMessage()
    assert OLD.digest in line.getMessage()


async def test_a_retry_is_upcast_again(nats_server: NatsServer) -> None:
    async with OldService.connect(nats_server.url) as producer, new_worker(nats_server.url):
        ref = await producer.jobs.notes.create(OldNote(text="again"))

        assert await ref.result(timeout=SOON) == "new 2 again"


async def test_a_delayed_job_is_upcast_when_it_is_due(nats_server: NatsServer) -> None:
    async with OldService.connect(nats_server.url) as producer, new_worker(nats_server.url):
        ref = await producer.jobs.notes.create(OldNote(text="later"), delay=timedelta(milliseconds=1200))

        assert await ref.result(timeout=SOON) == "new 1 later"


async def test_a_parked_job_is_upcast_when_it_is_due(nats_server: NatsServer) -> None:
    async with OldService.connect(nats_server.url) as producer:
        connection = producer.runtime.connection
        await narrow_consumer(connection, "notes__notes")
        async with new_worker(nats_server.url):
            ref = await producer.jobs.notes.create(OldNote(text="parked"), delay=timedelta(seconds=1.5))
            await eventually(lambda: count_messages(connection, "JOBS_DELAYED"))

            assert await ref.result(timeout=SOON) == "new 1 parked"


async def test_a_keyed_job_keeps_the_key_under_which_it_was_created(nats_server: NatsServer) -> None:
    async with OldService.connect(nats_server.url) as producer:
        refs = [await producer.jobs.tasks.create(OldTask(owner="ann")) for _ in range(3)]
        async with new_worker(nats_server.url) as worker:
            results = await asyncio.gather(*(ref.result(timeout=SOON) for ref in refs))
            keys = inspect_queue(worker.jobs.tasks).keys
            assert keys is not None
            record = await keys.stores.main.read(keys.creator.key_of({"assignedTo": "ann"}))

    assert results == ["new 1 ann under ann"] * 3
    assert (record.active, record.queued) == ((), ())


async def test_a_keyed_job_whose_event_names_no_key_gets_that_of_the_new_payload(
    nats_server: NatsServer,
) -> None:
    """As where an operator sends a job again, or where the old version of the queue had no keys."""
    async with new_worker(nats_server.url) as worker:
        await store_foreign(
            worker.runtime.connection,
            {"owner": "ann"},
            job_id="J1",
            headers={HEADER: OLD.digest},
            event=EventType.CREATED,
            queue="tasks",
        )

        assert await worker.jobs.tasks.ref("J1").result(timeout=SOON) == "new 1 ann under ann"


async def test_a_new_version_cancels_a_keyed_job_of_an_old_one(nats_server: NatsServer) -> None:
    async with (
        OldService.connect(nats_server.url) as old,
        NewService.connect(nats_server.url) as new,
        NewService.connect(nats_server.url) as other,
    ):
        first = await old.jobs.tasks.create(OldTask(owner="ann"))
        second = await old.jobs.tasks.create(OldTask(owner="ann"))
        with LogSignals() as signals:
            await new.jobs.tasks.ref(second.id).cancel()
        assert signals.of(LogEvent.KEY_NOT_RELEASED) == []
        assert await other.jobs.tasks.ref(first.id).release_key()


async def test_old_and_new_workers_run_each_job_once(nats_server: NatsServer) -> None:
    async with (
        old_worker(nats_server.url) as old,
        new_worker(nats_server.url) as new,
    ):
        notes = [await old.jobs.notes.create(OldNote(text=f"{n}")) for n in range(20)]
        old_tasks = [await old.jobs.tasks.create(OldTask(owner=f"{n % 4}")) for n in range(8)]
        new_tasks = [await new.jobs.tasks.create(NewTask(assigned_to=f"{n % 4}")) for n in range(8)]
        of_notes = await asyncio.gather(*(ref.result(timeout=SOON) for ref in notes))
        of_old = await asyncio.gather(*(ref.result(timeout=SOON) for ref in old_tasks))
        of_new = await asyncio.gather(*(ref.result(timeout=SOON) for ref in new_tasks))

    for number, result in enumerate(of_notes):
        assert result in {f"old 1 {number}", f"new 1 {number}"}
    for number, result in enumerate(of_old):
        assert result in {f"old 1 {number % 4}", f"new 1 {number % 4} under {number % 4}"}
    assert of_new == [f"new 1 {number % 4} under {number % 4}" for number in range(8)]


async def test_an_upcaster_that_raises_leaves_the_job_to_a_worker_of_its_version(
    nats_server: NatsServer,
) -> None:
    def broken(old: JsonObject) -> NewTask:
        raise LookupError(f"nothing to make of {sorted(old)}")

    async with OldService.connect(nats_server.url) as producer, NewService.connect(nats_server.url) as worker:
        worker.jobs.tasks.upcast(broken, from_digest=OLD.digest)
        worker.jobs.tasks.handle(_no_task)
        await worker.start()
        with LogSignals() as signals:
            ref = await producer.jobs.tasks.create(OldTask(owner="ann"))
            line = await signals.wait_for(LogEvent.UPCAST_FAILED, job_id=ref.id)
            await signals.wait_for(LogEvent.JOB_OF_OTHER_VERSION, job_id=ref.id)
        snapshot = await worker.jobs.tasks.ref(ref.id).get()
        with pytest.raises(UpcastFailed):
            _ = snapshot.payload
        async with old_worker(nats_server.url):
            assert await ref.result(timeout=SOON) == "old 1 ann"

    assert line.levelno == logging.WARNING
    assert "the upcaster broken raised LookupError: nothing to make of ['owner']" in line.getMessage()
    assert (snapshot.state, snapshot.tries) == (JobState.PENDING, 0)


async def _no_task(job: NewTaskJob) -> str:
    raise AssertionError(job.id)


async def test_an_upcaster_that_keeps_raising_fails_the_job_with_both_digests(
    nats_server: NatsServer,
) -> None:
    def wire_form(old: JsonObject) -> NewNote:
        return old  # type: ignore[return-value]  # pyright: ignore[reportReturnType] - what a type checker refuses

    options = Options(version_patience=timedelta(seconds=1))
    async with (
        OldService.connect(nats_server.url) as producer,
        NewService.connect(nats_server.url, options=options) as worker,
    ):
        worker.jobs.notes.upcast(wire_form, from_digest=OLD.digest)
        worker.jobs.notes.handle(_no_note)
        await worker.start()
        ref = await producer.jobs.notes.create(OldNote(text="x"))
        with pytest.raises(JobFailed) as failure:
            await ref.result(timeout=SOON)
        events = [event.event async for event in ref.events()]

    assert "the upcaster wire_form returned a value of type dict, not NewNote" in str(failure.value)
    assert f"contract version {OLD.digest} wrote it, this worker has version {NEW.digest}" in str(
        failure.value
    )
    assert events == ["created", "started", "failed"]


async def _no_note(job: NewNoteJob) -> str:
    raise AssertionError(job.id)


async def test_a_client_without_the_upcaster_sees_the_state_and_the_result(nats_server: NatsServer) -> None:
    async with (
        OldService.connect(nats_server.url) as producer,
        new_worker(nats_server.url),
        NewService.connect(nats_server.url) as reader,
    ):
        created = await producer.jobs.tasks.create(OldTask(owner="ann"))
        ref = reader.jobs.tasks.ref(created.id)
        snapshot = await ref.wait(timeout=SOON)
        assert await ref.result(timeout=SOON) == "new 1 ann under ann"
        with pytest.raises(InvalidPayload):
            _ = snapshot.payload

    assert (snapshot.state, snapshot.raw_payload) == (JobState.COMPLETED, {"owner": "ann"})


@pytest.mark.parametrize(
    ("payload", "result"), [({"body": 1}, "new 1 1"), ({"body": "as it is", "text": "old"}, "new 1 as it is")]
)
async def test_a_job_without_a_digest_is_upcast_by_its_shape(
    nats_server: NatsServer, payload: JsonValue, result: str
) -> None:
    def numbered(old: JsonObject) -> NewNote:
        return NewNote(body=str(old["body"]))

    async with NewService.connect(nats_server.url) as worker:
        worker.jobs.notes.upcast(numbered)
        register(worker)
        await worker.start()
        await store_foreign(
            worker.runtime.connection, payload, job_id="J1", headers={}, event=EventType.CREATED
        )

        assert await worker.jobs.notes.ref("J1").result(timeout=SOON) == result


async def test_a_job_without_a_digest_fails_at_once_with_the_error_of_its_upcaster(
    nats_server: NatsServer,
) -> None:
    async with NewService.connect(nats_server.url) as worker:
        worker.jobs.notes.upcast(from_text)
        worker.jobs.notes.handle(_no_note)
        await worker.start()
        await store_foreign(
            worker.runtime.connection,
            {"body": 1, "text": 2},
            job_id="J1",
            headers={},
            event=EventType.CREATED,
        )
        with pytest.raises(JobFailed, match="the upcaster from_text raised: what it builds does not match"):
            await worker.jobs.notes.ref("J1").result(timeout=SOON)


@pytest.mark.parametrize("headers", [{HEADER: OLD.digest}, {}])
async def test_a_job_that_is_sent_again_is_upcast(nats_server: NatsServer, headers: dict[str, str]) -> None:
    options = Options(version_patience=timedelta(0))
    async with OldService.connect(nats_server.url) as producer:
        ref = await producer.jobs.notes.create(OldNote(text="hello"))
        async with NewService.connect(nats_server.url, options=options) as broken:
            broken.jobs.notes.upcast(_refuse, from_digest=OLD.digest)
            broken.jobs.notes.handle(_no_note)
            await broken.start()
            with pytest.raises(JobFailed):
                await ref.result(timeout=SOON)
        async with new_worker(nats_server.url) as repaired:
            connection = repaired.runtime.connection
            await store_foreign(
                connection, {"text": "hello"}, job_id=ref.id, headers=headers, event=EventType.RETRIED
            )
            again = repaired.jobs.notes.ref(ref.id)
            await eventually(lambda: _is_completed(again))
            snapshot = await again.get()

    assert snapshot.result == "new 1 hello"
    assert snapshot.payload == NewNote(body="hello")


def _refuse(old: JsonObject) -> NewNote:
    raise LookupError(str(sorted(old)))


async def test_a_test_of_the_new_version_reads_jobs_of_the_old_one(nats_server: NatsServer) -> None:
    async with (
        OldService.connect(nats_server.url) as producer,
        service_under_test(NewService, nats_server.url) as under_test,
    ):
        register(under_test.service)
        await producer.jobs.tasks.create(OldTask(owner="ann"))
        report = await under_test.drain()
        tasks = under_test.service.jobs.tasks

        assert report.one(tasks).payload == NewTask(assigned_to="ann")
        assert [job.payload for job in await under_test.created(tasks)] == [NewTask(assigned_to="ann")]


async def _is_completed(ref: JobRef[NewNote, str]) -> bool:
    return (await ref.get()).state is JobState.COMPLETED


async def test_upcasters_are_registered_before_the_start(nats_server: NatsServer) -> None:
    async with new_worker(nats_server.url) as worker:
        with pytest.raises(HandlerConflict, match="register upcasters before the workers start"):
            worker.jobs.notes.upcast(from_text)


async def test_two_generated_versions_of_one_contract(nats_server: NatsServer, tmp_path: Path) -> None:
    old, new = (_generate(member, tmp_path) for member in ("day", "dueDay"))
    seen: list[Any] = []

    def from_day(stored: JsonObject) -> Any:
        stored["dueDay"] = stored.pop("day")
        return new.Thing.model_validate_json(json.dumps(stored))

    async def keep(handled: ActiveJob[Any, None]) -> None:
        seen.append(handled.payload)

    async with (
        old.ThingsService.connect(nats_server.url) as producer,
        new.ThingsService.connect(nats_server.url) as worker,
    ):
        worker.jobs.keep.upcast(from_digest=old.ThingsService.contract.digest)(from_day)
        worker.jobs.keep.handle(keep)
        await worker.start()
        ref = await producer.jobs.keep.create(old.Thing(day=date(2026, 12, 1)))
        await ref.result(timeout=SOON)
        own = await worker.jobs.keep.create(new.Thing(due_day=date(2026, 12, 2)))
        await own.result(timeout=SOON)

    assert seen == [new.Thing(due_day=date(2026, 12, day)) for day in (1, 2)]


def _generate(member: str, folder: Path) -> Any:
    """Generate the package of a contract whose only schema has this member, a date."""
    members: JsonObject = {member: {"type": "string", "format": "date"}}
    thing: JsonObject = {
        "type": "object",
        "additionalProperties": False,
        "properties": members,
        "required": [member],
    }
    package, _ = generated(contract(schemas={"Thing": thing}, jobs={"keep": job()}, exports={}), folder)
    return package
