"""Slots are taken, renewed and given back by token, and no more are taken than there are."""

from datetime import datetime, timedelta

import pytest
from trellis_nats.clock import timestamp
from trellis_nats.jobs.keys.model.policy import KeyPolicy, StalePolicy
from trellis_nats.jobs.keys.model.record import KeyRecord
from trellis_nats.jobs.keys.model.slots import (
    PRIORITY_WINDOW,
    Acquired,
    Blocked,
    acquire,
    release,
    remove,
    renew,
)

from tests.support.keyed_records import AT, LEASE, entry, record, slot


def taken(
    before: KeyRecord,
    job: str = "N",
    *,
    hold: str = "",
    expired: str = "",
    skips_queue: bool = False,
    in_order: bool = False,
    max_active: int = 1,
    stale_policy: StalePolicy = "fail-stale",
    at: datetime = AT,
) -> tuple[KeyRecord, Acquired | Blocked]:
    policy = KeyPolicy(template=("k",), max_active=max_active, stale_policy=stale_policy)
    tokens = {f"token-{each}" for each in expired}
    after, said = acquire(
        before, slot(job, hold), policy, expired=tokens, skips_queue=skips_queue, in_order=in_order, at=at
    )
    if isinstance(said, Blocked):
        assert after is before
    else:
        assert len(after.active) <= max_active
    return after, said


def test_a_slot_is_taken_from_the_queue() -> None:
    assert taken(record("", "NB")) == (record("N", "B"), Acquired())


def test_a_key_takes_as_many_as_it_is_allowed() -> None:
    assert taken(record("A", "N"), max_active=2) == (record("AN"), Acquired())
    assert taken(record("AB", "N"), max_active=2)[1] == Blocked("active-limit")


def test_doing_it_again_takes_nothing_more() -> None:
    before = record("N", "B")

    assert taken(before) == (before, Acquired())


def test_a_job_that_does_not_wait_is_not_listed_unless_it_was_tried_before() -> None:
    assert taken(record("", "B"))[1] == Blocked("not-listed")
    assert taken(record(), skips_queue=True) == (record("N"), Acquired())


@pytest.mark.parametrize("stale_policy", ["fail-stale", "block"])
def test_a_job_takes_over_its_own_slot_once_its_lease_is_over(stale_policy: StalePolicy) -> None:
    before = record("N")

    assert taken(before, hold="new", stale_policy=stale_policy)[1] == Blocked("own-slot")
    after, said = taken(before, hold="new", expired="N", stale_policy=stale_policy)
    assert [each.token for each in after.active] == ["new"]
    assert said == Acquired()
    assert after.takeovers == 0


def test_its_own_slot_keeps_a_job_waiting_also_where_others_are_free() -> None:
    assert taken(record("N"), hold="new", max_active=2)[1] == Blocked("own-slot")


def test_fail_stale_takes_over_the_oldest_and_no_more_than_it_needs() -> None:
    before = record("ABC", "N")

    after, said = taken(before, expired="ABC", max_active=3)

    assert said == Acquired((before.active[0],))
    assert after == record("BCN")._replace(takeovers=1)


def test_fail_stale_takes_over_nothing_while_a_slot_is_free() -> None:
    assert taken(record("A", "N"), expired="A", max_active=2) == (record("AN"), Acquired())


def test_a_lower_limit_takes_over_as_many_as_it_has_to() -> None:
    after, said = taken(record("ABC", "N"), expired="AC", max_active=2)

    assert [each.job_id for each in after.active] == ["B", "N"]
    assert isinstance(said, Acquired)
    assert [each.job_id for each in said.displaced] == ["A", "C"]
    assert taken(record("ABC", "N"), expired="A", max_active=2)[1] == Blocked("active-limit")


def test_a_hold_that_is_not_over_is_never_taken() -> None:
    assert taken(record("AB", "N"), expired="X", max_active=2)[1] == Blocked("active-limit")


def test_block_leaves_the_slots_of_others() -> None:
    assert taken(record("A", "N"), expired="A", stale_policy="block")[1] == Blocked("active-limit")


@pytest.mark.parametrize(
    ("since", "is_first"),
    [
        (-timedelta(milliseconds=1), False),
        (timedelta(0), True),
        (PRIORITY_WINDOW - timedelta(milliseconds=1), True),
        (PRIORITY_WINDOW, False),
    ],
)
def test_a_retry_that_is_due_goes_first_for_a_while(since: timedelta, is_first: bool) -> None:
    before = record([], [entry("R", retry_at=AT), entry("N")])

    _, said = taken(before, at=AT + since)

    assert said == (Blocked("retry-first") if is_first else Acquired())
    assert taken(before, "R", skips_queue=True, at=AT + since)[1] == Acquired()


def test_a_retry_keeps_one_slot_and_not_the_others() -> None:
    before = record([], [entry("R", retry_at=AT), entry("N")])

    assert taken(before, max_active=2)[1] == Acquired()


def test_a_retry_that_stands_behind_waits_its_turn() -> None:
    assert taken(record([], [entry("N"), entry("R", retry_at=AT)]))[1] == Acquired()


def test_in_order_the_older_ones_go_first_but_not_those_whose_time_has_not_come() -> None:
    later = entry("R", retry_at=AT + timedelta(seconds=5))

    assert taken(record("", "BN"), in_order=True)[1] == Blocked("others-first")
    assert taken(record("", "BN"), in_order=True, max_active=2)[1] == Acquired()
    assert taken(record("", "BN"), in_order=True, skips_queue=True)[1] == Acquired()
    assert taken(record([], [later, entry("N")]), in_order=True)[1] == Acquired()


def test_a_renewal_lengthens_one_hold_and_nothing_else() -> None:
    later = AT + timedelta(seconds=10)

    renewed = renew(record("AB", "C"), "token-B", lease=LEASE, at=later)

    assert renewed is not None
    assert renewed == record([slot("A"), slot("B", renewed=later)], [entry("C")])
    assert renewed.active[1].started_at == timestamp(AT)
    assert renewed.active[1].lease == LEASE


def test_a_hold_that_is_gone_is_not_renewed_by_a_newer_one_of_its_job() -> None:
    assert renew(record([slot("A", "newer")]), "older", lease=LEASE, at=AT) is None


def test_a_release_gives_back_one_hold_by_its_token() -> None:
    assert release(record("AB", "C"), "token-A") == record("B", "C")
    assert release(record([slot("A", "newer")]), "older") is None
    assert release(record("A", "B"), "token-A", waiting=None) == record("", "B")


def test_a_job_that_will_be_tried_again_waits_at_the_head_and_once() -> None:
    waiting = entry("A", retry_at=AT)

    assert release(record("A", "BA"), "token-A", waiting=waiting) == record([], [waiting, entry("B")])


def test_a_job_is_removed_wherever_it_stands() -> None:
    assert remove(record("AB", "C"), "A") == record("B", "C")
    assert remove(record("AB", "C"), "C") == record("AB")
    assert remove(record("AB", "C"), "X") == record("AB", "C")
