"""A lease expires when it was seen without a renewal for its length, by the observer's clock."""

from datetime import timedelta

import pytest
from trellis_nats.jobs.keys.model.lease_observer import NO_OBSERVATIONS, observe

from tests.support.keyed_records import AT, record, slot

FIRST = record("AB")
"""Leases of 30 s."""


def test_a_lease_expires_when_it_was_seen_for_its_length() -> None:
    seen = observe(NO_OBSERVATIONS, FIRST, at=100.0)

    assert seen.expired(FIRST, at=129.999) == set()
    assert seen.expired(FIRST, at=130.0) == {"token-A", "token-B"}


def test_an_unchanged_lease_keeps_its_first_observation() -> None:
    seen = observe(NO_OBSERVATIONS, FIRST, at=100.0)
    for at in (110.0, 120.0, 129.0):
        seen = observe(seen, FIRST, at=at)

    assert seen.expired(FIRST, at=130.0) == {"token-A", "token-B"}


def test_a_renewed_lease_is_observed_from_its_renewal() -> None:
    renewed = record([slot("A", renewed=AT + timedelta(seconds=10)), slot("B")])
    seen = observe(observe(NO_OBSERVATIONS, FIRST, at=100.0), renewed, at=115.0)

    assert seen.expired(renewed, at=130.0) == {"token-B"}
    assert seen.expired(renewed, at=144.9) == {"token-B"}
    assert seen.expired(renewed, at=145.0) == {"token-A", "token-B"}


def test_a_lease_that_was_not_observed_or_was_renewed_has_not_expired() -> None:
    renewed = record([slot("A", renewed=AT + timedelta(seconds=10))])

    assert NO_OBSERVATIONS.expired(FIRST, at=1e9) == set()
    assert observe(NO_OBSERVATIONS, FIRST, at=0.0).expired(renewed, at=1e9) == set()


@pytest.mark.parametrize("ahead", [-timedelta(days=365), timedelta(0), timedelta(days=365)])
def test_the_owners_wall_clock_does_not_matter(ahead: timedelta) -> None:
    found = record([slot("A", renewed=AT + ahead)])
    seen = observe(NO_OBSERVATIONS, found, at=100.0)

    assert seen.expired(found, at=129.9) == set()
    assert seen.expired(found, at=130.0) == {"token-A"}


def test_each_slot_has_the_lease_that_its_owner_stored() -> None:
    found = record([slot("A", lease=timedelta(seconds=5)), slot("B", lease=timedelta(seconds=-5))])
    seen = observe(NO_OBSERVATIONS, found, at=100.0)

    assert seen.expired(found, at=100.0) == {"token-B"}
    assert seen.expired(found, at=105.0) == {"token-A", "token-B"}


def test_a_slot_that_returns_to_the_record_is_observed_from_its_return() -> None:
    seen = observe(NO_OBSERVATIONS, FIRST, at=100.0)
    seen = observe(seen, record("B"), at=110.0)
    seen = observe(seen, FIRST, at=120.0)

    assert seen.expired(FIRST, at=130.0) == {"token-B"}


def test_the_next_expiry_is_that_of_the_first_lease() -> None:
    longer = record([slot("A"), slot("B", lease=timedelta(seconds=10))])
    seen = observe(NO_OBSERVATIONS, longer, at=100.0)

    assert seen.next_expiry(longer, at=104.0) == timedelta(seconds=6)
    assert seen.next_expiry(longer, at=200.0) == timedelta(0)
    assert NO_OBSERVATIONS.next_expiry(longer, at=0.0) == timedelta(seconds=10)
    assert NO_OBSERVATIONS.next_expiry(record("", "A"), at=0.0) is None


def test_an_observation_does_not_change_earlier_ones() -> None:
    before = observe(NO_OBSERVATIONS, FIRST, at=100.0)

    observe(before, record(), at=110.0)

    assert before.expired(FIRST, at=130.0) == {"token-A", "token-B"}
