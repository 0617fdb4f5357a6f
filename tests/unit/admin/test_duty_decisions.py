"""What the duties of a fleet decide, without a server."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trellis_admin.duties.advisory import (
    Advisory,
    Exhausted,
    Spared,
    judge_advisory,
    lifecycle_prefix,
    parse_advisory,
)
from trellis_admin.duties.job_life import JobLife, life_of
from trellis_admin.duties.overdue import OverdueDecision, judge_overdue
from trellis_nats.clock import timestamp
from trellis_nats.jobs.model.event import LifecycleEvent, StoredEvent
from trellis_nats.jobs.model.states import EventType, JobState

from tests.support.foreign_events import foreign_body

NOW: Final = datetime(2026, 11, 30, 4, 0, tzinfo=UTC)
GRACE: Final = timedelta(seconds=30)
JOB: Final = "01M8KT1SQRNGY82PMCC50CW60P"
ADVISORY: Final = {
    "type": "io.nats.jetstream.advisory.v1.max_deliver",
    "id": "BW3wgtorDjab8XCwLTOdDt",
    "timestamp": "2026-11-30T04:00:00.731097285Z",
    "stream": "JOBS_WORK",
    "consumer": "shop__pack",
    "stream_seq": 7,
    "deliveries": 5,
}
REPORTED: Final = Advisory(stream="JOBS_WORK", consumer="shop__pack", sequence=7, deliveries=5, at=NOW)
BEFORE: Final = NOW - timedelta(days=1)


def events(kinds: str, **fields: Any) -> list[StoredEvent]:
    """Return stored events of one job; `fields` go into the events that open it."""
    return [
        StoredEvent(
            LifecycleEvent.model_validate(
                foreign_body(
                    EventType(kind),
                    JOB,
                    {"timestamp": timestamp(BEFORE + timedelta(seconds=at))}
                    | (fields if kind in {"created", "retried"} else {}),
                )
            ),
            10 + at,
            None,
        )
        for at, kind in enumerate(kinds.split())
    ]


def life(kinds: str, **fields: Any) -> JobLife:
    found = life_of(events(kinds, **fields))
    assert found is not None
    return found


def begun_by(instance: str | None, kinds: str = "created started", **fields: Any) -> JobLife:
    history = events(kinds, **fields)
    started = history[-1].event.model_copy(update={"worker": {"instanceId": instance} if instance else None})
    history[-1] = history[-1]._replace(event=started)
    found = life_of(history)
    assert found is not None
    return found


PASSED: Final = {"deadline": timestamp(NOW - GRACE)}


@pytest.mark.parametrize(
    ("job", "decision"),
    [
        (life("created"), OverdueDecision.NOT_DUE),
        (life("created", deadline="soon"), OverdueDecision.NOT_DUE),
        (life("created", deadline=timestamp(NOW)), OverdueDecision.NOT_DUE),
        (life("created", deadline=timestamp(NOW - GRACE + timedelta(seconds=1))), OverdueDecision.NOT_DUE),
        (life("created", **PASSED), OverdueDecision.EXPIRE),
        (life("created started retry", **PASSED), OverdueDecision.EXPIRE),
        (begun_by(None, **PASSED), OverdueDecision.EXPIRE),
        (begun_by("w1", **PASSED), OverdueDecision.ASK_WORKER),
        (life("created started failed retried", **PASSED), OverdueDecision.EXPIRE),
        *(
            (life(f"created started {kind}", **PASSED), OverdueDecision.ENDED)
            for kind in ("completed", "failed", "cancelled", "expired", "stale", "dead")
        ),
        (life("created skipped", **PASSED), OverdueDecision.ENDED),
        (life("created started dead dismissed", **PASSED), OverdueDecision.ENDED),
        (life("created started completed progress", **PASSED), OverdueDecision.ENDED),
    ],
)
def test_a_job_expires_when_its_deadline_has_passed_for_longer_than_the_grace(
    job: JobLife, decision: OverdueDecision
) -> None:
    assert judge_overdue(job, at=NOW, grace=GRACE) is decision


def test_the_deadline_is_that_of_the_event_from_which_the_job_is_worked() -> None:
    history = [*events("created started failed", **PASSED), *events("retried")]
    history[-1] = history[-1]._replace(sequence=20)
    replayed = life_of(history)

    assert replayed is not None
    assert judge_overdue(replayed, at=NOW, grace=GRACE) is OverdueDecision.NOT_DUE


def test_the_next_write_names_the_newest_event_also_one_that_does_not_count() -> None:
    history = life("created started completed progress")

    assert history.newest.event.event_type == EventType.PROGRESS
    assert history.state is JobState.COMPLETED


@pytest.mark.parametrize("kinds", ["started", "completed", "started retry"])
def test_a_history_whose_beginning_was_purged_is_not_judged(kinds: str) -> None:
    assert life_of(events(kinds)) is None


def test_an_advisory_is_read() -> None:
    advisory = parse_advisory(json.dumps(ADVISORY).encode(), stored_at=BEFORE)

    assert advisory is not None
    assert (advisory.stream, advisory.consumer, advisory.sequence, advisory.deliveries) == (
        "JOBS_WORK",
        "shop__pack",
        7,
        5,
    )
    assert timestamp(advisory.at) == "2026-11-30T04:00:00.731Z"


def test_the_spelling_of_other_runtimes_is_read() -> None:
    renamed = {name: value for name, value in ADVISORY.items() if name not in {"stream_seq", "deliveries"}}
    advisory = parse_advisory(
        json.dumps(renamed | {"streamSeq": 7, "num_deliveries": 5}).encode(), stored_at=BEFORE
    )

    assert advisory is not None
    assert (advisory.sequence, advisory.deliveries) == (7, 5)


def test_an_advisory_without_a_time_has_that_of_its_storage() -> None:
    advisory = parse_advisory(json.dumps(ADVISORY | {"timestamp": "yesterday"}).encode(), stored_at=BEFORE)

    assert advisory is not None
    assert advisory.at == BEFORE


@pytest.mark.parametrize(
    "changed",
    [
        {"type": "io.nats.jetstream.advisory.v1.terminated"},
        {"type": None},
        {"stream": ""},
        {"stream": "JOBS.WORK"},
        {"stream": "JOBS WORK"},
        {"stream": ">"},
        {"stream": 7},
        {"consumer": "a.b"},
        {"consumer": "*"},
        {"consumer": "x" * 256},
        {"stream_seq": 0},
        {"stream_seq": -1},
        {"stream_seq": "7"},
        {"stream_seq": True},
        {"deliveries": None},
        {"deliveries": 1.5},
    ],
)
def test_a_malformed_advisory_is_refused(changed: dict[str, object]) -> None:
    assert parse_advisory(json.dumps(ADVISORY | changed).encode(), stored_at=BEFORE) is None


@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)))
def test_any_bytes_are_read_without_an_exception(data: bytes) -> None:
    parse_advisory(data, stored_at=BEFORE)


def test_a_deeply_nested_text_is_refused() -> None:
    assert parse_advisory(b"[" * 100_000, stored_at=BEFORE) is None


@pytest.mark.parametrize(
    ("subject", "prefix"),
    [
        ("trellis.work.shop.pack", "trellis.jobs.shop.pack"),
        ("trellis.work.tr_jobs_1.tr_jq_2", "trellis.jobs.tr_jobs_1.tr_jq_2"),
        ("trellis.work.shop", None),
        ("trellis.work.shop.pack.more", None),
        ("trellis.work.shop.*", None),
        ("trellis.delayed.due.shop.pack", None),
        ("events.v1.Orders.Created", None),
        ("xtrellis.work.shop.pack", None),
    ],
)
def test_the_subject_of_the_events_follows_from_that_of_the_work(subject: str, prefix: str | None) -> None:
    assert lifecycle_prefix(subject) == prefix


@pytest.mark.parametrize(
    ("kinds", "previous"),
    [
        ("created", JobState.PENDING),
        ("created started", JobState.ACTIVE),
        ("created started retry", JobState.RETRY),
        ("created started progress", JobState.ACTIVE),
    ],
)
def test_a_job_whose_message_is_not_delivered_any_more_is_dead(kinds: str, previous: JobState) -> None:
    work, *_ = events(kinds)
    found = judge_advisory(REPORTED, work.event, life(kinds), consumer_created=BEFORE)

    assert found == Exhausted(
        previous, 5, "max deliveries exceeded: stream=JOBS_WORK consumer=shop__pack deliveries=5"
    )


@pytest.mark.parametrize(
    "kinds",
    [
        "created started completed",
        "created started failed",
        "created started dead",
        "created cancelled",
        "created started dead dismissed",
    ],
)
def test_a_job_that_has_ended_is_spared(kinds: str) -> None:
    work, *_ = events(kinds)

    assert isinstance(judge_advisory(REPORTED, work.event, life(kinds), consumer_created=BEFORE), Spared)


def test_an_advisory_about_the_message_before_a_retry_is_outdated() -> None:
    history = "created started dead retried"
    created, *_, retried = events(history)
    old = judge_advisory(REPORTED, created.event, life(history), consumer_created=BEFORE)
    new = judge_advisory(REPORTED, retried.event, life(history), consumer_created=BEFORE)

    assert isinstance(old, Spared)
    assert isinstance(new, Exhausted)


@pytest.mark.parametrize("created_at", [None, NOW + timedelta(seconds=1)])
def test_a_consumer_that_was_created_since_delivers_the_message(created_at: datetime | None) -> None:
    work, *_ = events("created started")
    found = judge_advisory(REPORTED, work.event, life("created started"), consumer_created=created_at)

    assert isinstance(found, Spared)


def test_attempts_are_those_of_the_job_where_it_counted_more() -> None:
    work, started = events("created started")
    counted = started.event.model_copy(update={"tries": 9})
    job = life_of([work, started._replace(event=counted)])

    assert job is not None
    found = judge_advisory(REPORTED, work.event, job, consumer_created=BEFORE)
    assert isinstance(found, Exhausted)
    assert found.tries == 9
