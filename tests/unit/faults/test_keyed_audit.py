"""The audit of keyed scenarios finds what it is for, and nothing in a story in which all went well."""

from __future__ import annotations

import pytest

from tests.faults.harness.history import What
from tests.faults.keys.starvation import STARVED
from tests.unit.faults.keyed_story import KEY, THERE, Story


@pytest.fixture
def story() -> Story:
    return Story()


def test_jobs_of_a_key_one_after_another_break_nothing(story: Story) -> None:
    for job in ("a", "b"):
        story.submit(job)
        story.begin(job)
        story.end(job)

    judged = story.judged()

    assert not judged.violations()
    assert (judged.keys, judged.verdict.accepted, judged.kills) == (1, 2, 0)


def test_two_handlers_at_once_are_a_crowd(story: Story) -> None:
    story.submit("a")
    story.begin("a")
    story.submit("b")
    story.release("a")
    story.begin("b", pid=THERE)
    story.leave("a")
    story.store("a", "completed", 1)
    story.end("b", pid=THERE)

    assert story.broken() == {"crowds"}


def test_two_slots_are_more_than_one(story: Story) -> None:
    story.submit("a")
    story.begin("a")
    story.submit("b")
    story.leave("a")
    story.store("a", "completed", 1)
    story.begin("b")
    story.end("b")
    story.release("a")

    assert story.broken() == {"slots_beyond"}


def test_a_killed_handler_ends_with_its_process(story: Story) -> None:
    story.submit("a")
    story.begin("a")
    story.say(What.KILLED)
    story.wait(2.5)
    story.submit("b")
    story.release("a")
    story.begin("b", pid=THERE)
    story.store("a", "stale", 1)
    story.end("b", pid=THERE)

    assert not story.broken()


@pytest.mark.parametrize(
    ("frozen_for", "on_for", "is_crowd"), [(2.5, 0.1, False), (0.2, 0.1, True), (2.5, 1.5, True)]
)
def test_a_handler_that_stands_still_counts_until_its_slot_may_be_taken_and_soon_after_it_goes_on(
    story: Story, frozen_for: float, on_for: float, *, is_crowd: bool
) -> None:
    story.submit("a")
    story.begin("a")
    story.say(What.CUT_OFF)
    story.submit("b")
    story.wait(frozen_for)
    story.release("a")
    story.store("a", "stale", 1)
    story.begin("b", pid=THERE)
    story.say(What.BACK)
    story.wait(on_for)
    story.leave("a", how="interrupted")
    story.end("b", pid=THERE)

    assert story.broken() == ({"crowds"} if is_crowd else set())


def test_a_process_for_which_the_machine_had_no_time_stood_still(story: Story) -> None:
    story.submit("a")
    story.begin("a")
    since = story.now
    story.submit("b")
    story.wait(2.5)
    story.release("a")
    story.store("a", "stale", 1)
    story.begin("b", pid=THERE)
    story.say(What.NEMESIS, fault="stalled", since=since)
    story.leave("a", how="interrupted")
    story.end("b", pid=THERE)

    judged = story.judged()

    assert not judged.violations()
    assert judged.stalls == 1


@pytest.mark.parametrize(("seconds", "overlaps"), [(3, False), (1, True)])
def test_a_process_that_stood_still_for_longer_than_the_ack_wait_may_lose_its_job(
    story: Story, seconds: float, *, overlaps: bool
) -> None:
    story.submit("a")
    story.begin("a")
    since = story.now
    story.wait(seconds)
    story.active.clear()
    story.begin("a", tries=2, pid=THERE)
    story.say(What.NEMESIS, fault="stalled", since=since)
    story.leave("a", how="interrupted")
    story.end("a", tries=2, pid=THERE)

    assert ("overlapping" in story.broken()) == overlaps


def test_a_slot_that_was_never_given_back_is_left(story: Story) -> None:
    story.submit("a")
    story.begin("a")
    story.leave("a")
    story.store("a", "completed", 1)

    assert story.broken() == {"left_slots"}


def test_an_entry_that_no_worker_took_is_left(story: Story) -> None:
    story.queued.append("ghost")
    story.write()

    assert story.broken() == {"left_entries"}


def test_a_second_end_is_found(story: Story) -> None:
    story.submit("a")
    story.begin("a")
    story.end("a")
    story.store("a", "stale", 1)

    assert story.broken() == {"ended_twice"}


def test_a_job_without_an_end_is_lost(story: Story) -> None:
    story.submit("a")
    story.queued.clear()
    story.write()

    assert story.broken() == {"lost"}


