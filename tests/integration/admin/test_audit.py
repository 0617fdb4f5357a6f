"""`trellis audit`: what waits on a server is read with the types of another version."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from pydantic import JsonValue
from trellis_admin.audit import Audit, AuditRequest, Kind, Subject, audit_service, to_json
from trellis_nats import ActiveJob, JobRetry, Runtime
from trellis_nats._nats.jetstream.api import call
from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats.jobs.model.states import EventType, JobState
from trellis_nats.json_types import JsonObject
from trellis_nats.testing import NatsServer

from tests.support.audited import ONCE, Line, NextPayment, NextTill, Paid, Payment, Receipt, Till
from tests.support.eventually import eventually
from tests.support.foreign_events import foreign_body
from tests.support.versions import binary_of

PayJob = ActiveJob[Payment, Receipt]
HOUR = timedelta(hours=1)


def handle_by_ending(till: Till) -> asyncio.Event:
    """Register handlers that end each job as its payload says. The event lets those that block go on."""
    go_on = asyncio.Event()

    async def handle(job: PayJob) -> Receipt:
        match job.payload.ending:
            case "active":
                await go_on.wait()
            case "retry":
                raise JobRetry("later")
            case "dead":
                raise ValueError("it cannot be done")
            case _:
                pass
        return Receipt(number=job.payload.amount)

    till.jobs.pay.handle(concurrency=4)(handle)
    till.jobs.once.handle(handle)
    return go_on


@asynccontextmanager
async def with_jobs_in_every_state(url: str) -> AsyncGenerator[Till]:
    """Store five jobs of queue `pay` and `once` that wait or are dead, and others that have ended."""
    async with Till.connect(url, options=ONCE) as till:
        go_on = handle_by_ending(till)
        await till.jobs.keyed.create(Payment(amount=7, customer="ann"))
        await till.jobs.keyed.create(Payment(amount=8))
        await till.jobs.old.create(Payment(amount=1))
        delayed = await till.jobs.pay.create(Payment(amount=1), delay=HOUR)
        cancelled = await till.jobs.pay.create(Payment(amount=2), delay=HOUR)
        await cancelled.cancel()
        await till.start()
        ends = {
            "completed": (till.jobs.pay, JobState.COMPLETED),
            "active": (till.jobs.pay, JobState.ACTIVE),
            "retry": (till.jobs.pay, JobState.RETRY),
            "dead": (till.jobs.once, JobState.DEAD),
        }
        refs = {end: await queue.create(Payment(amount=3, ending=end)) for end, (queue, _) in ends.items()}
        for end, (_, state) in ends.items():

            async def has_come(end: str = end, state: JobState = state) -> bool:
                return (await refs[end].get()).state is state

            await eventually(has_come)
        assert (await delayed.get()).state is JobState.PENDING
        try:
            yield till
        finally:
            go_on.set()


def subject_of(audit: Audit, name: str, kind: Kind = Kind.PAYLOAD) -> Subject:
    (found,) = (subject for subject in audit.subjects if (subject.kind, subject.name) == (kind, name))
    return found


def counted(subject: Subject) -> tuple[int, int, int, int]:
    return (
        subject.counted.waiting,
        subject.counted.dead,
        subject.refused.waiting,
        subject.refused.dead,
    )


async def store_created(till: Till, job_id: str, payload: JsonValue, *, queue: str = "pay") -> None:
    """Store a job as a runtime does that gives no digest."""
    fields: dict[str, JsonValue] = {"payload": payload, "service": "till"}
    await store_raw(
        till,
        job_id,
        json.dumps(foreign_body(EventType.CREATED, job_id, fields, queue=queue)).encode(),
        queue=queue,
    )


async def store_raw(
    till: Till, job_id: str, data: bytes, *, queue: str = "pay", kind: str = "created"
) -> None:
    await publish_acked(till.runtime.connection, f"trellis.jobs.till.{queue}.{job_id}.{kind}", data)


async def consumers_of(till: Till) -> list[str]:
    found: list[str] = []
    for stream in ("JOBS", "JOBS_WORK", "trellis"):
        match await call(till.runtime.connection, f"CONSUMER.NAMES.{stream}"):
            case {"consumers": [*names]}:
                found += map(str, names)
            case _:
                pass
    return found


@pytest.mark.parametrize("server_version", [None, "2.10.26", "2.12.8"])
async def test_jobs_of_every_state_that_a_worker_may_still_read_are_audited(
    server_version: str | None,
) -> None:
    binary = None if server_version is None else binary_of(server_version)
    async with NatsServer(binary=binary) as server, with_jobs_in_every_state(server.url) as till:
        before = await consumers_of(till)
        own = await audit_service(Till, server.url, ONCE)
        other = await audit_service(NextTill, server.url, ONCE)
        after = await consumers_of(till)

    assert own.is_safe
    assert {subject.name: counted(subject)[:2] for subject in own.subjects} == {
        "keyed": (2, 0),
        "old": (1, 0),
        "once": (0, 1),
        "pay": (3, 0),
    }
    assert not other.is_safe
    assert counted(subject_of(other, "pay")) == (3, 0, 3, 0)
    assert counted(subject_of(other, "once")) == (0, 1, 0, 1)
    assert set(subject_of(other, "pay").failures) == {("string_type", "/amount")}
    assert (other.refused, other.unclaimed) == (4, 1)
    assert after == before


async def test_a_payload_without_the_key_that_the_contract_takes_is_refused(nats_server: NatsServer) -> None:
    """A job of this runtime keeps the key under which it was created; other runtimes' have the key of the new contract."""
    async with Till.connect(nats_server.url, options=ONCE) as till:
        await till.jobs.keyed.create(Payment(amount=7))
        await store_created(till, "with", {"amount": 7, "customer": "ann"}, queue="keyed")
        await store_created(till, "without", {"amount": 8}, queue="keyed")
        audit = await audit_service(NextTill, nats_server.url, ONCE)

    subject = subject_of(audit, "keyed")
    (failure,) = subject.failures.items()
    assert counted(subject) == (3, 0, 1, 0)
    assert failure[0] == ("concurrency_key", "/customer")
    assert [example.id for example in failure[1].examples] == ["without"]


