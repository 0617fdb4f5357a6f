"""One rule for every reader: which events of a job count, whichever runtime wrote them."""

from datetime import UTC, datetime
from itertools import pairwise
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue
from trellis_nats.codec import Codec
from trellis_nats.jobs.model.event import LifecycleEvent, StoredEvent
from trellis_nats.jobs.model.lifecycle import JobLife, endings_of
from trellis_nats.jobs.model.snapshot import JobSnapshot, snapshot_of, types_to_read
from trellis_nats.jobs.model.states import TERMINAL_EVENTS, EventType, JobState

from tests.support.foreign_events import foreign_event, foreign_history
from tests.support.payload_readers import reader_of

AT: Final = datetime(2026, 7, 1, 10, tzinfo=UTC)
JSON: Final = Codec[JsonValue](JsonValue, what="a value")
NOT_AN_END: Final = [event for event in EventType if event not in TERMINAL_EVENTS]

# What may follow an ending, written down a second time from the reference's table (8.1), the other way round.
MAY_FOLLOW: Final = {
    EventType.FAILED: {EventType.RETRIED, EventType.DEAD},
    EventType.EXPIRED: {EventType.DEAD},
    EventType.DEAD: {EventType.RETRIED, EventType.DISMISSED},
}


def stored(history: list[LifecycleEvent]) -> list[StoredEvent]:
    return [StoredEvent(event, sequence, None) for sequence, event in enumerate(history, start=10)]


def read_fully(history: list[LifecycleEvent]) -> tuple[JobLife, list[LifecycleEvent]]:
    """Read a history as `ref.events()` does. Return the events that it yields."""
    life, yielded = JobLife(), list[LifecycleEvent]()
    for event in history:
        if life.take(event):
            yielded.append(event)
    return life, yielded


def read_by_type(history: list[LifecycleEvent]) -> JobSnapshot[JsonValue, JsonValue]:
    """Read a history as `ref.get()` does: the newest event of each type that it asks for."""
    all_stored = stored(history)
    newest = all_stored[-1]
    wanted = types_to_read(newest.event)
    by_type = {each.event.event_type: each for each in all_stored[:-1] if each.event.event_type in wanted}
    events = sorted((*by_type.values(), newest), key=lambda each: each.sequence)
    snapshot = snapshot_of(events, payloads=reader_of(JSON), result=JSON)
    assert snapshot is not None
    return snapshot


def read_endings(history: list[LifecycleEvent]) -> list[StoredEvent]:
    """Read a history as `ref.wait()` does: the newest event of each type that may end it or open it again."""
    by_type = {
        each.event.event_type: each
        for each in stored(history)
        if each.event.is_terminal or each.event.event_type == EventType.RETRIED
    }
    return endings_of(sorted(by_type.values(), key=lambda each: each.sequence))


@st.composite
def histories(draw: st.DrawFn) -> list[LifecycleEvent]:
    """The events of writers that do not fence, of both runtimes, in any order; each ending at most once."""
    kinds = draw(
        st.lists(st.sampled_from([kind for kind in EventType if kind != EventType.CREATED]), max_size=12)
    )
    once = {*TERMINAL_EVENTS, EventType.RETRIED}
    kept = [kind for at, kind in enumerate(kinds) if kind not in once or kind not in kinds[:at]]
    believed = st.none() | st.sampled_from(JobState)
    return [
        foreign_event(EventType.CREATED),
        *(foreign_event(kind, previous=draw(believed), tries=draw(st.integers(0, 3))) for kind in kept),
    ]


@given(histories())
def test_every_reader_sees_the_same_state(history: list[LifecycleEvent]) -> None:
    """`events`, `get` and `wait` read different events of a job and agree."""
    life, counting = read_fully(history)
    snapshot, endings = read_by_type(history), read_endings(history)

    assert snapshot.state is counting[-1].effective_state
    assert snapshot.tries == counting[-1].tries
    assert snapshot.is_terminal == life.has_ended == bool(endings)
    if endings:
        assert endings[-1].event.event_type == counting[-1].event_type


@given(histories())
def test_only_an_operator_opens_an_ended_job_again(history: list[LifecycleEvent]) -> None:
    _, counting = read_fully(history)

    for before, after in pairwise(counting):
        if before.is_terminal:
            assert after.event_type in MAY_FOLLOW.get(EventType(before.event_type), set())


@pytest.mark.parametrize("kind", [kind for kind in EventType if kind != EventType.CREATED])
@pytest.mark.parametrize("believed", [None, *JobState])
def test_until_the_end_every_event_counts_whatever_its_writer_believed(
    kind: EventType, believed: JobState | None
) -> None:
    life = JobLife()
    assert life.take(foreign_event(EventType.CREATED))

    assert life.take(foreign_event(kind, previous=believed))


@pytest.mark.parametrize("ending", sorted(TERMINAL_EVENTS))
@pytest.mark.parametrize("kind", EventType)
def test_after_the_end_counts_only_what_the_reference_allows(ending: EventType, kind: EventType) -> None:
    life = JobLife()
    life.take(foreign_event(EventType.CREATED))
    life.take(foreign_event(ending))

    expected = kind in MAY_FOLLOW.get(ending, set()) or kind == EventType.CREATED
    assert life.take(foreign_event(kind)) == expected


def test_an_event_of_an_unknown_type_does_not_count() -> None:
    event = foreign_event(EventType.STARTED).model_copy(update={"event_type": "archived"})

    assert not JobLife().take(event)


@pytest.mark.parametrize("event", EventType)
def test_the_type_of_an_event_decides_the_state(event: EventType) -> None:
    """Other runtimes write `staleCompletionIgnored` with the state `stale` while the job continues (reference, 8.6)."""
    odd = foreign_event(event).model_copy(update={"state": JobState.STALE})

    assert (odd.effective_state in {JobState(end.value) for end in TERMINAL_EVENTS}) == odd.is_terminal


@pytest.mark.parametrize(
    ("history", "state", "tries"),
    [
        # The recordings of the TypeScript runtime 0.10.22 and 0.11.0, and what they are mixed with in a shared queue.
        ("created started completed", "completed", 1),
        ("created started started cancelled", "cancelled", 1),
        ("created cancelled started completed", "cancelled", 1),
        ("created started stale started", "stale", 1),
        ("created started stale started completed", "stale", 1),
        ("created started failed retried", "pending", 0),
        ("created started failed retried started completed", "completed", 1),
        ("created started dead dismissed", "dismissed", 1),
        ("created started expired dead", "dead", 1),
        ("created started retry started completed", "completed", 1),
        ("created started retry started failed", "failed", 1),
        ("created started retry started progress", "active", 1),
        ("created started cancelled progress", "cancelled", 1),
        ("created started completed logged", "completed", 1),
        ("created started completed retried", "completed", 1),
        ("created started staleCompletionIgnored", "active", 1),
    ],
)
def test_known_histories(history: str, state: str, tries: int) -> None:
    events = foreign_history(history)

    snapshot, (life, counting) = read_by_type(events), read_fully(events)

    assert (snapshot.state.value, snapshot.tries) == (state, tries)
    assert counting[-1].effective_state.value == state
    assert bool(read_endings(events)) == life.has_ended == snapshot.is_terminal
