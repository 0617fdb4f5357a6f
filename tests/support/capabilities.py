"""What operators and viewers do on a server, and the lines of their permissions without which each of it fails."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from trellis_admin.audit_log import Action, AuditLog, Kind, count_audit, open_admin_bucket
from trellis_admin.bulk import BulkNotFound
from trellis_admin.doctor.collecting import collect
from trellis_admin.duties import JobPlace, OverdueExpirer, UndeliveredBurier
from trellis_admin.duties.any_jobs import AnyJobs
from trellis_admin.keys import StoredKey
from trellis_admin.keys.stored_keys import show_record
from trellis_admin.metrics.families import SERVER_ANSWERS
from trellis_admin.metrics.fleet import FleetMetrics
from trellis_admin.metrics.server import QueuePlace as MeasuredQueue
from trellis_admin.metrics.unsourced import WaitingJob, measure_unsourced
from trellis_admin.operator import Operator
from trellis_admin.queries import QueuePlace, read_history
from trellis_nats import JobState, TransportError
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.bulk_reader import BulkReader
from trellis_nats._nats.jetstream.kv import KvBucket
from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats._nats.jetstream.stream_follower import follow_stream
from trellis_nats._nats.jetstream.streams import get_consumer_info, get_stream_info
from trellis_nats.clock import now, timestamp
from trellis_nats.codec import JsonText
from trellis_nats.context import new_context
from trellis_nats.ids import new_id
from trellis_nats.jobs.actions.replacement import EditedPayload, replacements
from trellis_nats.jobs.keys.model.record import KeyRecord
from trellis_nats.jobs.keys.model.template import resolve
from trellis_nats.jobs.model.admin_action import AdminAction
from trellis_nats.jobs.model.states import EventType
from trellis_nats.jobs.model.subjects import WORKERS_PREFIX
from trellis_nats.jobs.pause import list_pauses, pause_queue, read_pause, resume_queue
from trellis_nats.jobs.stacks import read_stack

from tests.support.foreign_events import foreign_body

__all__ = ["CHANGES", "PREFIX", "READS", "Bench", "Capability"]

PREFIX: Final = "trellis.jobs.depot.ship"
"""Where the queue of these jobs publishes. It has a concurrency key."""
_PAUSED: Final = ("depot", "sort")
_SCAN: Final = ("CONSUMER.CREATE.{}.>", "CONSUMER.MSG.NEXT.{}.*")


@dataclass(frozen=True, slots=True)
class Bench:
    """An operator or a viewer, and a connection that may do everything, which prepares jobs."""

    operator: Operator
    root: Connection

    @property
    def connection(self) -> Connection:
        """That of the operator or viewer."""
        return self.operator.session.connection

    async def job(self, kinds: str, **fields: str) -> str:
        """Store a history, and return the prefix and id of its job."""
        job_id = new_id()
        for kind in map(EventType, kinds.split()):
            body = foreign_body(kind, job_id, {"service": "depot", **fields}, queue="ship")
            await publish_acked(self.root, f"{PREFIX}.{job_id}.{kind}", json.dumps(body).encode())
        return f"{PREFIX}.{job_id}"

    async def stale_key(self, kinds: str) -> StoredKey:
        """Store a key whose slot a job with this history holds, and whose worker is gone."""
        job_id = (await self.job(kinds)).rpartition(".")[2]
        key = resolve(("/number",), {"number": int(now().timestamp() * 1e6)}, what="a payload")
        long_ago = timestamp(datetime(2026, 1, 1, tzinfo=UTC))
        slot = {
            "jobId": job_id,
            "slotToken": new_id(),
            "instanceId": "gone",
            **dict.fromkeys(("startedAt", "heartbeatAt", "leaseExpiresAt"), long_ago),
            "tries": 1,
            "context": new_context().members(),
        }
        body = {
            "version": 1,
            "service": "depot",
            "jobType": "ship",
            "key": key.display,
            "keyHash": key.hash,
            "maxActive": 1,
            "active": [slot],
            "queued": [],
            "staleTakeoverCount": 0,
            "updatedAt": long_ago,
        }
        bucket = KvBucket(self.root, "JOBS_KEYS_depot")
        revision = await bucket.put(f"depot.ship.{key.hash}", json.dumps(body).encode())
        record = KeyRecord.parse(json.dumps(body).encode(), service="depot", queue="ship", key_hash=key.hash)
        place = QueuePlace(prefix=PREFIX, service="depot", name="ship")
        return show_record(place, record, revision, now())


@dataclass(frozen=True, slots=True)
class Capability:
    """Something that a role does, and the lines of its permissions without which it fails."""

    name: str
    act: Callable[[Bench], Awaitable[object]]
    needs: tuple[str, ...]

    def __str__(self) -> str:
        return self.name


async def _cancel(bench: Bench) -> None:
    await bench.operator.cancel(await bench.job("created"), reason="a test")


async def _retry(bench: Bench) -> None:
    await bench.operator.retry(await bench.job("created started failed"))


async def _replay(bench: Bench) -> None:
    await bench.operator.replay(await bench.job("created started dead"))


async def _dismiss(bench: Bench) -> None:
    await bench.operator.dismiss(await bench.job("created started dead"))


async def _replay_edited(bench: Bench) -> None:
    job_id = (await bench.job("created started dead")).rpartition(".")[2]
    payload = EditedPayload(JsonText({"number": 2}, b'{"number":2}'), "x" * 43)
    await replacements(bench.connection, PREFIX).replay(
        job_id, payload, AdminAction(actor="anna"), request_id=new_id()
    )


async def _reveal(bench: Bench) -> None:
    await bench.operator.reveal(await bench.job("created"))


async def _replay_many(bench: Bench) -> None:
    await bench.job("created started dead", service="depot")
    await bench.operator.catch_up()
    plan = await bench.operator.bulk.plan("replay", "state:dead")
    record = await bench.operator.bulk.start(plan, confirm=plan.count, begin_with=None, rate=None)
    await bench.operator.bulk.run(record.id)


async def _expire(bench: Bench) -> None:
    deadline = timestamp(now() - timedelta(days=1))
    job = await bench.job("created", deadline=deadline)
    prefix, _, job_id = job.rpartition(".")

    async def find(_: datetime, __: int) -> Sequence[JobPlace]:
        return [JobPlace(prefix, job_id)]

    report = await OverdueExpirer(bench.connection, find, grace=timedelta(0)).run(lambda: True)
    assert report.expired == 1


async def _pause(bench: Bench) -> None:
    await pause_queue(bench.connection, *_PAUSED, by="anna", source="test")
    await resume_queue(bench.connection, *_PAUSED)


async def _hold(bench: Bench) -> None:
    """The consumers too: without the right, the pause says what it could not do."""
    paused = await pause_queue(bench.connection, *_PAUSED, by="anna", source="test")
    await resume_queue(bench.root, *_PAUSED)
    for hold in paused.holds:
        if hold.problem is not None:
            raise TransportError(hold.problem)


async def _read_stack(bench: Bench) -> None:
    """No process runs the job."""
    assert await read_stack(bench.connection, "depot", "ship", new_id()) is None


async def _release_key(bench: Bench) -> None:
    released = await bench.operator.keys.release(await bench.stale_key("created started completed"))
    assert released.job_state is JobState.COMPLETED


async def _release_dead(bench: Bench) -> None:
    released = await bench.operator.keys.release(await bench.stale_key("created started"))
    assert released.job_state is JobState.STALE


async def _list_jobs(bench: Bench) -> None:
    await bench.operator.catch_up()


async def _read_stream(bench: Bench) -> None:
    async with BulkReader(bench.connection, "JOBS", ["trellis.jobs.>"], after=0) as reader:
        while await reader.read():
            pass


async def _follow_jobs(bench: Bench) -> None:
    await bench.job("created")
    async with (
        follow_stream(bench.connection, "JOBS", "trellis.jobs.>", after=0) as messages,
        aclosing(messages),
    ):
        await anext(messages)


async def _read_job(bench: Bench) -> None:
    prefix, _, job_id = (await bench.job("created started failed")).rpartition(".")
    await read_history(bench.connection, prefix, job_id)


async def _read_keys(bench: Bench) -> None:
    # Without a key, no page is asked for.
    await KvBucket(bench.root, "JOBS_KEYS_depot").put("depot.ship.held", b"{}")
    bucket = KvBucket(bench.connection, "JOBS_KEYS_depot")
    await bucket.keys("depot.ship.*")
    await bucket.get("depot.ship.none")


async def _read_pauses(bench: Bench) -> None:
    await pause_queue(bench.root, *_PAUSED, by="anna", source="test")
    assert await list_pauses(bench.connection, "depot")
    assert await read_pause(bench.connection, *_PAUSED)
    await resume_queue(bench.root, *_PAUSED)


async def _look_at_queue(bench: Bench) -> None:
    for stream in ("JOBS_WORK", "JOBS_DELAYED"):
        assert await get_consumer_info(bench.connection, stream, "depot__ship")


async def _look_at_streams(bench: Bench) -> None:
    for stream in ("JOBS", "JOBS_WORK", "JOBS_DELAYED", "JOBS_ADVISORIES", "KV_JOBS_KEYS_depot"):
        assert await get_stream_info(bench.connection, stream)


async def _diagnose(bench: Bench) -> None:
    # A heartbeat to read: whether a job of another test has reached the work stream is up to the moment.
    await publish_acked(bench.root, f"{WORKERS_PREFIX}.depot.ship.{new_id()}.heartbeat", b"{}")
    facts = await collect(bench.connection)
    if facts.unreadable:
        raise TransportError("; ".join(facts.unreadable))


async def _measure(bench: Bench) -> None:
    await bench.job("created")
    await bench.operator.catch_up()
    metrics = FleetMetrics(bench.connection, bench.operator.session.database)
    silent = [one.labels for one in await metrics.measure() if one.family is SERVER_ANSWERS and not one.value]
    if silent:
        raise TransportError(f"the account may not publish to what is needed for {silent}")


async def _find_unsourced(bench: Bench) -> None:
    prefix, _, job_id = (await bench.job("created started")).rpartition(".")
    waiting = WaitingJob(id=job_id, sequence=10**9, since=now() - timedelta(hours=1))
    place = MeasuredQueue("depot", "ship", prefix)

    def find(_: MeasuredQueue, __: int) -> WaitingJob:
        return waiting

    await measure_unsourced(bench.connection, [place], find, now=now())


async def _bury(bench: Bench) -> None:
    await UndeliveredBurier(bench.connection).run(lambda: True)


async def _bury_job(bench: Bench) -> None:
    """Store what the burier stores, without the advisory of a consumer that gave up."""
    prefix, _, job_id = (await bench.job("created started")).rpartition(".")
    jobs = AnyJobs(bench.connection)
    life = await jobs.read(prefix, job_id)
    assert life is not None
    assert await jobs.end(prefix, life, EventType.DEAD, tries=1, error="not delivered", at=now())


async def _read_audit(bench: Bench) -> None:
    log = AuditLog(bench.root, actor="anna", source="test")
    await log.store(log.new_record(Kind.JOB, Action.CANCEL, {"job": "J1"}, reason=None))
    await bench.operator.audit_log()
    await count_audit(bench.connection)


async def _read_bulk(bench: Bench) -> None:
    bucket = await open_admin_bucket(bench.root)
    if not await bucket.keys("bulk.*"):
        await bucket.put("bulk.none", b"{}")
    await bench.operator.bulk.list_all()
    with suppress(BulkNotFound):
        await bench.operator.bulk.read(new_id())


def _api(*requests: str) -> tuple[str, ...]:
    return tuple(f"$JS.API.{request}" for request in requests)


def _scan(stream: str) -> tuple[str, ...]:
    return _api(*(request.format(stream) for request in _SCAN))


READS: Final = (
    Capability("list jobs", _list_jobs, ("$JS.API.STREAM.INFO.JOBS", *_scan("JOBS"))),
    Capability("read the stream", _read_stream, _scan("JOBS")),
    Capability("follow jobs", _follow_jobs, _scan("JOBS")),
    Capability("read a job", _read_job, ()),
    Capability(
        "read keys",
        _read_keys,
        (
            *_scan("KV_JOBS_KEYS_depot"),
            *_api("DIRECT.GET.KV_JOBS_KEYS_depot.$KV.JOBS_KEYS_depot.>"),
        ),
    ),
    Capability("read pauses", _read_pauses, _scan("KV_JOBS_KEYS_depot")),
    Capability(
        "look at a queue",
        _look_at_queue,
        _api("CONSUMER.INFO.JOBS_WORK.depot__ship", "CONSUMER.INFO.JOBS_DELAYED.depot__ship"),
    ),
    Capability(
        "look at the streams",
        _look_at_streams,
        _api(
            *(
                f"STREAM.INFO.{name}"
                for name in ("JOBS", "JOBS_WORK", "JOBS_DELAYED", "JOBS_ADVISORIES", "KV_JOBS_KEYS_depot")
            )
        ),
    ),
    Capability(
        "read the audit log",
        _read_audit,
        (
            *_scan("TRELLIS_AUDIT"),
            *_api("STREAM.INFO.TRELLIS_AUDIT", "DIRECT.GET.TRELLIS_AUDIT.trellis.audit.>"),
        ),
    ),
    Capability(
        "read bulk actions",
        _read_bulk,
        (*_scan("KV_TRELLIS_ADMIN"), "$JS.API.STREAM.MSG.GET.KV_TRELLIS_ADMIN"),
    ),
    Capability(
        "look for faults",
        _diagnose,
        _api(
            "INFO",
            "CONSUMER.LIST.JOBS_WORK",
            "CONSUMER.LIST.JOBS_DELAYED",
            "DIRECT.GET.JOBS.>",
        ),
    ),
    Capability("measure", _measure, ()),
    Capability(
        "find jobs without a message",
        _find_unsourced,
        _api(
            "STREAM.INFO.JOBS_WORK",
            "STREAM.MSG.GET.JOBS_WORK",
            "DIRECT.GET.JOBS_WORK.trellis.work.depot.ship",
            "DIRECT.GET.JOBS_DELAYED.trellis.delayed.at.depot.ship.*",
            "DIRECT.GET.JOBS_DELAYED.trellis.delayed.due.depot.ship",
        ),
    ),
)
"""What a viewer does, and an operator too."""

_AUDIT: Final = "trellis.audit.>"
CHANGES: Final = (
    Capability("cancel", _cancel, (f"{PREFIX}.*.cancelled", _AUDIT)),
    Capability("retry", _retry, (f"{PREFIX}.*.retried", _AUDIT)),
    Capability("replay", _replay, (f"{PREFIX}.*.retried", _AUDIT)),
    Capability("dismiss", _dismiss, (f"{PREFIX}.*.dismissed", _AUDIT)),
    Capability("replay edited", _replay_edited, (f"{PREFIX}.*.created", f"{PREFIX}.*.dismissed")),
    Capability("reveal a payload", _reveal, (_AUDIT,)),
    Capability("replay many", _replay_many, ("$KV.TRELLIS_ADMIN.>", _AUDIT)),
    Capability("expire", _expire, (f"{PREFIX}.*.expired",)),
    Capability("read advisories", _bury, _scan("JOBS_ADVISORIES")[:1]),
    Capability("bury", _bury_job, (f"{PREFIX}.*.dead",)),
    Capability("pause and resume", _pause, ("$KV.JOBS_KEYS_depot.pause.sort",)),
    Capability(
        "hold the consumers",
        _hold,
        _api("CONSUMER.PAUSE.JOBS_WORK.depot__sort", "CONSUMER.PAUSE.JOBS_DELAYED.depot__sort"),
    ),
    Capability("read a stack", _read_stack, ("trellis.job_stacks.depot.ship",)),
    Capability(
        "release a key",
        _release_key,
        ("$KV.JOBS_KEYS_depot.depot.>", "$JS.API.STREAM.MSG.GET.KV_JOBS_KEYS_depot", _AUDIT),
    ),
    Capability("release the key of a dead worker", _release_dead, ("$KV.JOBS_KEYS_depot.depot.>",)),
)
"""What an operator does, and a viewer may not."""
