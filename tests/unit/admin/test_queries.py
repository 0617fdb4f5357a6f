"""Queries: what an index answers is what a look at every row answers."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import JsonValue
from trellis_admin.projection import connect_reader
from trellis_admin.projection.codes import from_milliseconds
from trellis_admin.projection.incoming import Incoming
from trellis_admin.queries import (
    Attention,
    AttentionKind,
    Count,
    JobFilter,
    JobRow,
    Selection,
    Sort,
    count_jobs,
    count_states,
    find_jobs,
    find_silence,
    list_error_groups,
    list_jobs,
    list_keys,
    list_overdue,
    list_queues,
    list_workers,
    parse_filter,
    read_family,
    read_overview,
    read_status,
    select_targets,
)
from trellis_nats.jobs.model.states import EventType, JobState

from tests.support.projected import START, heartbeat, histories, job_event, write_pages

NOW: Final = from_milliseconds(START + 3_600_000)
FILES: Final = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
NEWEST: Final = 2**40

MATCHERS: Final[dict[str, Callable[[JobRow], bool]]] = {
    "": lambda _row: True,
    "state:dead,failed": lambda row: row.state in (JobState.DEAD, JobState.FAILED),
    "state:pending": lambda row: row.state is JobState.PENDING,
    "queue:pack": lambda row: row.queue == "pack",
    "queue:sort,none state:retry,active,dead": lambda row: (
        row.queue == "sort" and row.state in (JobState.RETRY, JobState.ACTIVE, JobState.DEAD)
    ),
    "service:other": lambda _row: False,
    "error:ValueError": lambda row: row.error_type == "ValueError",
    'error:"is late"': lambda row: "is late" in (row.error or ""),
    "worker:worker-1": lambda row: row.worker == "worker-1",
    "worker:worker*": lambda row: row.worker is not None,
    "actor:op-1": lambda row: row.actor == "op-1",
    "bulk:b-1": lambda row: row.bulk == "b-1",
    "id:trellis.jobs.shop.pack.JOB1": lambda row: row.id == "JOB1" and row.queue == "pack",
    "id:trellis.jobs.shop.pack.JOB,trellis.jobs.shop.none.JOB1": lambda _row: False,
    "id:JOB1,JOB3": lambda row: row.id in ("JOB1", "JOB3"),
    f"created:>{datetime.fromtimestamp(START / 1000 + 20, UTC).isoformat()}": lambda row: (
        row.created_at >= from_milliseconds(START + 20_000)
    ),
    f"created:<{datetime.fromtimestamp(START / 1000 + 40, UTC).isoformat()} state:pending,completed": lambda row: (
        row.created_at < from_milliseconds(START + 40_000)
        and row.state in (JobState.PENDING, JobState.COMPLETED)
    ),
    f"since:>{datetime.fromtimestamp(START / 1000 + 30, UTC).isoformat()}": lambda row: (
        row.state_at >= from_milliseconds(START + 30_000)
    ),
    "late": lambda row: "late" in (row.error or ""),
}


def filter_of(text: str) -> JobFilter:
    return parse_filter(text, NOW)


@FILES
@given(
    messages=histories(), text=st.sampled_from([*MATCHERS]), at=st.integers(0, 60), limit=st.integers(1, 7)
)
def test_a_selection_has_the_jobs_that_match_and_have_not_changed(
    tmp_path: Path, messages: list[Incoming], text: str, at: int, limit: int
) -> None:
    write_pages(tmp_path / "p", [messages])
    with closing(connect_reader(tmp_path / "p")) as db:
        every = list_jobs(db, Selection(JobFilter(), NEWEST), limit=1_000).rows
        matching = [row for row in every if MATCHERS[text](row)]
        unchanged = [row for row in matching if row.state_sequence <= at]
        selection = Selection(filter_of(text), at)

        for sort in Sort:
            listed = list(walk(db, selection, sort, limit))
            assert {row.id + row.queue for row in listed} == {row.id + row.queue for row in unchanged}
            order = [row.state_sequence if sort is Sort.CHANGED else row.created_sequence for row in listed]
            assert order == sorted(order, reverse=sort is not Sort.OLDEST)

        page = list_jobs(db, selection, limit=limit)
        assert (page.total, page.newer) == (Count(len(unchanged)), Count(len(matching) - len(unchanged)))
        assert count_jobs(db, selection) == Count(len(unchanged))
        targets = select_targets(db, selection, limit=1_000)
        assert [target.state_sequence for target in targets] == sorted(
            row.state_sequence for row in unchanged
        )
        assert {(target.id, target.state) for target in targets} == {(row.id, row.state) for row in unchanged}
        without = [row for row in every if row.state_sequence <= at]
        if "state:" not in text and not text:
            expected = Counter(row.state for row in without)
            assert {
                state: count.number for state, count in count_states(db, selection).items() if count.number
            } == expected


def walk(db: sqlite3.Connection, selection: Selection, sort: Sort, limit: int) -> Iterator[JobRow]:
    before: int | None = None
    while True:
        page = list_jobs(db, selection, before=before, limit=limit, sort=sort)
        yield from page.rows
        if page.next is None:
            return
        before = page.next


def test_states_are_counted_whatever_states_the_filter_asks_for(
    written: Callable[[list[Incoming]], sqlite3.Connection],
) -> None:
    db = written(
        [
            job_event(1, "A", EventType.CREATED),
            job_event(2, "B", EventType.CREATED),
            job_event(3, "B", EventType.DEAD, {"error": "ValueError: late"}),
            job_event(4, "C", EventType.CREATED, queue="sort"),
        ]
    )

    counts = count_states(db, Selection(filter_of("queue:pack state:dead"), NEWEST))

    assert {state: count for state, count in counts.items() if count.number} == {
        JobState.PENDING: Count(1),
        JobState.DEAD: Count(1),
    }


def test_jobs_are_found_by_arguments_keys_and_traces(
    written: Callable[[list[Incoming]], sqlite3.Connection],
) -> None:
    key: dict[str, JsonValue] = {"concurrency": {"key": "shop/a/1", "keyHash": "ab" * 32}}
    db = written(
        [
            job_event(
                1, "JOBA", EventType.CREATED, {"payload": {"id": 90071992547409931}, **key}, digest="d" * 43
            ),
            job_event(2, "JOBB", EventType.CREATED, {"payload": {"id": "x", "to": {"city": "Ulm"}}}),
        ]
    )

    def ids(text: str) -> list[str]:
        return [row.id for row in list_jobs(db, Selection(filter_of(text), NEWEST)).rows]

    assert ids("arg:id=90071992547409931") == ["JOBA"]
    assert ids("arg:id=90071992547409932") == []
    assert ids("arg:/to/city=Bonn") == []
    assert ids("arg:to.city=Bonn,to.city=Ulm") == ["JOBB"]
    assert ids("key:shop/a/1") == ids("key:shop*") == ids("shop/a/1") == ids(f"key:{'ab' * 6}") == ["JOBA"]
    assert ids("contract:dddddddd") == ["JOBA"]
    assert ids("trace:8baea45b310c7989b409a4d23b383c25") == ["JOBB", "JOBA"]
    assert [row.id for row in find_jobs(db, "JOB")] == ["JOBA", "JOBB"]
    assert [row.id for row in find_jobs(db, "trellis.jobs.shop.pack.JOBB")] == ["JOBB"]
    assert [(row.key, row.waiting) for row in list_keys(db, prefix="trellis.jobs.shop.pack")] == [
        ("shop/a/1", 1)
    ]


def test_more_than_ten_thousand_are_not_counted(
    written: Callable[[list[Incoming]], sqlite3.Connection],
) -> None:
    worker: dict[str, JsonValue] = {"worker": {"instanceId": "w1"}}
    messages: list[Incoming] = []
    for number in range(10_050):
        messages.append(job_event(2 * number + 1, f"J{number}", EventType.CREATED))
        messages.append(job_event(2 * number + 2, f"J{number}", EventType.STARTED, worker))
    db = written(messages)

    assert count_jobs(db, Selection(filter_of("worker:w1"), NEWEST)) == Count(10_000, is_exact=False)
    assert count_jobs(db, Selection(filter_of("state:active"), NEWEST)) == Count(10_050)


def test_errors_are_grouped_by_what_does_not_vary(
    written: Callable[[list[Incoming]], sqlite3.Connection],
) -> None:
    messages: list[Incoming] = []
    for number in range(6):
        name, at = f"J{number}", 3 * number + 1
        text = f"ValueError: order {number} is late" if number % 3 else "OutOfStock: none left"
        messages += [
            job_event(at, name, EventType.CREATED),
            job_event(at + 1, name, EventType.DEAD, {"error": text}),
        ]
    db = written(messages)

    first, second = list_error_groups(db, NOW)

    assert (first.error_type, first.pattern, first.jobs) == ("ValueError", "order <number> is late", 4)
    assert (second.error_type, second.pattern, second.jobs) == ("OutOfStock", "none left", 2)
    assert sum(first.per_hour) == 4
    assert first.first_seen < first.last_seen
    in_group = list_jobs(db, Selection(filter_of(f"error:{first.fingerprint}"), NEWEST))
    assert in_group.total == Count(4)
    assert list_error_groups(db, NOW, queue="sort") == []
    assert list_error_groups(db, NOW, fingerprint=second.fingerprint) == [second]


def test_a_family_is_a_tree_even_if_its_jobs_name_each_other(
    written: Callable[[list[Incoming]], sqlite3.Connection],
) -> None:
    def child(sequence: int, name: str, parent: str, root: str) -> Incoming:
        return job_event(
            sequence, name, EventType.CREATED, {"lineage": {"parentJobId": parent, "rootJobId": root}}
        )

    db = written(
        [
            job_event(1, "ROOT", EventType.CREATED),
            child(2, "CHILD1", "ROOT", "ROOT"),
            child(3, "CHILD2", "ROOT", "ROOT"),
            child(4, "GRAND", "CHILD1", "ROOT"),
            child(5, "X", "Y", "LOOP"),
            child(6, "Y", "X", "LOOP"),
        ]
    )

    (root,) = read_family(db, find_jobs(db, "GRAND")[0]).roots
    assert root.job.id == "ROOT"
    assert [(member.job.id, [below.job.id for below in member.children]) for member in root.children] == [
        ("CHILD1", ["GRAND"]),
        ("CHILD2", []),
    ]
    loop = read_family(db, find_jobs(db, "X")[0])
    assert {member.job.id for member in loop.roots} == {"X", "Y"}


def test_overdue_jobs_are_listed(written: Callable[[list[Incoming]], sqlite3.Connection]) -> None:
    db = written([job_event(1, "A", EventType.CREATED, {"deadline": "2025-06-15T15:10:00.000Z"})])

    assert [target.id for target in list_overdue(db, START + 3_600_000, limit=5)] == ["A"]
    assert list_overdue(db, START, limit=5) == []


def minutes(number: float) -> int:
    return START + round(number * 60_000)


@pytest.fixture
def busy(written: Callable[[list[Incoming]], sqlite3.Connection]) -> sqlite3.Connection:
    """An hour: a job is completed each minute; one is dead; two wait; one retries; two workers, one of them silent."""
    messages: list[Incoming] = []
    sequence = 0

    def add(name: str, kind: EventType, at: int, **fields: JsonValue) -> None:
        nonlocal sequence
        sequence += 1
        messages.append(job_event(sequence, name, kind, fields, at=at)._replace(stored_at=at))

    for number in range(60):
        add(f"J{number}", EventType.CREATED, minutes(number))
        add(f"J{number}", EventType.STARTED, minutes(number) + 4_000, worker={"instanceId": "w1"})
        ending = EventType.DEAD if number == 50 else EventType.COMPLETED
        error: dict[str, JsonValue] = {"error": "ValueError: late"} if number == 50 else {}
        add(f"J{number}", ending, minutes(number) + 14_000, **error)
    add("W1", EventType.CREATED, minutes(50))
    add("W2", EventType.CREATED, minutes(55), notBefore="2030-01-01T00:00:00.000Z")
    add("R1", EventType.CREATED, minutes(40))
    add("R1", EventType.STARTED, minutes(41), worker={"instanceId": "w2"})
    add("R1", EventType.RETRY, minutes(42), error="ValueError: slow", notBefore="2030-01-01T00:00:00.000Z")
    add("A1", EventType.CREATED, minutes(43))
    add("A1", EventType.STARTED, minutes(44), worker={"instanceId": "w2"})
    for name, at in (("w1", minutes(60) - 10_000), ("w2", minutes(45))):
        sequence += 1
        beat = heartbeat(sequence, name)
        body = json.loads(beat.data) | {"timestamp": from_milliseconds(at).isoformat()}
        if name == "w1":
            body |= {"running": 0, "contractDigest": "d" * 43}
        messages.append(beat._replace(data=json.dumps(body).encode(), stored_at=minutes(60)))
    return written(messages)


def test_a_queue_is_described_now_and_in_its_window(busy: sqlite3.Connection) -> None:
    (queue,) = list_queues(busy, timedelta(hours=1), NOW)

    assert (queue.waiting, queue.running, queue.retrying, queue.dead) == (2, 1, 1, 1)
    assert (queue.workers, queue.slots, queue.paused_workers) == (1, 4, 0)
    assert queue.oldest == from_milliseconds(minutes(50))
    assert queue.next_retry == datetime(2030, 1, 1, tzinfo=UTC)
    assert queue.retries_due == 0
    assert (queue.ended_badly, queue.died, queue.failed_attempts) == (1, 1, 2)
    assert queue.ended_per_minute == 1.0
    assert queue.success == pytest.approx(58 / 59, abs=0.001)
    assert queue.run_p95 is not None
    assert timedelta(seconds=10) <= queue.run_p95 <= timedelta(seconds=12)
    assert queue.wait_p95 is not None
    assert timedelta(seconds=4) <= queue.wait_p95 <= timedelta(seconds=5)
    assert len(queue.history.values) == 60
    assert queue.history.values[-1] == 2
    assert queue.history.values[30] == 0
    assert sum(queue.ended.values) == queue.completed + queue.ended_badly


@pytest.mark.parametrize(
    "window", [timedelta(minutes=15), timedelta(hours=6), timedelta(hours=24), timedelta(days=7)]
)
def test_the_overview_adds_up(busy: sqlite3.Connection, window: timedelta) -> None:
    overview = read_overview(busy, window, NOW)

    assert (overview.waiting, overview.running, overview.retrying, overview.dead) == (2, 1, 1, 1)
    assert (overview.error_groups, overview.died) == (1, 1)
    assert overview.dead_history.values[-1] == 1
    assert overview.dead_history.values[0] == 0
    assert overview.running_history.values[-1] == 1
    assert sum(overview.completed_series.values) == overview.completed
    assert overview.waiting_history.step * len(overview.waiting_history.values) >= window
    assert len(overview.waiting_history.values) <= 170
    if window > timedelta(hours=1):
        assert overview.completed == 59


def attention(db: sqlite3.Connection, now: datetime) -> tuple[Attention, ...]:
    return read_overview(db, timedelta(minutes=1), now).attention


def test_what_needs_an_operator_comes_worst_first(busy: sqlite3.Connection) -> None:
    found = attention(busy, NOW)

    assert [(item.kind, item.subject, item.number) for item in found] == [
        (AttentionKind.DEAD, "ValueError", 1),
        (AttentionKind.SILENT, "w2", 1),
        (AttentionKind.STUCK, "pack", 2),
    ]


def test_workers_in_trouble_come_first(busy: sqlite3.Connection) -> None:
    silent, alive = list_workers(busy, NOW)

    assert (silent.instance_id, silent.is_silent, silent.running, silent.slots) == ("w2", True, 1, 4)
    assert (alive.instance_id, alive.is_silent, alive.digest, alive.running) == ("w1", False, "d" * 43, 0)


@pytest.mark.parametrize(
    ("beat", "has_stopped"),
    [(heartbeat(2, "w2", stopping=True), False), (heartbeat(2, "w2", stopping=True, stopped=True), True)],
    ids=["stopping", "stopped"],
)
def test_a_process_that_stops_is_not_silent_and_has_no_slots(
    written: Callable[[list[Incoming]], sqlite3.Connection], beat: Incoming, has_stopped: bool
) -> None:
    db = written([heartbeat(1, "w1"), beat])

    listed = list_workers(db, from_milliseconds(START + 60_000))
    stopping, alive = reversed(listed) if has_stopped else listed
    assert (stopping.instance_id, stopping.is_stopping, stopping.is_silent) == ("w2", True, False)
    assert stopping.has_stopped == has_stopped
    assert not alive.is_stopping
    assert read_overview(db, timedelta(hours=1), from_milliseconds(START + 60_000)).slots == 4
    assert [worker.instance_id for worker in list_workers(db, NOW)] == ["w1"]


def test_a_silent_worker_has_the_jobs_that_it_left_though_its_last_heartbeat_knew_none(
    written: Callable[[list[Incoming]], sqlite3.Connection],
) -> None:
    db = written(
        [
            heartbeat(1, "w1", running=0),
            job_event(2, "A", EventType.CREATED),
            job_event(3, "A", EventType.STARTED, {"worker": {"instanceId": "w1"}}),
        ]
    )

    (soon,) = list_workers(db, from_milliseconds(START + 10_000))
    (silent,) = list_workers(db, NOW)
    assert (soon.is_silent, soon.running) == (False, 0)
    assert (silent.is_silent, silent.running) == (True, 1)
    for later in (NOW, NOW + timedelta(days=3)):
        assert AttentionKind.SILENT in {item.kind for item in attention(db, later)}
    (job,) = find_jobs(db, "A")
    assert find_silence(db, job, from_milliseconds(START + 10_000)) is None
    assert find_silence(db, job, NOW) == silent.heartbeat_at


@pytest.mark.parametrize(("lag", "is_blocked"), [(29_000, False), (45_000, True)])
def test_a_worker_whose_event_loop_is_blocked_needs_an_operator(
    written: Callable[[list[Incoming]], sqlite3.Connection], lag: int, *, is_blocked: bool
) -> None:
    db = written([heartbeat(1, "w1", running=1, loopLagMs=lag)])
    soon = from_milliseconds(START + 2_000)

    (worker,) = list_workers(db, soon)
    assert worker.is_blocked is is_blocked
    named = [(item.kind, item.subject, item.number) for item in attention(db, soon)]
    assert named == ([(AttentionKind.BLOCKED, "w1", 1)] if is_blocked else [])


@pytest.mark.parametrize(("age", "late", "silent"), [(40, 0, 0), (50, 1, 0), (80, 0, 1)])
def test_a_worker_is_late_before_it_is_silent(
    written: Callable[[list[Incoming]], sqlite3.Connection], age: int, late: int, silent: int
) -> None:
    db = written([heartbeat(1, "w1")])
    now = from_milliseconds(START + 1_000 + age * 1_000)

    (worker,) = list_workers(db, now)
    assert (worker.is_late, worker.is_silent) == (bool(late), bool(silent))
    assert [queue.late_workers for queue in list_queues(db, timedelta(hours=1), now)] == [late]


def test_a_queue_without_workers_is_noticed(written: Callable[[list[Incoming]], sqlite3.Connection]) -> None:
    db = written([job_event(1, "A", EventType.CREATED)])

    assert [item.kind for item in attention(db, NOW)] == [AttentionKind.NO_WORKER]


def test_a_queue_that_is_paused_is_noticed(written: Callable[[list[Incoming]], sqlite3.Connection]) -> None:
    db = written([job_event(1, "A", EventType.CREATED), heartbeat(2, "w1", paused=True)])

    at = from_milliseconds(START + 3_000)
    assert [item.kind for item in attention(db, at)] == [AttentionKind.PAUSED]
    assert [queue.paused_workers for queue in list_queues(db, timedelta(hours=1), at)] == [1]


def test_an_empty_projection_answers_every_question(
    written: Callable[[list[Incoming]], sqlite3.Connection],
) -> None:
    db = written([])

    assert read_status(db).as_of is None
    assert read_overview(db, timedelta(hours=1), NOW).queues == ()
    assert list_workers(db, NOW) == []
    assert list_jobs(db, Selection(JobFilter(), 0)).rows == ()
