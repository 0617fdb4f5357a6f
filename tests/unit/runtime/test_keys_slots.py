"""Slots are acquired, renewed and released by token, and never more than the limit."""

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


def acquire_slot(
    before: KeyRecord,
    job: str = "N",
    *,
    named: str = "",
    expired: str = "",
    skips_queue: bool = False,
    in_order: bool = False,
    max_active: int = 1,
    stale_policy: StalePolicy = "fail-stale",
    at: datetime = AT,
) -> tuple[KeyRecord, Acquired | Blocked]:
    policy = KeyPolicy(template=("k",), max_active=max_active, stale_policy=stale_policy)
    tokens = {f"token-{each}" for each in expired}
    after, result = acquire(
        before,
        slot(job, named),
        policy,
        expired=tokens,
        skips_queue=skips_queue,
        in_order=in_order,
        at=at,
    )
    if isinstance(result, Blocked):
        assert after is before
    else:
        assert len(after.active) <= max_active
    return after, result


def test_a_waiting_job_acquires_a_slot() -> None:
    assert acquire_slot(record("", "NB")) == (record("N", "B"), Acquired())


def test_a_key_has_as_many_slots_as_its_limit() -> None:
    assert acquire_slot(record("A", "N"), max_active=2) == (record("AN"), Acquired())
    assert acquire_slot(record("AB", "N"), max_active=2)[1] == Blocked("active-limit")


def test_acquiring_again_changes_nothing() -> None:
    before = record("N", "B")

    assert acquire_slot(before) == (before, Acquired())


def test_only_a_new_job_needs_an_entry() -> None:
    assert acquire_slot(record("", "B"))[1] == Blocked("not-listed")
    assert acquire_slot(record(), skips_queue=True) == (record("N"), Acquired())


@pytest.mark.parametrize("stale_policy", ["fail-stale", "block"])
def test_a_job_takes_over_its_own_slot_once_its_lease_has_expired(stale_policy: StalePolicy) -> None:
    before = record("N")

    assert acquire_slot(before, named="new", stale_policy=stale_policy)[1] == Blocked("own-slot")
    after, result = acquire_slot(before, named="new", expired="N", stale_policy=stale_policy)
    assert [each.token for each in after.active] == ["new"]
    assert result == Acquired()
    assert after.takeovers == 0


def test_its_own_slot_blocks_a_job_even_when_another_slot_is_free() -> None:
    assert acquire_slot(record("N"), named="new", max_active=2)[1] == Blocked("own-slot")


def test_fail_stale_takes_over_the_oldest_and_no_more_than_it_needs() -> None:
    before = record("ABC", "N")

    after, result = acquire_slot(before, expired="ABC", max_active=3)

    assert result == Acquired((before.active[0],))
    assert after == record("BCN")._replace(takeovers=1)


def test_fail_stale_takes_over_nothing_while_a_slot_is_free() -> None:
    assert acquire_slot(record("A", "N"), expired="A", max_active=2) == (record("AN"), Acquired())


def test_under_a_lower_limit_a_job_takes_over_as_many_slots_as_needed() -> None:
    after, result = acquire_slot(record("ABC", "N"), expired="AC", max_active=2)

    assert [each.job_id for each in after.active] == ["B", "N"]
    assert isinstance(result, Acquired)
    assert [each.job_id for each in result.displaced] == ["A", "C"]
    assert acquire_slot(record("ABC", "N"), expired="A", max_active=2)[1] == Blocked("active-limit")


def test_a_slot_whose_lease_has_not_expired_is_never_taken_over() -> None:
    assert acquire_slot(record("AB", "N"), expired="X", max_active=2)[1] == Blocked("active-limit")


def test_block_leaves_the_slots_of_others() -> None:
    assert acquire_slot(record("A", "N"), expired="A", stale_policy="block")[1] == Blocked("active-limit")


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

    _, result = acquire_slot(before, at=AT + since)

    assert result == (Blocked("retry-first") if is_first else Acquired())
    assert acquire_slot(before, "R", skips_queue=True, at=AT + since)[1] == Acquired()


def test_a_due_retry_reserves_only_one_slot() -> None:
    before = record([], [entry("R", retry_at=AT), entry("N")])

    assert acquire_slot(before, max_active=2)[1] == Acquired()


def test_a_retry_behind_a_job_does_not_block_it() -> None:
    assert acquire_slot(record([], [entry("N"), entry("R", retry_at=AT)]))[1] == Acquired()


def test_in_order_older_jobs_go_first_unless_they_are_not_due() -> None:
    later = entry("R", retry_at=AT + timedelta(seconds=5))

    assert acquire_slot(record("", "BN"), in_order=True)[1] == Blocked("others-first")
    assert acquire_slot(record("", "BN"), in_order=True, max_active=2)[1] == Acquired()
    assert acquire_slot(record("", "BN"), in_order=True, skips_queue=True)[1] == Acquired()
    assert acquire_slot(record([], [later, entry("N")]), in_order=True)[1] == Acquired()


def test_a_renewal_extends_only_one_lease() -> None:
    later = AT + timedelta(seconds=10)

    renewed = renew(record("AB", "C"), "token-B", lease=LEASE, at=later)

    assert renewed is not None
    assert renewed == record([slot("A"), slot("B", renewed=later)], [entry("C")])
    assert renewed.active[1].started_at == timestamp(AT)
    assert renewed.active[1].lease == LEASE


def test_a_lost_slot_is_not_renewed_by_a_newer_one_of_its_job() -> None:
    assert renew(record([slot("A", "newer")]), "older", lease=LEASE, at=AT) is None


def test_a_release_removes_one_slot_by_its_token() -> None:
    assert release(record("AB", "C"), "token-A") == record("B", "C")
    assert release(record([slot("A", "newer")]), "older") is None
    assert release(record("A", "B"), "token-A", waiting=None) == record("", "B")


def test_a_job_that_is_retried_waits_once_at_the_head() -> None:
    waiting = entry("A", retry_at=AT)

    assert release(record("A", "BA"), "token-A", waiting=waiting) == record([], [waiting, entry("B")])


def test_a_job_is_removed_whether_it_waits_or_is_active() -> None:
    assert remove(record("AB", "C"), "A") == record("B", "C")
    assert remove(record("AB", "C"), "C") == record("AB")
    assert remove(record("AB", "C"), "X") == record("AB", "C")
