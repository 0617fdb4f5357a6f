"""Jobs that wait for another version of their contract, and stale ones, as the projection tells them apart."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import timedelta
from typing import Final

import pytest
from pydantic import JsonValue
from trellis_admin.projection.codes import from_milliseconds
from trellis_admin.projection.incoming import Incoming
from trellis_admin.queries import (
    NOT_RECREATED,
    AttentionKind,
    Selection,
    count_stale,
    count_targets,
    find_jobs,
    find_recreated,
    find_version_waits,
    find_wait_of,
    list_queues,
    parse_filter,
    read_overview,
    select_targets,
)
from trellis_nats.jobs.model.creation import derive_replacement_id
from trellis_nats.jobs.model.states import EventType, JobState

from tests.support.projected import START, heartbeat, job_event

MINUTE: Final = timedelta(minutes=1)
NOW: Final = from_milliseconds(START + 3_600_000)
DUE_AT: Final = from_milliseconds(START + 70_000)
OLD: Final = "n" * 43
BUSY: Final = [
    event
    for n in (11, 12, 13, 14)
    for event in (
        job_event(n, f"B{n}", EventType.CREATED, at=START),
        job_event(n + 10, f"B{n}", EventType.STARTED),
    )
]


def test_jobs_of_a_version_that_no_worker_has_are_noticed(
    written: Callable[[list[Incoming]], sqlite3.Connection],
) -> None:
    messages = [job_event(n, f"J{n}", EventType.CREATED, digest="n" * 43) for n in range(1, 4)]
    messages += [
        job_event(4, "OWN", EventType.CREATED, digest="d" * 43),
        heartbeat(5, "w1", contractDigest="d" * 43),
    ]
    db = written(messages)

    (found,) = read_overview(db, MINUTE, DUE_AT).attention

    assert (found.kind, found.subject, found.number) == (AttentionKind.OTHER_VERSION, "n" * 43, 3)
    assert read_overview(db, MINUTE, from_milliseconds(START + 6_000)).attention == (), (
        "a worker begins it, or gives it back"
    )
    (wait,) = find_version_waits(db, DUE_AT)
    assert (wait.jobs, wait.since, wait.live) == (3, from_milliseconds(START + 1_000), ("d" * 43,))
    (row,) = find_jobs(db, "J2")
    assert find_wait_of(db, row, DUE_AT) == wait
    (own,) = find_jobs(db, "OWN")
    assert find_wait_of(db, own, DUE_AT) is None


@pytest.mark.parametrize(
    "others",
    [
        pytest.param([heartbeat(40, "w1", contractDigest=OLD)], id="a worker of the version"),
        pytest.param([heartbeat(40, "w1")], id="a worker that does not say its version"),
        pytest.param([heartbeat(40, "w1", contractDigest="d", stopping=True)], id="no live worker"),
        pytest.param([heartbeat(40, "w1", contractDigest="d", paused=True)], id="paused"),
        pytest.param([*BUSY, heartbeat(40, "w1", contractDigest="d")], id="no free slot"),
        pytest.param([*BUSY[:2], heartbeat(40, "w1", contractDigest="d")], id="its turn has not come"),
        pytest.param([job_event(40, "OLD", EventType.COMPLETED)], id="it has ended"),
    ],
)
def test_a_job_that_waits_for_something_else_does_not_wait_for_a_version(
    written: Callable[[list[Incoming]], sqlite3.Connection], others: list[Incoming]
) -> None:
    old = job_event(5, "OLD", EventType.CREATED, digest=OLD)
    at = from_milliseconds(START + 100_000)

    assert find_version_waits(written([old, *others]), at) == []


@pytest.mark.parametrize(
    ("more", "jobs"),
    [
        pytest.param([], [], id="its key is taken"),
        pytest.param([job_event(41, "HOLDER", EventType.COMPLETED)], [1], id="its key is free"),
    ],
)
def test_a_job_whose_key_is_taken_waits_for_the_key(
    written: Callable[[list[Incoming]], sqlite3.Connection], more: list[Incoming], jobs: list[int]
) -> None:
    key: dict[str, JsonValue] = {"concurrency": {"key": "k", "keyHash": "a" * 64}}
    db = written(
        [
            job_event(1, "OLD", EventType.CREATED, key, digest=OLD),
            job_event(2, "HOLDER", EventType.CREATED, key, digest="d"),
            job_event(3, "HOLDER", EventType.STARTED, key),
            heartbeat(40, "w1", contractDigest="d"),
            *more,
        ]
    )

    assert [row.key for name in ("OLD", "HOLDER") for row in find_jobs(db, name)] == ["k", "k"]
    waits = find_version_waits(db, from_milliseconds(START + 100_000))
    assert [wait.jobs for wait in waits] == jobs


@pytest.mark.parametrize(("minutes", "is_noticed"), [(9, False), (11, True)])
def test_jobs_that_run_for_long_and_take_every_slot_are_noticed(
    written: Callable[[list[Incoming]], sqlite3.Connection], minutes: int, *, is_noticed: bool
) -> None:
    seconds = 30 + 60 * minutes
    db = written([*BUSY, job_event(30, "WAITS", EventType.CREATED), heartbeat(seconds - 5, "w1")])

    found = read_overview(db, MINUTE, from_milliseconds(START + seconds * 1_000)).attention

    waits_since = from_milliseconds(START + 30_000)
    named = [(item.kind, item.queue, item.number, item.since) for item in found]
    assert named == ([(AttentionKind.NO_SLOT, "pack", 1, waits_since)] if is_noticed else [])


@pytest.mark.parametrize(("running", "is_noticed"), [(3, False), (4, True)])
def test_handlers_of_cancelled_jobs_take_slots_too(
    written: Callable[[list[Incoming]], sqlite3.Connection], running: int, *, is_noticed: bool
) -> None:
    cancelled = [job_event(30 + n, f"B{n}", EventType.CANCELLED) for n in (11, 12, 13, 14)]
    waits = job_event(50, "WAITS", EventType.CREATED)
    db = written([*BUSY, *cancelled, waits, heartbeat(700, "w1", running=running)])

    found = read_overview(db, MINUTE, from_milliseconds(START + 705_000)).attention

    kind = AttentionKind.NO_SLOT if is_noticed else AttentionKind.STUCK
    assert [(item.kind, item.queue, item.number) for item in found] == [(kind, "pack", 1)]


def test_a_job_that_later_ones_overtake_waits_for_its_version(
    written: Callable[[list[Incoming]], sqlite3.Connection],
) -> None:
    db = written(
        [
            job_event(5, "OLD", EventType.CREATED, digest=OLD),
            job_event(11, "NEW", EventType.CREATED, digest="d"),
            job_event(12, "NEW", EventType.STARTED),
            heartbeat(40, "w1", contractDigest="d"),
        ]
    )

    assert [wait.digest for wait in find_version_waits(db, from_milliseconds(START + 100_000))] == [OLD]


def test_a_stale_job_that_was_created_again_is_not_counted(
    written: Callable[[list[Incoming]], sqlite3.Connection],
) -> None:
    lost = [
        job_event(n + shift, name, kind)
        for name, shift in (("A", 0), ("B", 10))
        for n, kind in enumerate((EventType.CREATED, EventType.STARTED, EventType.STALE), 1)
    ]
    again = derive_replacement_id("shop", "pack", "A", 3)
    db = written(
        [
            *lost,
            job_event(20, again, EventType.CREATED, {"lineage": {"parentJobId": "A", "rootJobId": "A"}}),
            job_event(21, "CHILD", EventType.CREATED, {"lineage": {"parentJobId": "B", "rootJobId": "B"}}),
        ]
    )

    (queue,) = list_queues(db, MINUTE, NOW)
    assert (queue.stale, queue.states[JobState.STALE]) == (1, 2)
    assert count_stale(db, NOW - timedelta(days=1)) == 1
    assert count_stale(db, NOW) == 0
    assert [find_recreated(db, row) for name in ("A", "B") for row in find_jobs(db, name)] == [again, None]
    selection = Selection(parse_filter("state:stale", NOW), 21)
    assert [target.id for target in select_targets(db, selection, limit=9, condition=NOT_RECREATED)] == ["B"]
    assert count_targets(db, selection, condition=NOT_RECREATED) == 1
    assert count_targets(db, selection, condition=NOT_RECREATED, overdue_at=NOW) == 0
