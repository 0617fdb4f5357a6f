"""Workers run under what a real control plane grants, and do without what it does not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from trellis_nats import JobState, Options, Permissions
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats._nats.jetstream.streams import get_last_message, get_stream_info
from trellis_nats._nats.jetstream.unstored_request import UNSTORED, request_unstored
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats._nats.wire.message import Message
from trellis_nats._support.log_events import LogEvent
from trellis_nats.clock import now
from trellis_nats.errors import RequestTimeout
from trellis_nats.jobs.model.event_factory import NOT_KEYED, JobIdentity
from trellis_nats.provision import provision
from trellis_nats.testing import LogSignals, NatsServer

from tests.support.cluster import running_cluster
from tests.support.depot import violations
from tests.support.eventually import eventually
from tests.support.inspection import inspect_queue
from tests.support.needs import NEEDS
from tests.support.platform import BINDING, PACK, PLATFORM, as_platform_service, platform_server
from tests.support.shop import Parcel, ParcelJob, Receipt, Shop
from tests.support.versions import VERSIONS, binary_of

SOON = timedelta(seconds=30)
ROOT = as_platform_service("root")
ROOT_SETTINGS = ConnectionSettings(user="root", password="root")  # noqa: S106 - not a secret
EVENTS = ("created", "started", "retry", "completed", "failed", "cancelled", "probe")
NO_QUESTIONS = replace(
    PLATFORM,
    publish=(
        *(line for line in PLATFORM.publish if line != f"{PACK.publish_prefix}.>"),
        *(f"{PACK.publish_prefix}.*.{event}" for event in EVENTS),
    ),
)
QUESTIONS = f"{PACK.publish_prefix}.*.claim"
CANNOT_ASK: dict[str, tuple[Permissions, str | None]] = {
    "it may not answer": (replace(PLATFORM, allow_responses=None), None),
    "it may not ask": (NO_QUESTIONS, None),
    "it may not receive questions": (PLATFORM, QUESTIONS),
}


@asynccontextmanager
async def worker_on(
    server: NatsServer,
    runs: list[str],
    *,
    hold: asyncio.Event | None = None,
    options: Options | None = None,
) -> AsyncGenerator[Shop]:
    """Work queue `pack`, one job at a time, until the end of the block."""
    async with Shop.connect(server.url, options=options or as_platform_service(), binding=BINDING) as shop:

        @shop.jobs.pack.handle(concurrency=1)
        async def pack(job: ParcelJob) -> Receipt:
            runs.append(job.id)
            if hold is not None:
                await hold.wait()
            return Receipt(total=job.tries)

        await shop.jobs.start_workers()
        yield shop


async def deliver_again(server: NatsServer, job_id: str) -> None:
    """Put the job's message into the work stream a second time, as after a server that forgot a delivery."""
    root = await Connection.open(server.url, settings=ROOT_SETTINGS)
    stored = await get_last_message(root, "JOBS", f"{PACK.publish_prefix}.{job_id}.created")
    assert stored is not None
    await publish_acked(root, PACK.work_subject, stored.data)
    await root.close()


@pytest.mark.parametrize("version", [None, *VERSIONS])
async def test_a_worker_runs_under_the_grants_of_the_platform(version: str | None) -> None:
    runs: list[str] = []
    async with platform_server(version=version) as server, worker_on(server, runs) as shop:
        ref = await shop.jobs.pack.create(Parcel(number=1))

        assert await ref.result(timeout=SOON) == Receipt(total=1)
        assert (await shop.health.report()).ready
        # The worker asks whether it may notice a pause: nothing else is in the bucket of a queue without keys.
        denied = [subject for subject in violations(server) if "JOBS_KEYS" in subject]
        assert all(subject.endswith(".pause.pack") for subject in denied)


@pytest.mark.parametrize("version", [None, *VERSIONS])
@pytest.mark.parametrize("accounts", ["equal", "the holder has less", "the holder has more"])
async def test_a_live_worker_is_asked_on_the_events_of_its_queue(version: str | None, accounts: str) -> None:
    first, second, release = list[str](), list[str](), asyncio.Event()
    service = as_platform_service()
    async with (
        platform_server(version=version) as server,
        worker_on(
            server, first, hold=release, options=ROOT if accounts == "the holder has more" else service
        ) as shop,
    ):
        ref = await shop.jobs.pack.create(Parcel(number=1))
        await eventually(lambda: first == [ref.id])
        with LogSignals() as signals:
            async with worker_on(
                server, second, options=ROOT if accounts == "the holder has less" else service
            ):
                await deliver_again(server, ref.id)
                await signals.wait_for(LogEvent.JOB_REDELIVERED_LIVE)
                release.set()
                assert await ref.result(timeout=SOON) == Receipt(total=1)
        assert (first, second) == ([ref.id], [])
        assert signals.of(LogEvent.JOB_REDELIVERED_LOST) == []


