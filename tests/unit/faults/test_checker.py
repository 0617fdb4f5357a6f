"""The checker of the fault scenarios finds what it is there to find, in histories made by hand."""

from __future__ import annotations

import pytest

from tests.faults.harness.checker import check
from tests.faults.harness.dump import Dump
from tests.faults.harness.history import What
from tests.unit.faults.story import HERE, THERE, Story


def test_a_job_that_was_handled_once_is_quiet() -> None:
    story = Story()
    story.complete("a")
    verdict = check(story.history, Dump(tuple(story.records)))

    assert verdict.is_quiet
    assert (verdict.attempted, verdict.accepted, verdict.terminal, len(verdict.runs)) == (1, 1, 1, 1)
    assert verdict.ends == {"completed": 1}
    assert verdict.end_tries == {1: 1}


def test_a_delivery_too_many_is_not_quiet() -> None:
    story = Story()
    story.complete("a")
    assert not check(story.history, Dump(tuple(story.records), again=1)).is_quiet


def test_an_accepted_job_without_an_end_is_lost_and_its_place_is_reported() -> None:
    story = Story()
    for job in ("a", "c", "e"):
        story.accept(job)
        if job != "e":
            story.complete(f"{job}+")
    lost = check(story.history, Dump(tuple(story.records))).lost

    assert (lost.prefix, lost.middle, lost.postfix) == (("a",), ("c",), ("e",))


def test_where_no_job_has_an_end_all_are_lost() -> None:
    story = Story()
    story.accept("a")

    assert story.broken() == {"lost"}


def test_an_unknown_job_that_exists_is_recovered_and_one_that_does_not_is_not_lost() -> None:
    story = Story()
    for job in ("there", "not there"):
        story.say(What.SUBMIT, job)
        story.say(What.UNKNOWN, job)
    story.store("there", "created")
    verdict = check(story.history, Dump(tuple(story.records)))

    assert (verdict.accepted, verdict.unknown, verdict.recovered) == (0, 2, 1)
    assert verdict.is_clean


def test_a_job_that_was_refused_must_not_exist() -> None:
    story = Story()
    story.say(What.SUBMIT, "a")
    story.say(What.REFUSED, "a")
    story.store("a", "created")

    assert story.broken() == {"unexpected"}


def test_a_job_that_was_not_submitted_is_unexpected() -> None:
    story = Story()
    story.store("a", "created")

    assert story.broken() == {"unexpected"}


@pytest.mark.parametrize("second", ["completed", "dead", "cancelled", "failed", "expired"])
def test_a_second_end_is_reported(second: str) -> None:
    story = Story()
    story.complete("a")
    story.store("a", second, 1)

    assert story.broken() == {"ended_twice"}


def test_a_job_that_an_operator_sent_again_may_end_again() -> None:
    story = Story()
    story.complete("a")
    story.store("a", "retried")
    story.enter("a")
    story.exit("a")
    story.store("a", "completed", 1)
    verdict = check(story.history, Dump(tuple(story.records)))

    assert verdict.is_clean
    assert verdict.duplicates == 1


def test_a_dead_job_may_be_dismissed() -> None:
    story = Story()
    story.accept("a")
    story.store("a", "dead")
    story.store("a", "dismissed")

    assert story.broken() == set()


def test_two_handlings_at_the_same_time_overlap() -> None:
    story = Story()
    story.accept("a")
    story.enter("a")
    story.enter("a", 2, pid=THERE)
    story.exit("a")
    story.exit("a", 2, pid=THERE)
    story.store("a", "completed", 2)

    assert story.broken() == {"overlapping"}


def test_an_overlap_is_excused_by_a_first_process_that_stood_still() -> None:
    story = Story()
    story.accept("a")
    story.enter("a")
    story.say(What.CUT_OFF, pid=HERE)
    story.enter("a", 2, pid=THERE)
    story.say(What.BACK, pid=HERE)
    story.exit("a")
    story.exit("a", 2, pid=THERE)
    story.store("a", "completed", 2)
    verdict = check(story.history, Dump(tuple(story.records)))

    assert verdict.is_clean
    assert verdict.cut_off_overlaps == 1


def test_an_overlap_is_not_excused_by_a_second_process_that_stood_still() -> None:
    story = Story()
    story.accept("a")
    story.enter("a")
    story.enter("a", 2, pid=THERE)
    story.say(What.CUT_OFF, pid=THERE)
    story.exit("a")
    story.exit("a", 2, pid=THERE)
    story.store("a", "completed", 2)

    assert story.broken() == {"overlapping"}


