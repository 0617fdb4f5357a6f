"""What the message of a parked job says, and what it may not."""

from datetime import UTC, datetime, timedelta

import pytest
from trellis_nats.jobs.delay.server_clock import ServerClock
from trellis_nats.jobs.model.parked_job import ParkedJob
from trellis_nats.jobs.model.subjects import JobSubjects

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
PARKED = ParkedJob.of("J1", "created", 7, NOON)


def test_a_message_reads_as_it_was_written() -> None:
    assert ParkedJob.parse(PARKED.encode()) == PARKED
    assert PARKED.encode() == (
        b'{"jobId":"J1","eventType":"created","sequence":7,"until":"2026-01-01T12:00:00.000Z"}'
    )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b'{"jobId":"J1","eventType":"created","sequence":0,"until":""}',
        b'{"jobId":"J1.>","eventType":"created","sequence":1,"until":""}',
        b'{"jobId":"J1","eventType":"completed","sequence":1,"until":""}',
    ],
)
def test_what_names_no_job_is_not_a_message(data: bytes) -> None:
    assert ParkedJob.parse(data) is None


def test_a_job_is_overdue_after_its_time() -> None:
    assert not PARKED.is_overdue(NOON)
    assert PARKED.is_overdue(NOON + timedelta(milliseconds=1))
    assert PARKED.model_copy(update={"until": "soon"}).is_overdue(NOON)


def test_each_job_has_a_subject_and_each_queue_one_for_due_jobs() -> None:
    subjects = JobSubjects("trellis.jobs.shop.pack")

    assert subjects.parked("J1") == "trellis.delayed.at.shop.pack.J1"
    assert subjects.due == "trellis.delayed.due.shop.pack"


def test_the_servers_clock_goes_on_by_the_monotonic_clock() -> None:
    ticks = [100.0]
    clock = ServerClock(lambda: ticks[0])
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(minutes=1)

    clock.observe(NOON)
    clock.observe(None)
    ticks[0] += 90

    assert clock.now() == NOON + timedelta(seconds=90)
