"""The state machine of a bulk action, and the process that runs it, killed at any moment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trellis_admin.bulk import changes
from trellis_admin.bulk import runner as runner_module
from trellis_admin.bulk.changes import BulkProblem, Handled
from trellis_admin.bulk.record import BulkAction, BulkRecord, BulkState, DryCounts, Outcomes

from tests.support.bulk_world import BulkSimulation, Mishap, new_record

NOW = datetime(2026, 11, 29, 14, 0, tzinfo=UTC)
ME = "me"
BY_CHANCE = [one for one in Mishap if one not in {Mishap.ABORT, Mishap.PAUSE}]
"""Without the commands of operators."""


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_module, "_PAUSE", 0)
    monkeypatch.setattr(runner_module, "_CHUNK_MAX", 7)


def run_by_me(count: int = 100, **values: object) -> BulkRecord:
    return changes.take_over(new_record(count, **values), ME, NOW)


def handled(**values: int) -> Handled:
    return Handled(**{"cursor": 10, "counted_to": 110, "sent": 10, **values}, is_last=False)


@settings(max_examples=150)
@given(
    count=st.integers(0, 30),
    refused=st.sets(st.integers(0, 29), max_size=6),
    mishaps=st.dictionaries(st.integers(1, 90), st.sampled_from(BY_CHANCE), max_size=12),
)
async def test_each_selected_job_is_acted_upon_once_whatever_happens(
    count: int, refused: set[int], mishaps: dict[int, Mishap]
) -> None:
    world = BulkSimulation(new_record(count), sorted(refused), mishaps)

    record = await world.run()

    acted = Counter(number for _, number in world.events)
    free = {job.number for job in world.jobs if job.number in acted or not job.is_changed}
    assert max(acted.values(), default=1) == 1
    assert set(acted) == free - {job.number for job in world.jobs if job.is_refused}
    assert record.state is BulkState.DONE
    assert record.is_settled
    assert record.runner == ""
    assert record.sent == len(world.events)
    assert record.sent + record.refused + record.changed == count
    assert world.reported[-1].sent == record.sent


async def test_what_was_stored_while_the_lease_had_expired_is_counted() -> None:
    """The answer to the second job is lost, and the lease expires before the job is looked at again."""
    world = BulkSimulation(new_record(2), [], {4: Mishap.LAPSE, 5: Mishap.UNKNOWN})

    record = await world.run()

    assert (record.state, record.sent, record.changed) == (BulkState.DONE, 2, 0)


async def test_a_lease_that_is_renewed_late_does_not_stop_it() -> None:
    """The first job is to be sent again when the lease has expired, which is renewed before that is stored."""
    world = BulkSimulation(new_record(5), [], {4: Mishap.UNSENT, 5: Mishap.LAPSE})

    record = await world.run()

    assert (record.state, record.note, record.sent) == (BulkState.DONE, "", 5)
    assert len(world.events) == 5


@given(
    mishaps=st.dictionaries(st.integers(1, 60), st.sampled_from(BY_CHANCE), max_size=6),
    begin_with=st.integers(1, 12),
)
async def test_it_begins_with_as_many_as_were_asked_for(mishaps: dict[int, Mishap], begin_with: int) -> None:
    world = BulkSimulation(new_record(20, begin_with=begin_with, limit=begin_with), [], mishaps)

    record = await world.run()

    assert record.sent == len(world.events)
    assert record.state in {BulkState.WAITING, BulkState.DONE}
    if not set(mishaps.values()) & {Mishap.RACE, Mishap.FREEZE}:
        assert record.sent == begin_with

    world.record = changes.go_on(record, Outcomes(), NOW)
    record = await world.run()
    assert record.state is BulkState.DONE
    assert record.sent == len(world.events)
    assert record.sent + record.changed == 20


@given(mishaps=st.dictionaries(st.integers(1, 60), st.sampled_from(Mishap), max_size=8))
async def test_what_was_sent_before_a_command_is_counted(mishaps: dict[int, Mishap]) -> None:
    world = BulkSimulation(new_record(30), [], mishaps)

    record = await world.run()
    while record.state is BulkState.PAUSED:
        world.record = changes.go_on(record, Outcomes(), NOW)
        record = await world.run()

    assert record.is_settled
    assert record.sent == len(world.events)
    assert max(Counter(number for _, number in world.events).values(), default=1) == 1
    assert record.state is BulkState.ABORTED or record.sent + record.changed == 30


def test_a_record_is_read_as_it_was_written() -> None:
    record = run_by_me(
        dry_run=DryCounts(accepted=2_899, refused=12, expired=3, checked=2_914),
        tolerated=Outcomes(20, 3),
        state=BulkState.STOPPED,
        rate=12.5,
    )

    assert BulkRecord.parse(record.encode()) == record
    assert BulkRecord.parse(b'{"id": 1}') is None
    assert BulkRecord.parse(b"[]") is None
    assert BulkRecord.parse(b"\xff") is None
    assert BulkRecord.parse(record.encode().replace(b'{"id"', b'{"newer":1,"id"')) == record


def test_it_stops_when_more_than_a_twentieth_died_again() -> None:
    record = run_by_me()

    assert changes.dies_too_often(record, Outcomes(ended=19, again=19)) is None
    assert changes.dies_too_often(record, Outcomes(ended=20, again=1)) is None
    said = changes.dies_too_often(record, Outcomes(ended=1_000, again=51))
    assert said == "51 of the 1,000 jobs that ended died again, which is more than 5%"
    stopped = changes.stop(record, ME, said)
    assert (stopped.state, stopped.note) == (BulkState.STOPPED, said)

    again = changes.go_on(stopped, Outcomes(1_000, 51), NOW)
    assert changes.dies_too_often(again, Outcomes(1_019, 70)) is None
    assert changes.dies_too_often(again, Outcomes(1_020, 53)) is not None


def test_a_cancelled_job_does_not_die_again() -> None:
    assert changes.dies_too_often(run_by_me(action=BulkAction.CANCEL), Outcomes(100, 100)) is None


def test_a_process_that_was_replaced_changes_nothing() -> None:
    record = changes.take_over(run_by_me(), "other", NOW)

    assert record.restarts == 1
    assert changes.advance(record, ME, handled(), NOW) == record
    assert changes.stop(record, ME, "") == record
    assert changes.leave(record, ME, total=None) == record
    assert changes.recount(record, ME, found=3, counted_to=200) == record


def test_a_process_that_left_in_order_is_not_a_restart() -> None:
    left = changes.leave(changes.pause(run_by_me()), ME, total=None)

    assert left.runner == ""
    assert not left.needs_runner
    assert changes.take_over(left, "other", NOW).restarts == 0


@pytest.mark.parametrize("state", list(BulkState))
def test_commands_fit_the_state(state: BulkState) -> None:
    record = run_by_me(state=state)
    commands: dict[str, Callable[[BulkRecord], BulkRecord]] = {
        "pause": changes.pause,
        "go on": lambda one: changes.go_on(one, Outcomes(), NOW),
        "rate": lambda one: changes.change_rate(one, 5),
        "abort": lambda one: changes.abort(one, "", NOW),
    }
    possible = {
        BulkState.RUNNING: {"pause", "rate", "abort"},
        BulkState.WAITING: {"go on", "rate", "abort"},
        BulkState.PAUSED: {"go on", "rate", "abort"},
        BulkState.STOPPED: {"go on", "rate", "abort"},
    }.get(state, set[str]())
    for name, command in commands.items():
        if name in possible:
            assert command(record) != record
        else:
            with pytest.raises(BulkProblem, match=f"B1.*{state}"):
                command(record)


def test_a_pause_keeps_how_many_it_begins_with() -> None:
    paused = changes.pause(run_by_me(limit=10, sent=4))

    assert changes.go_on(paused, Outcomes(), NOW).limit == 10
    assert changes.go_on(replace(paused, sent=10), Outcomes(), NOW).limit is None


@pytest.mark.parametrize("rate", [0, -1, 5_001, float("nan"), float("inf")])
def test_a_rate_is_in_range(rate: float) -> None:
    with pytest.raises(BulkProblem, match="at most 5000"):
        changes.check_rate(rate)
    assert changes.check_rate(None) is None


def test_jobs_that_changed_while_no_process_ran_are_counted_at_the_end() -> None:
    record = run_by_me(count=100, sent=60, refused=5, changed=1, state=BulkState.DONE)

    assert changes.leave(record, ME, total=None).changed == 35
    assert changes.leave(record, ME, total=62) == replace(
        record, runner="", sent=62, changed=33, is_settled=True
    )