@pytest.mark.parametrize("lack", CANNOT_ASK)
async def test_where_no_worker_can_be_asked_a_job_waits_for_the_ack_wait(lack: str) -> None:
    """A live worker keeps its job; the message of a dead one is delivered once more."""
    first, second, release = list[str](), list[str](), asyncio.Event()
    service, denied = CANNOT_ASK[lack]
    with LogSignals() as signals:
        async with (
            platform_server(service, denied=denied) as server,
            worker_on(server, first, hold=release) as shop,
        ):
            ref = await shop.jobs.pack.create(Parcel(number=1))
            await eventually(lambda: first == [ref.id])
            async with worker_on(server, second):
                await deliver_again(server, ref.id)
                await signals.wait_for(LogEvent.JOB_POSTPONED, job_id=ref.id)
                assert second == []
                release.set()
                assert await ref.result(timeout=SOON) == Receipt(total=1)
            assert (first, second) == ([ref.id], [])
            warnings = signals.of(LogEvent.WORKERS_NOT_ASKED)
            assert [record.levelno for record in warnings] == [logging.WARNING] * 2
            assert "ack wait" in warnings[0].getMessage()


@pytest.mark.parametrize("lack", CANNOT_ASK)
async def test_a_dead_workers_job_runs_again_where_no_worker_can_be_asked(lack: str) -> None:
    runs: list[str] = []
    service, denied = CANNOT_ASK[lack]
    async with (
        platform_server(service, denied=denied) as server,
        Shop.connect(server.url, options=ROOT, binding=BINDING) as shop,
    ):
        ref = await shop.jobs.pack.create(Parcel(number=1))
        await begin_elsewhere(shop, ref.id)

        async with worker_on(server, runs):
            assert await ref.result(timeout=SOON) == Receipt(total=2)
        assert runs == [ref.id]


async def begin_elsewhere(shop: Shop, job_id: str) -> None:
    """Store that a process began the job which is not there any more."""
    event_log = inspect_queue(shop.jobs.pack).event_log
    created = await event_log.newest(job_id)
    assert created is not None
    event = created.event
    identity = JobIdentity(
        job_id=job_id, service=event.service, queue=event.job_type, context=event.job_context()
    )
    started = identity.started(
        previous=JobState.PENDING, tries=1, instance_id="01DEAD", at=now(), keyed=NOT_KEYED
    )
    await event_log.append(started, after=created.sequence)


# --- the request that a stream refuses -------------------------------------------------------------------------------


async def state_of(connection: Connection, stream: str) -> object:
    info = await get_stream_info(connection, stream)
    assert info is not None
    return info["state"]


async def answering(connection: Connection, subject: str, heard: list[bytes]) -> None:
    def answer(message: Message) -> None:
        heard.append(message.data)
        connection.send(message.reply, b"held")

    connection.subscribe(subject, answer)
    await connection.flush()


async def asked_without_a_trace(url: str, *, settings: ConnectionSettings, replicas: int, times: int) -> None:
    """Ask many times on a subject of stream JOBS: each question is answered, none is stored, and fences go on."""
    asker = await Connection.open(url, settings=settings)
    worker = await Connection.open(url, settings=settings)
    await provision(asker, NEEDS, create=True, replicas=replicas)
    await publish_acked(asker, "trellis.jobs.shop.pack.J1.created", b"{}")
    heard: list[bytes] = []
    await answering(worker, "trellis.jobs.shop.pack.I1.claim", heard)
    before = await state_of(asker, "JOBS")

    answers = await asyncio.gather(
        *(
            request_unstored(asker, "trellis.jobs.shop.pack.I1.claim", b"%d" % number, timeout=SOON)
            for number in range(times)
        )
    )

    assert [answer.data for answer in answers] == [b"held"] * times
    assert sorted(heard) == sorted(b"%d" % number for number in range(times))
    assert await state_of(asker, "JOBS") == before
    with pytest.raises(RequestTimeout):
        await request_unstored(
            asker, "trellis.jobs.shop.pack.I2.claim", b"", timeout=timedelta(milliseconds=200)
        )
    ack = await publish_acked(
        asker, "trellis.jobs.shop.pack.J1.started", b"{}", expected_last_on_subject=0, timeout=SOON
    )
    assert not ack.duplicate
    await asker.close()
    await worker.close()


@pytest.mark.parametrize("version", [None, *VERSIONS])
async def test_a_question_on_a_streams_subject_leaves_no_trace(version: str | None) -> None:
    binary = None if version is None else binary_of(version)
    async with NatsServer(binary=binary) as server:
        await asked_without_a_trace(server.url, settings=ConnectionSettings(), replicas=1, times=100)


async def test_a_question_on_a_replicated_streams_subject_leaves_no_trace() -> None:
    async with running_cluster() as cluster:
        await asked_without_a_trace(cluster.url, settings=ConnectionSettings(), replicas=3, times=100)


def test_a_question_has_no_header_that_harms_a_stream() -> None:
    assert set(UNSTORED) == {"Nats-Expected-Stream"}
