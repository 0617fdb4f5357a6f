"""Which jobs an audit reads: the runtime's own rule decides, whatever the events of a job are."""

from __future__ import annotations

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st
from trellis_admin.audit.open_jobs import SCANNED, AuditedJob, OpenJobs, Place, parse_subject
from trellis_nats.jobs.model.event import LifecycleEvent, StoredEvent
from trellis_nats.jobs.model.lifecycle import counting_events
from trellis_nats.jobs.model.states import TERMINAL_EVENTS, EventType

from tests.support.foreign_events import foreign_event

JOBS = ("a", "b", "c")
HISTORIES = st.lists(st.tuples(st.sampled_from(JOBS), st.sampled_from(SCANNED)), max_size=30)


def follow(history: list[tuple[str, EventType]], *, results: int = 0) -> OpenJobs:
    reopened = {job for job, kind in history if kind in (EventType.RETRIED, EventType.DEAD)}
    jobs = OpenJobs(reopened=reopened, results=results)
    for sequence, (job, kind) in enumerate(history, 1):
        jobs.add(Place("pack", job, kind), sequence)
    return jobs


def expected(events: list[tuple[int, LifecycleEvent]]) -> AuditedJob | None:
    """Return what the runtime's readers say about one job."""
    counting = counting_events([StoredEvent(event, sequence, None) for sequence, event in events])
    if not counting:
        return None
    ended = counting[-1].event.event_type in TERMINAL_EVENTS
    opened = [each.sequence for each in counting if each.event.event_type in ("created", "retried")]
    if ended and counting[-1].event.event_type != EventType.DEAD:
        return None
    sequence = opened[-1] if opened else 0
    created = [number for number, event in events if event.event_type == EventType.CREATED]
    return AuditedJob(
        sequence, is_dead=ended, created=created[-1] if created and created[-1] != sequence else 0
    )


@given(HISTORIES)
def test_a_job_is_audited_if_the_runtime_says_that_it_waits_or_is_dead(
    history: list[tuple[str, EventType]],
) -> None:
    audited = sorted(job for _, job in follow(history).audited())

    events = {job: list[tuple[int, LifecycleEvent]]() for job in JOBS}
    for sequence, (job, kind) in enumerate(history, 1):
        events[job].append((sequence, foreign_event(kind)))
    wanted = [expected(each) for each in events.values()]
    assert audited == sorted(job for job in wanted if job is not None)


def test_ended_jobs_take_no_memory() -> None:
    jobs = OpenJobs()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(10_000):
        for kind in (EventType.CREATED, EventType.COMPLETED):
            jobs.add(Place("pack", str(number), kind), number + 1)
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()

    assert after - before < 10_000


def test_the_newest_results_are_remembered_for_each_queue() -> None:
    jobs = OpenJobs(results=2)
    for number in range(1, 9):
        queue = "even" if number % 2 == 0 else "odd"
        jobs.add(Place(queue, str(number), EventType.COMPLETED), number)

    assert jobs.results() == [5, 6, 7, 8]


def test_a_subject_is_split_from_its_end() -> None:
    assert parse_subject("trellis.jobs.shop.pack.j1.created") == Place("pack", "j1", "created")
