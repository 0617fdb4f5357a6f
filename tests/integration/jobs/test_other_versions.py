"""A job whose payload another version of the contract wrote waits for a worker of that version, without an attempt."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from trellis_admin.projection import Database, catch_up, connect_reader
from trellis_admin.queries import find_version_waits
from trellis_nats import JobExpired, JobFailed, JobState, Maintenance, Options
from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats._nats.jetstream.streams import get_last_message, purge_stream
from trellis_nats._nats.wire.message import Message
from trellis_nats._support.log_events import LogEvent
from trellis_nats._versions import version_delay, waited_for
from trellis_nats.clock import now
from trellis_nats.testing import LogSignals, NatsServer

from tests.support.eventually import eventually
from tests.support.operating import operator_connection
from tests.support.parcel_versions import (
    NEW,
    OLD,
    NewJob,
    NewParcel,
    NewService,
    OldJob,
    OldParcel,
    OldService,
)
from tests.support.versions import VERSIONS, binary_of

SOON = timedelta(seconds=30)
HEADER = "trellis-contract-digest"


@asynccontextmanager
async def old_worker(url: str, runs: list[str], options: Options | None = None) -> AsyncGenerator[OldService]:
    async with OldService.connect(url, options=options) as service:

        @service.jobs.pack.handle
        async def pack(job: OldJob) -> None:
            runs.append(f"old {job.id} {job.tries}")

        @service.jobs.ship.handle
        async def ship(job: OldJob) -> None:
            runs.append(f"old {job.id} {job.tries}")

        await service.start()
        yield service


@asynccontextmanager
async def new_worker(url: str, runs: list[str]) -> AsyncGenerator[NewService]:
    async with NewService.connect(url) as service:

        @service.jobs.pack.handle
        async def pack(job: NewJob) -> None:
            runs.append(f"new {job.id} {job.tries}")

        @service.jobs.ship.handle
        async def ship(job: NewJob) -> None:
            runs.append(f"new {job.id} {job.tries}")

        await service.start()
        yield service


@pytest.mark.parametrize("server_version", [None, *VERSIONS])
async def test_in_a_rolling_deploy_each_job_runs_once_by_a_worker_of_its_version(
    server_version: str | None,
) -> None:
    runs: list[str] = []
    binary = None if server_version is None else binary_of(server_version)
    async with (
        NatsServer(binary=binary) as server,
        old_worker(server.url, runs) as old,
        new_worker(server.url, runs) as new,
    ):
        old_refs = [await old.jobs.pack.create(OldParcel(number=n)) for n in range(20)]
        old_refs += [await old.jobs.ship.create(OldParcel(number=n)) for n in range(3)]
        new_refs = [await new.jobs.pack.create(NewParcel(number=n, grams=1)) for n in range(20)]
        new_refs += [await new.jobs.ship.create(NewParcel(number=n, grams=1)) for n in range(3, 6)]
        await asyncio.gather(
            *(ref.result(timeout=SOON) for ref in old_refs), *(ref.result(timeout=SOON) for ref in new_refs)
        )

    assert sorted(runs) == sorted(
        [f"old {ref.id} 1" for ref in old_refs] + [f"new {ref.id} 1" for ref in new_refs]
    )


async def test_a_job_of_a_newer_version_waits_until_a_worker_of_it_starts(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    runs: list[str] = []
    async with NewService.connect(nats_server.url) as producer, old_worker(nats_server.url, runs):
        with LogSignals() as signals:
            ref = await producer.jobs.pack.create(NewParcel(number=1, grams=2))
            line = await signals.wait_for(LogEvent.JOB_OF_OTHER_VERSION, job_id=ref.id)
        assert (await ref.get()).state is JobState.PENDING
        assert NEW.digest in line.getMessage()
        assert OLD.digest in line.getMessage()
        assert line.levelno == logging.INFO
        async with operator_connection(nats_server.url) as connection:
            database = Database.open(tmp_path / "index")
            await catch_up(connection, database)
            database.close()
        with closing(connect_reader(tmp_path / "index")) as reader:
            (wait,) = find_version_waits(reader, now() + timedelta(seconds=65))
        assert (wait.queue, wait.digest, wait.jobs, wait.live) == ("pack", NEW.digest, 1, (OLD.digest,))

        async with new_worker(nats_server.url, runs):
            await ref.result(timeout=SOON)
        events = [event.event async for event in ref.events()]

    assert runs == [f"new {ref.id} 1"]
    assert events == ["created", "started", "completed"]


async def test_a_job_that_waited_long_enough_fails_and_names_both_versions(nats_server: NatsServer) -> None:
    runs: list[str] = []
    options = Options(version_patience=timedelta(seconds=1))
    async with (
        NewService.connect(nats_server.url) as producer,
        old_worker(nats_server.url, runs, options),
    ):
        ref = await producer.jobs.pack.create(NewParcel(number=1, grams=2))
        with pytest.raises(JobFailed) as failure:
            await ref.result(timeout=SOON)

    assert f"contract version {NEW.digest} wrote it" in str(failure.value)
    assert f"this worker has version {OLD.digest}" in str(failure.value)
    assert "within 1.0 s" in str(failure.value)
    assert runs == []


async def test_a_job_that_was_delivered_often_for_other_reasons_has_not_waited(
    nats_server: NatsServer,
) -> None:
    """Processes that stop give their messages back at once: 300 such deliveries counted as more than an hour."""
    async with NewService.connect(nats_server.url) as producer:
        ref = await producer.jobs.pack.create(NewParcel(number=1, grams=2))
        connection = producer.runtime.connection
        subject, inbox = "$JS.API.CONSUMER.MSG.NEXT.JOBS_WORK.parcels__pack", connection.new_inbox()
        given_back: list[str] = []

        def give_back(message: Message) -> None:
            connection.send(message.reply, b"-NAK")
            given_back.append(message.reply)
            if len(given_back) < 300:
                connection.send(subject, b'{"batch":1}', reply=inbox)

        connection.subscribe(inbox, give_back)
        connection.send(subject, b'{"batch":1}', reply=inbox)
        await eventually(lambda: len(given_back) == 300, within=SOON)
        with LogSignals() as signals:
            async with old_worker(nats_server.url, []):
                await signals.wait_for(LogEvent.JOB_OF_OTHER_VERSION, job_id=ref.id)
            assert (await ref.get()).state is JobState.PENDING


@pytest.mark.parametrize("digest", [OLD.digest, "", "not a digest"])
async def test_a_payload_of_the_same_or_of_no_version_fails_at_once(
    nats_server: NatsServer, digest: str
) -> None:
    async with NewService.connect(nats_server.url) as producer, old_worker(nats_server.url, []) as worker:
        pending = await producer.jobs.pack.create(NewParcel(number=1, grams=2), delay=timedelta(hours=1))
        connection = producer.runtime.connection
        created = await get_last_message(
            connection, "JOBS", f"trellis.jobs.parcels.pack.{pending.id}.created"
        )
        assert created is not None
        assert created.headers[HEADER] == NEW.digest
        job_id = "J1"
        body = created.data.replace(pending.id.encode(), job_id.encode()).replace(
            b'"notBefore"', b'"ignored"'
        )
        headers = {HEADER: digest} if digest else {}
        with LogSignals() as signals:
            await publish_acked(
                connection, f"trellis.jobs.parcels.pack.{job_id}.created", body, headers=headers, timeout=SOON
            )
            with pytest.raises(JobFailed) as failure:
                await worker.jobs.pack.ref(job_id).result(timeout=SOON)
            assert signals.of(LogEvent.JOB_OF_OTHER_VERSION) == []

    assert "grams" in str(failure.value)
    assert "wrote it" not in str(failure.value)


async def test_a_job_of_another_version_expires_at_its_deadline(nats_server: NatsServer) -> None:
    async with NewService.connect(nats_server.url) as producer, old_worker(nats_server.url, []):
        ref = await producer.jobs.pack.create(
            NewParcel(number=1, grams=2), deadline=timedelta(milliseconds=1500)
        )
        with pytest.raises(JobExpired):
            await ref.result(timeout=SOON)


async def test_every_event_of_a_job_says_which_version_wrote_it(nats_server: NatsServer) -> None:
    async with old_worker(nats_server.url, []) as service:
        ref = await service.jobs.pack.create(OldParcel(number=1))
        await ref.result(timeout=SOON)
        cancelled = await service.jobs.pack.create(OldParcel(number=1), delay=timedelta(hours=1))
        await cancelled.cancel()
        (many,) = await service.jobs.pack.create_many([OldParcel(number=2)])
        connection, prefix = service.runtime.connection, "trellis.jobs.parcels.pack"
        for subject in (
            *(f"{prefix}.{ref.id}.{event}" for event in ("created", "started", "completed")),
            f"{prefix}.{cancelled.id}.cancelled",
            f"{prefix}.{many.id}.created",
        ):
            message = await get_last_message(connection, "JOBS", subject)
            assert message is not None, subject
            assert message.headers[HEADER] == OLD.digest


async def test_a_rescued_job_keeps_the_version_of_its_payload(nats_server: NatsServer) -> None:
    async with NewService.connect(nats_server.url) as producer, OldService.connect(nats_server.url) as old:
        ref = await producer.jobs.pack.create(NewParcel(number=1, grams=2))
        connection = producer.runtime.connection
        await eventually(lambda: purge_stream(connection, "JOBS_WORK", "trellis.work.parcels.pack"))
        maintained = Options(
            maintenance=Maintenance(rescue_every=None, purge_every=None, lost_after=timedelta(0))
        )
        async with OldService.connect(nats_server.url, options=maintained) as rescuer:
            report = await rescuer.jobs.rescue_lost()
        message = await get_last_message(connection, "JOBS_WORK", "trellis.work.parcels.pack")

    assert report.enqueued == 1
    assert message is not None
    assert message.headers[HEADER] == NEW.digest
    assert old.contract is OLD
    assert ref.id in message.data.decode()


def test_the_wait_is_counted_in_deliveries() -> None:
    waits = [waited_for(delivered) for delivered in range(1, 200)]

    assert waits[0] == timedelta(0)
    assert [after - before for before, after in pairwise(waits)] == [
        version_delay(delivered) for delivered in range(1, 199)
    ]
    assert (version_delay(1), version_delay(199)) == (timedelta(seconds=1), timedelta(seconds=30))
