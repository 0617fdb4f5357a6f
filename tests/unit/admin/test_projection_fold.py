"""Folding: the rows of jobs are what the runtime's own readers say, whatever pages the events arrive in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import JsonValue
from trellis_admin.projection.arguments import hash_argument, list_arguments
from trellis_admin.projection.codes import (
    DELTA,
    EVENT_KINDS,
    IGNORED,
    RELEASED,
    RUN,
    STATES,
    WAIT,
    bucket_of,
    bucket_top,
    from_milliseconds,
)
from trellis_admin.projection.fold import Changes, fold
from trellis_admin.projection.incoming import Incoming, job_place
from trellis_admin.projection.rows import Job
from trellis_nats.clock import timestamp
from trellis_nats.jobs.model.event import LifecycleEvent, StoredEvent
from trellis_nats.jobs.model.lifecycle import JobLife
from trellis_nats.jobs.model.states import EventType, JobState

from tests.support.projected import START, heartbeat, histories, job_event, write_pages

SALT: Final = b"salt"
MEMBERS: Final = (
    *(
        "error",
        "errorDetail",
        "concurrency",
        "trigger",
        "lineage",
        "worker",
        "adminAction",
        "progress",
        "payload",
    ),
    *("timestamp", "deadline", "notBefore", "tries", "maxTries", "context", "service", "jobType", "logs"),
)
FILES: Final = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60
)


def fold_all(messages: Sequence[Incoming]) -> Changes:
    changes = Changes({})
    for message in messages:
        fold(changes, message, SALT)
    return changes


def stamp(at: int) -> str:
    return timestamp(from_milliseconds(at))


def only_job(changes: Changes) -> Job:
    (job,) = changes.jobs.values()
    assert job is not None
    return job


def counted_of(messages: Sequence[Incoming]) -> dict[str, list[StoredEvent]]:
    """Return the events of each job that the runtime counts, from the last `created` on."""
    lives: dict[str, JobLife] = {}
    counted: dict[str, list[StoredEvent]] = {}
    for message in messages:
        place = job_place(message.subject)
        event = None if place is None else LifecycleEvent.parse(message.data)
        if place is None or event is None:
            continue
        name = f"{place.prefix}.{place.id}"
        if name not in counted and event.event_type != EventType.CREATED:
            continue
        if lives.setdefault(name, JobLife()).take(event):
            if event.event_type == EventType.CREATED:
                counted[name] = []
            counted[name].append(StoredEvent(event, message.sequence, None))
    return counted


@given(histories())
def test_a_row_is_what_the_readers_of_the_runtime_say(messages: list[Incoming]) -> None:
    changes = fold_all(messages)

    rows = {f"{job.prefix}.{job.id}": job for job in changes.jobs.values() if job is not None}
    expected = counted_of(messages)
    assert rows.keys() == expected.keys()
    for name, events in expected.items():
        row, newest = rows[name], events[-1].event
        assert STATES[row.state] is newest.effective_state
        assert row.tries == newest.tries
        assert row.created_seq == events[0].sequence
        assert (row.ended_at is not None) is newest.is_terminal
        assert row.error == (newest.error if newest.is_terminal else row.error)
        made = [
            stored.sequence
            for before, stored in zip([None, *events], events, strict=False)
            if stored.event.event_type in EVENT_KINDS.keys() - {EventType.STALE_COMPLETION_IGNORED}
            or before is None
            or before.event.effective_state is not stored.event.effective_state
        ]
        assert row.state_seq == made[-1]


@given(histories())
def test_the_series_of_a_state_add_up_to_its_jobs(messages: list[Incoming]) -> None:
    changes = fold_all(messages)

    now = Counter((job.prefix, job.state) for job in changes.jobs.values() if job is not None)
    added: Counter[tuple[str, int]] = Counter()
    for (prefix, _, kind), number in changes.series.items():
        if DELTA <= kind < DELTA + len(STATES):
            added[prefix, kind - DELTA] += number
    assert {key: number for key, number in added.items() if number} == dict(now)


@FILES
@given(messages=histories(), cuts=st.lists(st.integers(0, 40)))
def test_the_rows_do_not_depend_on_the_pages(
    tmp_path: Path, messages: list[Incoming], cuts: list[int]
) -> None:
    bounds = [0, *sorted(cut for cut in cuts if cut <= len(messages)), len(messages)]
    pages = [messages[start:end] for start, end in pairwise(bounds)]

    assert write_pages(tmp_path / "pages", pages) == write_pages(tmp_path / "whole", [messages])


@FILES
@given(messages=histories(), again=st.integers(1, 10))
def test_a_page_that_overlaps_what_is_written_changes_nothing_twice(
    tmp_path: Path, messages: list[Incoming], again: int
) -> None:
    # Another process has written the first messages of this one's page.
    half = len(messages) // 2
    pages = [messages[:half], messages[max(0, half - again) :]]

    assert write_pages(tmp_path / "twice", [pages[0], pages[1]]) is not None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"jobId": "JOB"}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 10_000,
        "{}".encode("utf-16"),
    ],
)
def test_what_is_not_an_event_is_counted_and_changes_nothing(data: bytes) -> None:
    created = job_event(1, "JOB", EventType.CREATED)
    broken = Incoming(2, START, "trellis.jobs.shop.pack.JOB.completed", data)

    changes = fold_all([created, broken])

    assert changes.malformed == 1
    assert only_job(changes).state == STATES.index(JobState.PENDING)
    assert only_job(changes).last_seq == 2


@pytest.mark.parametrize(
    "subject",
    [
        "trellis.jobs.shop.pack.OTHER.completed",
        "trellis.jobs.shop.pack.JOB.failed",
        "trellis.jobs.shop.pack.JOB",
        "trellis.jobs.workers.shop.pack.w.heartbeat",
        "trellis.jobs." + "x" * 600 + ".pack.JOB.completed",
        "trellis.jobs.shop.pack.J\ud800B.completed",
    ],
)
def test_an_event_counts_only_under_its_own_subject(subject: str) -> None:
    created, completed = job_event(1, "JOB", EventType.CREATED), job_event(2, "JOB", EventType.COMPLETED)

    changes = fold_all([created, completed._replace(subject=subject)])

    assert changes.malformed == 1
    assert [job.state for job in changes.jobs.values() if job is not None] == [0]


@FILES
@given(
    fields=st.dictionaries(
        st.sampled_from(MEMBERS),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(
                        [
                            *(
                                "instanceId",
                                "key",
                                "keyHash",
                                "type",
                                "actor",
                                "bulkId",
                                "parentJobId",
                                "kind",
                            ),
                            *("step", "message", "current", "total"),
                        ]
                    ),
                    inner,
                )
            ),
            max_leaves=6,
        ),
    ),
    kind=st.sampled_from(EventType),
)
@example(fields={"progress": {"other": "\ud800"}, "payload": {}}, kind=EventType.PROGRESS)
@example(fields={"progress": {"current": 10**400, "total": 1e-300}}, kind=EventType.PROGRESS)
def test_no_member_of_an_event_stops_the_projection(
    tmp_path: Path, fields: dict[str, JsonValue], kind: EventType
) -> None:
    hostile = job_event(2, "JOB", kind, fields)

    rows = write_pages(
        tmp_path / "hostile",
        [[job_event(1, "JOB", EventType.CREATED), hostile], [job_event(3, "J2", EventType.CREATED)]],
    )

    assert rows["checkpoint"][0][0] == 3
    assert len(rows["job"]) == 2


def test_a_lost_slot_leaves_the_job_active_whatever_its_event_says() -> None:
    events = [
        job_event(1, "JOB", EventType.CREATED),
        job_event(2, "JOB", EventType.STARTED),
        job_event(3, "JOB", EventType.STALE_COMPLETION_IGNORED, {"state": "stale", "error": "lost"}),
    ]

    job = only_job(fold_all(events))

    assert (STATES[job.state], job.state_seq, job.last_seq) == (JobState.ACTIVE, 2, 3)


def test_each_redelivery_of_another_runtime_is_a_new_attempt() -> None:
    events = [
        job_event(1, "JOB", EventType.CREATED),
        job_event(2, "JOB", EventType.STARTED, {"previousState": "pending", "tries": 1}),
        job_event(3, "JOB", EventType.RETRY, {"error": "TimeoutError: slow"}),
        job_event(4, "JOB", EventType.STARTED, {"previousState": "pending", "tries": 1}),
        job_event(5, "JOB", EventType.COMPLETED),
    ]

    job = only_job(fold_all(events))

    assert (STATES[job.state], job.state_seq, job.tries) == (JobState.COMPLETED, 5, 1)
    assert (job.error, job.fingerprint) == (None, None)


def test_a_replayed_job_begins_again_and_names_its_operator() -> None:
    events = [
        job_event(1, "JOB", EventType.CREATED, {"maxTries": 5, "deadline": "2027-01-01T00:00:00.000Z"}),
        job_event(2, "JOB", EventType.STARTED, {"worker": {"instanceId": "w1"}}),
        job_event(3, "JOB", EventType.DEAD, {"error": "ValueError: no", "tries": 5}),
        job_event(
            4,
            "JOB",
            EventType.RETRIED,
            {
                "adminAction": {"actor": "anna", "bulkId": "b1", "reason": "fixed"},
                "trigger": {"kind": "manualReplay"},
            },
        ),
    ]

    dead, replayed = only_job(fold_all(events[:3])), only_job(fold_all(events))

    assert (dead.error_type, dead.worker, dead.ended_at) == ("ValueError", "w1", START + 3_000)
    assert (STATES[replayed.state], replayed.tries, replayed.max_tries) == (JobState.PENDING, 0, 3)
    assert (replayed.error, replayed.worker, replayed.started_at, replayed.ended_at) == (
        None,
        None,
        None,
        None,
    )
    assert (replayed.actor, replayed.bulk, replayed.trigger) == ("anna", "b1", "manualReplay")
    assert replayed.deadline == dead.deadline


def test_waits_and_runs_are_measured_from_when_a_job_could_begin() -> None:
    events = [
        job_event(1, "JOB", EventType.CREATED, {"notBefore": stamp(START + 3_000)}, at=START),
        job_event(4, "JOB", EventType.STARTED, at=START + 4_000),
        job_event(6, "JOB", EventType.RETRY, {"error": "released by a stopping worker"}, at=START + 6_000),
    ]

    changes = fold_all(events)

    kinds = {kind: number for (_, _, kind), number in changes.series.items() if kind < DELTA or kind >= WAIT}
    assert kinds == {
        EVENT_KINDS[EventType.CREATED]: 1,
        EVENT_KINDS[EventType.STARTED]: 1,
        RELEASED: 1,
        WAIT + bucket_of(1_000): 1,
        RUN + bucket_of(2_000): 1,
    }


def test_an_event_after_the_end_is_counted_as_ignored() -> None:
    events = [
        job_event(1, "JOB", EventType.CREATED),
        job_event(2, "JOB", EventType.COMPLETED),
        job_event(3, "JOB", EventType.FAILED, {"error": "too late"}),
    ]

    changes = fold_all(events)

    assert STATES[only_job(changes).state] is JobState.COMPLETED
    assert sum(number for (_, _, kind), number in changes.series.items() if kind == IGNORED) == 1


def test_the_newest_heartbeat_of_a_process_counts() -> None:
    changes = fold_all([heartbeat(1, "w1", running=1), heartbeat(2, "w1", running=3), heartbeat(3, "w2")])

    first, second = changes.workers.values()
    assert (first.instance, first.sequence, first.first_at, first.extension) == (
        "w1",
        2,
        START + 1_000,
        '{"running": 3}',
    )
    assert (second.prefix, second.concurrency) == ("trellis.jobs.shop.pack", 4)


@given(st.integers(2, 2**40))
def test_a_bucket_is_at_most_a_fifth_too_long(milliseconds: int) -> None:
    top = bucket_top(bucket_of(milliseconds)).total_seconds() * 1_000

    assert top >= min(milliseconds, 2**35) * 0.999
    assert top <= milliseconds * 1.2 + 1


def test_arguments_are_found_by_name_and_exact_value() -> None:
    payload: JsonValue = {
        "id": "90071992547409931",
        "to": {"city": "Ulm"},
        "lines": [{"sku": "a"}, {"sku": "b"}],
        "ok": True,
    }
    found = list_arguments(payload, SALT)

    for name, value in [
        ("id", "90071992547409931"),
        ("to.city", "Ulm"),
        ("/to/city", "Ulm"),
        ("lines.sku", "b"),
        ("ok", "true"),
    ]:
        assert hash_argument(SALT, name, value) in found
    assert hash_argument(SALT, "id", "90071992547409930") not in found
    assert hash_argument(b"other", "id", "90071992547409931") not in found


def test_at_most_16_arguments_are_kept_and_the_outer_ones_first() -> None:
    payload: JsonValue = {"deep": {str(n): n for n in range(100)}, "id": "x"}

    found = list_arguments(payload, SALT)

    assert len(found) == 16
    assert hash_argument(SALT, "id", "x") in found