def test_a_key_that_stands_still_is_idle(story: Story) -> None:
    story.submit("a")
    story.wait(6)
    story.begin("a")
    story.end("a")

    judged = story.judged()

    assert set(judged.violations()) == {"idle"}
    assert judged.longest_idle > 6


def test_the_worker_that_held_its_message_may_be_waited_for_and_so_may_the_server(story: Story) -> None:
    story.submit("a")
    story.say(What.NEMESIS, fault="server killed")
    story.wait(3)
    story.say(What.NEMESIS, fault="server back")
    story.say(What.KILLED)
    story.wait(6)
    story.begin("a", pid=THERE)
    story.end("a", pid=THERE)

    assert not story.broken()


@pytest.mark.parametrize(("share", "is_idle"), [(0.0, True), (0.1, True), (0.9, False)])
def test_time_of_which_the_processes_are_starved_does_not_count(
    story: Story, share: float, *, is_idle: bool
) -> None:
    story.submit("a")
    since = story.now
    story.wait(10)
    story.say(What.NEMESIS, fault=STARVED, since=since, share=share)
    story.begin("a")
    story.end("a")

    judged = story.judged()

    assert set(judged.violations()) == ({"idle"} if is_idle else set())
    assert judged.longest_idle == pytest.approx(10 * (1 - share), abs=0.1)
    assert judged.starved == pytest.approx(10 * share, abs=0.1)


def test_an_outage_of_a_starved_machine_counts_once(story: Story) -> None:
    story.submit("a")
    since = story.now
    story.say(What.NEMESIS, fault="server killed")
    story.wait(2)
    story.say(What.NEMESIS, fault="server back")
    story.wait(18)
    story.say(What.NEMESIS, fault=STARVED, since=since, share=0.5)
    story.begin("a")
    story.end("a")

    assert story.judged().longest_idle == pytest.approx((20 - 2 - 5) * 0.5, abs=0.1)


def test_a_key_whose_waiting_job_is_replaced_again_and_again_is_not_stuck(story: Story) -> None:
    for number in range(4):
        story.submit(f"job{number}", replaced=f"job{number - 1}" if number else "")
        story.wait(3)
        if number < 3:
            story.queued.clear()
            story.store(f"job{number}", "skipped", error=f"replaced by newer keyed job job{number + 1}")
    story.begin("job3")
    story.end("job3")

    judged = story.judged()

    assert not judged.violations()
    assert judged.longest_idle == pytest.approx(3, abs=0.1)


def test_a_write_over_an_unknown_revision_loses_an_update(story: Story) -> None:
    story.submit("a")
    story.begin("a")
    story.write(expected=1)
    story.end("a")

    assert story.broken() == {"lost_updates"}


def test_an_attempt_that_begins_without_a_slot_is_found(story: Story) -> None:
    story.submit("a")
    story.store("a", "started", 1)
    story.begin("a")
    del story.records[-1]
    story.end("a")

    assert story.broken() == {"without_slot"}


def test_one_job_more_than_there_are_places_was_admitted_beyond(story: Story) -> None:
    jobs = ("a", "b", "c")
    for job in jobs:
        story.submit(job)
    for job in jobs:
        story.begin(job)
        story.end(job)

    assert story.broken() == {"admitted_beyond"}


def test_what_was_rejected_is_not_stored(story: Story) -> None:
    story.say(What.SUBMIT, "a", ends=[], queue=KEY[0], key=KEY[1])
    story.say(What.REFUSED, "a", rejected="queue-depth")
    story.store("a", "created")
    story.store("a", "cancelled")

    assert story.broken() == {"unexpected"}


@pytest.mark.parametrize("end", ["skipped", "completed"])
def test_what_was_replaced_is_skipped(story: Story, end: str) -> None:
    story.submit("a")
    story.queued.clear()
    story.store("a", end, error="replaced by newer keyed job b")
    story.submit("b", replaced="a")
    story.begin("b")
    story.end("b")

    assert story.broken() == (set() if end == "skipped" else {"not_skipped", "never_ran"})


def test_who_is_coalesced_joins_a_job_that_is_there(story: Story) -> None:
    story.submit("a")
    story.begin("a")
    story.say(What.SUBMIT, "b", ends=[], queue=KEY[0], key=KEY[1])
    story.say(What.REFUSED, "b", coalesced="a")
    story.end("a")
    assert not story.broken()

    story.wait(1)
    story.say(What.SUBMIT, "c", ends=[], queue=KEY[0], key=KEY[1])
    story.say(What.REFUSED, "c", coalesced="a")

    assert story.broken() == {"badly_coalesced"}