def with_upcasters() -> NextTill:
    service = NextTill(Runtime(NextTill.contract, ONCE))

    @service.jobs.pay.upcast(from_digest=Till.contract.digest)
    def from_numbers(old: JsonObject) -> NextPayment:
        if old["amount"] == 13:
            raise ValueError(f"unlucky {old}")
        return NextPayment(amount=str(old["amount"]))

    return service


async def test_upcasters_read_what_another_version_wrote(nats_server: NatsServer) -> None:
    async with Till.connect(nats_server.url, options=ONCE) as till:
        for amount in (1, 13):
            await till.jobs.pay.create(Payment(amount=amount))
        await store_created(till, "foreign", {"amount": 2})
        audit = await audit_service(with_upcasters(), nats_server.url, ONCE)

    subject = subject_of(audit, "pay")
    assert (counted(subject), subject.upcast) == ((3, 0, 2, 0), 1)
    assert subject.failures["upcast_failed", ""].text == "the upcaster from_numbers raised ValueError"
    assert subject.failures["string_type", "/amount"].examples[0].id == "foreign"


async def test_a_retry_by_another_runtime_keeps_the_writer_of_its_payload(nats_server: NatsServer) -> None:
    async with Till.connect(nats_server.url, options=ONCE) as till:
        service = with_upcasters()
        refs = [await till.jobs.pay.create(Payment(amount=1, ending="later"), delay=HOUR) for _ in range(2)]
        for ref, amount in zip(refs, (1, 2), strict=True):
            fields: dict[str, JsonValue] = {
                "payload": {"amount": amount, "ending": "later"},
                "service": "till",
            }
            body = foreign_body(EventType.RETRIED, ref.id, fields, queue="pay")
            await store_raw(till, ref.id, json.dumps(body).encode(), kind="retried")
        audit = await audit_service(service, nats_server.url, ONCE)

    subject = subject_of(audit, "pay")
    assert {digest: writer.refused for digest, writer in subject.writers.items()} == {"1" * 43: 0, "": 1}
    assert [example.id for example in subject.failures["string_type", "/amount"].examples] == [refs[1].id]


async def test_the_jobs_of_a_queue_that_the_contract_lacks_are_claimed_by_no_worker(
    nats_server: NatsServer,
) -> None:
    async with Till.connect(nats_server.url, options=ONCE) as till:
        await till.jobs.old.create_many([Payment(amount=number) for number in range(3)])
        audit = await audit_service(NextTill, nats_server.url, ONCE)

    subject = subject_of(audit, "old")
    assert (subject.is_declared, audit.unclaimed, audit.values, audit.is_safe) == (False, 3, 0, False)


async def test_places_have_no_indexes_and_no_names_of_senders(nats_server: NatsServer) -> None:
    async with Till.connect(nats_server.url, options=ONCE) as till:
        lines = [Line(sku="a", quantity=1), Line(sku="b", quantity=99)]
        for count in range(3):
            labels = {f"ann-{count}@example.com": 1}
            await till.jobs.pay.create(Payment(amount=1, lines=lines * (count + 1), labels=labels))
        audit = await audit_service(NextTill, nats_server.url, ONCE)

    failures = subject_of(audit, "pay").failures
    assert {key: failure.counted.total for key, failure in failures.items()} == {
        ("string_type", "/amount"): 3,
        ("less_than_equal", "/lines/*/quantity"): 3,
        ("string_type", "/labels/*"): 3,
    }
    assert "ann-" not in to_json([audit])


async def test_who_wrote_what_is_counted_and_jobs_of_other_runtimes_too(nats_server: NatsServer) -> None:
    async with (
        Till.connect(nats_server.url, options=ONCE) as till,
        NextTill.connect(nats_server.url, options=ONCE),
    ):
        await till.jobs.pay.create(Payment(amount=1))
        await store_created(till, "foreign", {"amount": "1"})
        await store_created(till, "wrong", {"amount": []})
        await store_created(till, "null", None)
        audit = await audit_service(NextTill, nats_server.url, ONCE)

    writers = subject_of(audit, "pay").writers
    assert {digest: (writer.values, writer.refused) for digest, writer in writers.items()} == {
        "1" * 43: (1, 1),
        "": (3, 2),
    }