def test_a_killed_process_handles_no_longer() -> None:
    story = Story()
    story.accept("a")
    story.enter("a")
    story.say(What.KILLED, pid=HERE)
    story.enter("a", 2, pid=THERE)
    story.exit("a", 2, pid=THERE)
    story.store("a", "completed", 2)
    verdict = check(story.history, Dump(tuple(story.records)))

    assert verdict.is_clean
    assert (verdict.again, verdict.duplicates) == (1, 0)


def test_a_handling_after_one_that_returned_is_a_duplicate() -> None:
    story = Story()
    story.accept("a")
    for tries in (1, 2):
        story.enter("a", tries)
        story.exit("a", tries)
    story.store("a", "completed", 2)
    verdict = check(story.history, Dump(tuple(story.records)))

    assert verdict.is_clean
    assert (verdict.again, verdict.duplicates) == (0, 1)
    assert not verdict.is_quiet


def test_a_retry_after_an_exception_is_not_a_duplicate() -> None:
    story = Story()
    story.accept("a")
    story.enter("a")
    story.exit("a", how="raised")
    story.store("a", "retry", 1)
    story.enter("a", 2)
    story.exit("a", 2)
    story.store("a", "completed", 2)
    verdict = check(story.history, Dump(tuple(story.records)))

    assert verdict.is_quiet
    assert verdict.wanted == 1


@pytest.mark.parametrize("second", [1, 3])
def test_an_attempt_with_a_wrong_number_is_reported(second: int) -> None:
    story = Story()
    story.accept("a")
    story.enter("a")
    story.exit("a", how="raised")
    story.store("a", "retry", 1)
    story.enter("a", second)
    story.exit("a", second)
    story.store("a", "completed", second)

    assert story.broken() == {"wrong_tries"}


def test_an_attempt_that_was_given_back_is_counted_once() -> None:
    story = Story()
    story.accept("a")
    story.enter("a")
    story.exit("a", how="interrupted")
    story.store("a", "retry", 0)
    story.enter("a", 1, pid=THERE)
    story.exit("a", 1, pid=THERE)
    story.store("a", "completed", 1)

    assert story.broken() == set()


def test_one_attempt_too_many_is_reported() -> None:
    story = Story()
    story.accept("a")
    for tries in range(1, 7):
        story.enter("a", tries)
        story.exit("a", tries, how="raised")
    story.store("a", "dead", 6)

    assert story.broken() == {"wrong_tries"}


def test_an_attempt_that_begins_after_the_end_is_reported() -> None:
    story = Story()
    story.complete("a")
    story.enter("a", 2)
    story.exit("a", 2)

    assert story.broken() == {"began_after_end"}


def test_a_handling_without_a_stored_start_is_reported() -> None:
    story = Story()
    story.complete("a")
    story.say(What.ENTER, "a", tries=2, queue="q")
    story.exit("a", 2)

    assert story.broken() == {"unrecorded"}


def test_a_completion_that_no_handler_returned_is_reported() -> None:
    story = Story()
    story.accept("a")
    story.store("a", "started", 1)
    story.store("a", "completed", 1)

    assert story.broken() == {"never_ran"}


def test_an_end_that_the_scenario_does_not_allow_is_reported() -> None:
    story = Story()
    story.accept("a", "failed")
    story.store("a", "dead")

    assert story.broken() == {"wrong_end"}


def test_a_cancelled_job_that_ran_is_reported() -> None:
    story = Story()
    story.accept("a")
    story.store("a", "cancelled")
    story.say(What.CANCELLED, "a")
    story.say(What.ENTER, "a", tries=1, queue="q")
    story.exit("a")

    assert "ran_after_cancel" in story.broken()


def test_a_confirmed_cancellation_that_did_not_count_is_reported() -> None:
    story = Story()
    story.complete("a")
    story.say(What.CANCELLED, "a")

    assert story.broken() == {"not_cancelled"}


def test_a_work_message_that_is_left_is_reported() -> None:
    story = Story()
    story.complete("a")

    assert story.broken(("a",)) == {"left"}


def test_more_handlings_at_a_time_than_allowed_are_reported() -> None:
    story = Story()
    story.say(What.WORKS, concurrency=1)
    for job in ("a", "b"):
        story.accept(job)
        story.enter(job)
    for job in ("a", "b"):
        story.exit(job)
        story.store(job, "completed", 1)

    assert story.broken() == {"crowded"}
