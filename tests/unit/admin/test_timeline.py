"""A job's history: attempts, waits and logs, as its events tell them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from hypothesis import given
from pydantic import JsonValue
from trellis_admin.projection.codes import STATES, from_milliseconds
from trellis_admin.projection.fold import Changes, fold
from trellis_admin.projection.incoming import Incoming, job_place, read_value
from trellis_admin.queries import AttemptEnd, JobHistory, WaitReason
from trellis_admin.queries.timeline import build_history
from trellis_nats.clock import timestamp
from trellis_nats.jobs.model.states import EventType, JobState

from tests.support.projected import START, histories, job_event

PREFIX: Final = "trellis.jobs.shop.pack"


def at(seconds: int) -> str:
    return timestamp(from_milliseconds(START + seconds * 1_000))


def event(seconds: int, kind: EventType, **fields: JsonValue) -> Incoming:
    return job_event(seconds, "JOB", kind, fields)


def history_of(messages: Sequence[Incoming]) -> JobHistory:
    history = build_history(PREFIX, "JOB", messages, is_cut=False)
    assert history is not None
    return history


def test_attempts_show_their_waits_runs_errors_and_logs() -> None:
    history = history_of(
        [
            event(1, EventType.CREATED, notBefore=at(5), maxTries=4, payload={"n": 1}),
            event(7, EventType.STARTED, tries=1, worker={"instanceId": "w1"}),
            event(8, EventType.LOGGED, logs=[{"timestamp": at(8), "level": "info", "message": "on it"}]),
            event(9, EventType.PROGRESS, progress={"current": 1, "total": 2}),
            event(
                10,
                EventType.RETRY,
                tries=1,
                error="ValueError: no",
                errorDetail={"message": "no", "type": "ValueError", "stack": "File x"},
                notBefore=at(20),
            ),
            event(23, EventType.STARTED, tries=2, worker={"instanceId": "w2"}),
            event(25, EventType.COMPLETED, tries=2, result={"big": 90071992547409931}),
        ]
    )

    first, second = history.attempts
    assert (first.number, first.worker, first.end) == (1, "w1", AttemptEnd.RETRY)
    assert (first.waited, first.error, first.error_type, first.stack) == (
        timedelta(seconds=2),
        "ValueError: no",
        "ValueError",
        "File x",
    )
    assert [line.message for line in first.logs] == ["on it"]
    assert first.progress is not None
    assert first.progress.current == 1
    assert (second.end, second.waited, second.logs) == (AttemptEnd.COMPLETED, timedelta(seconds=3), ())
    assert [(wait.reason, (wait.until or wait.since) - wait.since) for wait in history.waits] == [
        (WaitReason.DELAY, timedelta(seconds=4)),
        (WaitReason.QUEUED, timedelta(seconds=2)),
        (WaitReason.BACKOFF, timedelta(seconds=10)),
        (WaitReason.QUEUED, timedelta(seconds=3)),
    ]
    assert (history.state, history.tries, history.max_tries, history.error) == (
        JobState.COMPLETED,
        2,
        4,
        None,
    )
    assert (history.result_size, history.result_sequence) == (len(b'{"big": 90071992547409931}'), 25)
    assert history.ended_at == from_milliseconds(START + 25_000)


def test_a_history_has_the_place_and_the_size_of_a_payload() -> None:
    payload = b'{"a" : 1e400,  "big":123456789012345678901234567890, "t": "\\ud800"}'
    created = event(1, EventType.CREATED)
    created = created._replace(data=created.data.replace(b'{"number": 1}', payload), digest="d" * 43)

    history = history_of([created])

    assert (history.payload_size, history.payload_sequence, history.digest) == (len(payload), 1, "d" * 43)
    assert read_value(created, "payload") == payload


def test_a_lost_worker_and_a_released_attempt_are_told_apart() -> None:
    history = history_of(
        [
            event(1, EventType.CREATED),
            event(2, EventType.STARTED, tries=1),
            event(9, EventType.STARTED, tries=2),
            event(10, EventType.RETRY, tries=1, error="released by a stopping worker"),
            event(11, EventType.STARTED, tries=2),
            event(12, EventType.STALE_COMPLETION_IGNORED, tries=2, error="lost"),
            event(13, EventType.STARTED, tries=3),
        ]
    )

    assert [(attempt.number, attempt.end) for attempt in history.attempts] == [
        (1, AttemptEnd.LOST),
        (2, AttemptEnd.RELEASED),
        (2, AttemptEnd.STALE),
        (3, AttemptEnd.RUNNING),
    ]
    assert history.state is JobState.ACTIVE


def test_a_replay_is_part_of_one_history_and_names_its_operator() -> None:
    history = history_of(
        [
            event(1, EventType.CREATED, maxTries=1),
            event(2, EventType.STARTED),
            event(3, EventType.DEAD, error="ValueError: no"),
            event(4, EventType.COMPLETED),
            event(
                5,
                EventType.RETRIED,
                adminAction={"actor": "anna", "reason": "fixed", "source": "console", "bulkId": "b1"},
                trigger={"kind": "manualReplay"},
            ),
        ]
    )

    replayed = history.events[-1]
    assert (replayed.actor, replayed.reason, replayed.source, replayed.bulk) == (
        "anna",
        "fixed",
        "console",
        "b1",
    )
    assert [each.is_counted for each in history.events] == [True, True, True, False, True]
    assert (history.state, history.error, history.trigger) == (
        JobState.PENDING,
        None,
        {"kind": "manualReplay"},
    )
    assert history.waits[-1].until is None


def test_checkpoints_are_those_of_their_attempts() -> None:
    stored = event(3, EventType.LOGGED, checkpoint={"page": 7}, logs=[])
    stored = stored._replace(subject=stored.subject.replace("logged", "checkpoint"))

    history = history_of([event(1, EventType.CREATED), event(2, EventType.STARTED), stored])

    assert history.checkpoint is not None
    assert history.checkpoint.size == len(b'{"page": 7}')
    assert history.attempts[0].checkpoints == (history.checkpoint,)
    assert history.events[-1].kind == "checkpoint"


def test_events_without_a_creation_make_no_history() -> None:
    assert build_history(PREFIX, "JOB", [event(1, EventType.STARTED)], is_cut=True) is None


@given(histories())
def test_a_history_and_its_row_agree(messages: list[Incoming]) -> None:
    changes = Changes({})
    for message in messages:
        fold(changes, message, b"salt")
    for (prefix, job_id), row in changes.jobs.items():
        own = [
            message
            for message in messages
            if (place := job_place(message.subject)) is not None
            and (place.prefix, place.id) == (prefix, job_id)
        ]
        created = next(number for number, message in enumerate(own) if message.subject.endswith(".created"))
        history = build_history(prefix, job_id, own[created:], is_cut=False)
        if row is None or history is None:
            assert row is None
            continue
        assert (history.state, history.tries) == (STATES[row.state], row.tries)
        assert (history.state_sequence, history.last_sequence) == (row.state_seq, row.last_seq)


def test_an_event_did_not_happen_after_it_was_stored() -> None:
    """The clock of the worker is an hour ahead: its attempt began when the server stored that, and ran as long as it did."""

    def ahead(seconds: int, kind: EventType, **fields: JsonValue) -> Incoming:
        return job_event(seconds, "JOB", kind, fields, at=START + (seconds + 3_600) * 1_000)

    history = history_of(
        [
            event(1, EventType.CREATED, maxTries=2),
            ahead(3, EventType.STARTED, tries=1),
            ahead(33, EventType.RETRY, tries=1, error="ValueError: no"),
            event(34, EventType.STARTED, tries=2),
            event(35, EventType.COMPLETED, tries=2),
        ]
    )

    assert [(one.waited, one.ended_at and one.ended_at - one.started_at) for one in history.attempts] == [
        (timedelta(seconds=2), timedelta(seconds=30)),
        (timedelta(seconds=1), timedelta(seconds=1)),
    ]
    assert history.ended_at == from_milliseconds(START + 35_000)
