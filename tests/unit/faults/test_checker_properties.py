"""What holds of the checker for every history."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tests.faults.harness.checker import check
from tests.faults.harness.dump import Dump
from tests.faults.harness.history import Entry, What
from tests.unit.faults.story import HERE, THERE, Story


@given(st.permutations(range(12)), st.integers(1, 4), st.data())
def test_an_orderly_scenario_has_no_findings_and_a_missing_event_is_found(
    order: list[int], retries: int, data: st.DataObject
) -> None:
    story = Story()
    for number in order:
        job = f"job {number}"
        story.accept(job, "completed")
        for tries in range(1, retries + 1):
            story.enter(job, tries)
            story.exit(job, tries, how="returned" if tries == retries else "raised")
            story.store(job, "completed" if tries == retries else "retry", tries)
    verdict = check(story.history, Dump(tuple(story.records)))
    assert verdict.is_quiet, str(verdict)
    assert verdict.wanted == len(order) * (retries - 1)

    victim = data.draw(st.sampled_from(story.records))
    kept = tuple(record for record in story.records if record is not victim)
    if victim.event == "retry":
        return  # as by a worker that was killed before it wrote it
    assert not check(story.history, Dump(kept)).is_clean


@given(st.integers(0, 20), st.integers(0, 20))
def test_two_handlings_overlap_exactly_when_their_times_do(enter: int, length: int) -> None:
    first = (5, 15)
    story = Story()
    story.accept("a")
    for tries in (1, 2):
        story.store("a", "started", tries)
    story.store("a", "completed", 2)
    entries = [
        Entry(first[0], HERE, What.ENTER, "a", {"tries": 1, "queue": "q"}),
        Entry(first[1], HERE, What.EXIT, "a", {"tries": 1, "queue": "q", "how": "returned"}),
        Entry(enter, THERE, What.ENTER, "a", {"tries": 2, "queue": "q"}),
        Entry(enter + length + 1, THERE, What.EXIT, "a", {"tries": 2, "queue": "q", "how": "returned"}),
    ]
    early = [replace(entry, at=entry.at - 100) for entry in story.history]
    verdict = check(early + sorted(entries, key=lambda entry: entry.at), Dump(tuple(story.records)))

    assert bool(verdict.overlapping) == (enter < first[1] and enter + length + 1 > first[0])