async def test_what_is_not_a_job_is_counted_and_not_shown(nats_server: NatsServer) -> None:
    async with Till.connect(nats_server.url, options=ONCE) as till:
        for number, data in enumerate((b"", b"{", b"[]", b'{"jobId":"x"}', b"\xff\xfe", b"[" * 5000)):
            await store_raw(till, f"p{number}", data)
        await store_created(till, "elsewhere", {"amount": 1}, queue="pay")
        await store_raw(
            till, "moved", json.dumps(foreign_body(EventType.CREATED, "moved", queue="x")).encode()
        )
        await store_created(till, "nan", float("nan"))
        audit = await audit_service(Till, nats_server.url, ONCE, AuditRequest(keep_values=True))

    subject = subject_of(audit, "pay")
    assert counted(subject) == (9, 0, 8, 0)
    assert subject.failures["malformed", ""].counted.total == 7
    assert [example.value for example in subject.failures["malformed", ""].examples] == [None] * 7


async def test_a_large_payload_is_audited(nats_server: NatsServer) -> None:
    async with Till.connect(nats_server.url, options=ONCE) as till:
        for number in range(30):
            await till.jobs.pay.create(Payment(amount=number, customer="c" * 900_000))
        audit = await audit_service(Till, nats_server.url, ONCE)

    assert audit.is_safe
    assert counted(subject_of(audit, "pay"))[0] == 30


async def test_a_dead_job_whose_payload_is_gone_does_not_count_as_refused(nats_server: NatsServer) -> None:
    async with with_jobs_in_every_state(nats_server.url) as till:
        purge: dict[str, Any] = {"filter": "trellis.jobs.till.once.*.created"}  # Any: JSON
        await call(till.runtime.connection, "STREAM.PURGE.JOBS", purge)
        audit = await audit_service(NextTill, nats_server.url, ONCE)

    subject = subject_of(audit, "once")
    assert (counted(subject), subject.gone) == ((0, 0, 0, 0), 1)


async def test_a_retried_job_counts_with_the_payload_of_its_retry(nats_server: NatsServer) -> None:
    async with with_jobs_in_every_state(nats_server.url) as till:
        fields: dict[str, JsonValue] = {"payload": {"amount": "9"}, "service": "till"}
        dead = subject_of(await audit_service(NextTill, nats_server.url, ONCE), "once")
        job_id = dead.failures["string_type", "/amount"].examples[0].id
        body = foreign_body(EventType.RETRIED, job_id, fields, queue="once")
        await till.stop()
        await store_raw(till, job_id, json.dumps(body).encode(), queue="once", kind="retried")
        audit = await audit_service(NextTill, nats_server.url, ONCE)

    assert counted(subject_of(audit, "once")) == (1, 0, 0, 0)


async def test_results_and_events_are_audited_if_asked(nats_server: NatsServer) -> None:
    async with Till.connect(nats_server.url, options=ONCE) as till:
        handle_by_ending(till)
        await till.start()
        refs = [await till.jobs.pay.create(Payment(amount=number)) for number in range(4)]
        await asyncio.gather(*(ref.result(timeout=timedelta(seconds=20)) for ref in refs))
        for amount in (-3, -2, 1, 2):
            await till.paid.publish(Paid(amount=amount))
        without = await audit_service(NextTill, nats_server.url, ONCE)
        audit = await audit_service(NextTill, nats_server.url, ONCE, AuditRequest(results=3, events=3))

    assert without.is_safe
    assert counted(subject_of(audit, "pay", Kind.RESULT)) == (3, 0, 3, 0)
    assert counted(subject_of(audit, "Till.Paid", Kind.EVENT)) == (3, 0, 1, 0)
    assert set(subject_of(audit, "Till.Paid", Kind.EVENT).failures) == {("greater_than_equal", "/amount")}


async def test_chosen_messages_that_are_far_apart_are_all_read(nats_server: NatsServer) -> None:
    async with Till.connect(nats_server.url, options=ONCE) as till:
        first = await till.jobs.pay.create(Payment(amount=1))
        refs = await till.jobs.old.create_many([Payment(amount=number) for number in range(6_000)])
        last = await till.jobs.pay.create(Payment(amount=2))
        await till.jobs.pay.create(Payment(amount=3))
        await call(
            till.runtime.connection, "STREAM.PURGE.JOBS", {"filter": f"trellis.jobs.till.pay.{last.id}.>"}
        )
        audit = await audit_service(NextTill, nats_server.url, ONCE)

    assert len(refs) == 6_000
    assert counted(subject_of(audit, "pay"))[0] == 2
    assert subject_of(audit, "pay").failures["string_type", "/amount"].examples[0].id == first.id
