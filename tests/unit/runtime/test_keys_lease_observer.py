"""A lease is over when it was seen unrenewed for its length, by the observer's own clock."""

from datetime import timedelta

import pytest
from trellis_nats.jobs.keys.model.lease_observer import NO_OBSERVATIONS, observe

from tests.support.keyed_records import AT, record, slot

FIRST = record("AB")
"""Leases of 30 s."""


def test_a_lease_is_over_when_it_was_seen_for_its_length() -> None:
    seen = observe(NO_OBSERVATIONS, FIRST, at=100.0)

    assert seen.expired(FIRST, at=129.999) == set()
    assert seen.expired(FIRST, at=130.0) == {"token-A", "token-B"}


def test_seeing_it_again_unchanged_does_not_begin_anew() -> None:
    seen = observe(NO_OBSERVATIONS, FIRST, at=100.0)
    for at in (110.0, 120.0, 129.0):
        seen = observe(seen, FIRST, at=at)

    assert seen.expired(FIRST, at=130.0) == {"token-A", "token-B"}


def test_a_renewed_hold_is_seen_anew() -> None:
    renewed = record([slot("A", renewed=AT + timedelta(seconds=10)), slot("B")])
    seen = observe(observe(NO_OBSERVATIONS, FIRST, at=100.0), renewed, at=115.0)

    assert seen.expired(renewed, at=130.0) == {"token-B"}
    assert seen.expired(renewed, at=144.9) == {"token-B"}
    assert seen.expired(renewed, at=145.0) == {"token-A", "token-B"}


def test_what_was_not_seen_or_was_renewed_since_is_not_over() -> None:
    renewed = record([slot("A", renewed=AT + timedelta(seconds=10))])

    assert NO_OBSERVATIONS.expired(FIRST, at=1e9) == set()
    assert observe(NO_OBSERVATIONS, FIRST, at=0.0).expired(renewed, at=1e9) == set()


@pytest.mark.parametrize("ahead", [-timedelta(days=365), timedelta(0), timedelta(days=365)])
def test_the_owners_wall_clock_says_nothing(ahead: timedelta) -> None:
    found = record([slot("A", renewed=AT + ahead)])
    seen = observe(NO_OBSERVATIONS, found, at=100.0)

    assert seen.expired(found, at=129.9) == set()
    assert seen.expired(found, at=130.0) == {"token-A"}


def test_each_hold_has_the_lease_that_its_owner_gave_it() -> None:
    found = record([slot("A", lease=timedelta(seconds=5)), slot("B", lease=timedelta(seconds=-5))])
    seen = observe(NO_OBSERVATIONS, found, at=100.0)

    assert seen.expired(found, at=100.0) == {"token-B"}
    assert seen.expired(found, at=105.0) == {"token-A", "token-B"}


def test_a_hold_that_went_and_came_is_seen_anew() -> None:
    seen = observe(NO_OBSERVATIONS, FIRST, at=100.0)
    seen = observe(seen, record("B"), at=110.0)
    seen = observe(seen, FIRST, at=120.0)

    assert seen.expired(FIRST, at=130.0) == {"token-B"}


def test_the_next_end_is_that_of_the_first_lease() -> None:
    longer = record([slot("A"), slot("B", lease=timedelta(seconds=10))])
    seen = observe(NO_OBSERVATIONS, longer, at=100.0)

    assert seen.next_expiry(longer, at=104.0) == timedelta(seconds=6)
    assert seen.next_expiry(longer, at=200.0) == timedelta(0)
    assert NO_OBSERVATIONS.next_expiry(longer, at=0.0) == timedelta(seconds=10)
    assert NO_OBSERVATIONS.next_expiry(record("", "A"), at=0.0) is None


def test_seeing_changes_no_earlier_sighting() -> None:
    before = observe(NO_OBSERVATIONS, FIRST, at=100.0)

    observe(before, record(), at=110.0)

    assert before.expired(FIRST, at=130.0) == {"token-A", "token-B"}
