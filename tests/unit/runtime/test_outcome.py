"""The table of jobs.md, a test per row."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trellis_nats.jobs.model.outcome import (
    Acknowledgement,
    Cancelled,
    Completed,
    Ending,
    Failed,
    Raised,
    Released,
    Settlement,
    SlotLost,
    Superseded,
    Withdrawn,
    backoff_delay,
    settle,
)
from trellis_nats.jobs.model.states import EventType, JobState

BACKOFF = (timedelta(seconds=5), timedelta(seconds=30))


def settled(ending: Ending, *, tries: int = 1) -> Settlement:
    return settle(ending, tries=tries, max_attempts=3, backoff=BACKOFF)


@pytest.mark.parametrize(
    ("ending", "event"),
    [
        (Completed(b'{"ok":true}'), EventType.COMPLETED),
        (Failed("card declined"), EventType.FAILED),
        (Withdrawn("no longer wanted"), EventType.CANCELLED),
    ],
)
def test_an_ended_job_is_written_and_confirmed(ending: Ending, event: EventType) -> None:
    settlement = settled(ending)

    assert settlement.event is event
    assert settlement.state == event.value
    assert settlement.tries == 1
    assert settlement.acknowledgement is Acknowledgement.CONFIRMED


def test_an_exception_is_tried_again_after_the_backoff() -> None:
    settlement = settled(Raised("boom"), tries=2)

    assert settlement.event is EventType.RETRY
    assert settlement.state is JobState.RETRY
    assert settlement.error == "boom"
    assert settlement.acknowledgement is Acknowledgement.AGAIN
    assert settlement.delay == timedelta(seconds=30)


def test_a_handler_may_choose_its_delay() -> None:
    assert settled(Raised("later", after=timedelta(0))).delay == timedelta(0)
    assert settled(Raised("later", after=timedelta(hours=1))).delay == timedelta(hours=1)


def test_the_last_attempt_ends_in_dead_even_when_the_handler_asks_for_another() -> None:
    settlement = settled(Raised("boom", after=timedelta(seconds=1)), tries=3)

    assert settlement.event is EventType.DEAD
    assert settlement.error == "boom"
    assert settlement.acknowledgement is Acknowledgement.CONFIRMED


def test_a_cancelled_job_is_only_acknowledged() -> None:
    settlement = settled(Cancelled())

    assert settlement.event is None
    assert settlement.acknowledgement is Acknowledgement.CONFIRMED


def test_a_released_job_gets_its_attempt_back_at_once() -> None:
    settlement = settled(Released(), tries=3)

    assert settlement.event is EventType.RETRY
    assert settlement.tries == 2
    assert settlement.error == "released by a stopping worker"
    assert settlement.acknowledgement is Acknowledgement.AGAIN
    assert settlement.delay == timedelta(0)


def test_a_superseded_attempt_leaves_the_message_to_its_new_holder() -> None:
    settlement = settled(Superseded())

    assert settlement.event is None
    assert settlement.acknowledgement is Acknowledgement.LEAVE


def test_no_backoff_means_no_wait() -> None:
    assert backoff_delay((), 1) == timedelta(0)


@given(st.lists(st.timedeltas(min_value=timedelta(0)), min_size=1), st.integers(min_value=1, max_value=10**6))
def test_the_last_step_of_a_backoff_repeats(backoff: list[timedelta], tries: int) -> None:
    expected = backoff[tries - 1] if tries <= len(backoff) else backoff[-1]

    assert backoff_delay(backoff, tries) == expected


def test_a_job_that_lost_its_slot_is_given_back_and_its_attempt_counts() -> None:
    settlement = settled(SlotLost(), tries=2)

    assert settlement.event is EventType.STALE_COMPLETION_IGNORED
    assert settlement.state is JobState.ACTIVE
    assert settlement.tries == 2
    assert settlement.acknowledgement is Acknowledgement.AGAIN
    assert settlement.delay == timedelta(0)
