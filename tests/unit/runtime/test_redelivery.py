"""How consumers redeliver messages, ours or another runtime's."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trellis_nats._nats.jetstream.consumer_info import ConsumerInfo
from trellis_nats.jobs.work.redelivery import RedeliveryPolicy, spread

OTHERWISE = timedelta(seconds=30)


def test_our_own_consumer_is_plain() -> None:
    delivery = RedeliveryPolicy.of(ConsumerInfo(ack_wait=timedelta(minutes=10)), otherwise=OTHERWISE)

    assert delivery == RedeliveryPolicy(timedelta(minutes=10))
    assert delivery.nak_delay(timedelta(seconds=5), delivered=3) == timedelta(seconds=5)


def test_a_backoff_replaces_the_ack_wait_by_its_shortest_step() -> None:
    backoff = (timedelta(seconds=5), timedelta(seconds=30))
    info = ConsumerInfo(ack_wait=timedelta(minutes=10), backoff=backoff)

    delivery = RedeliveryPolicy.of(info, otherwise=OTHERWISE)

    assert delivery.ack_wait == timedelta(seconds=5)


def test_what_a_server_adds_to_a_delay_is_taken_off_before() -> None:
    """Measured: nak(2) with a backoff of 1, 3 and 6 s came after 4 s on the second delivery."""
    delivery = RedeliveryPolicy(timedelta(seconds=1), tuple(timedelta(seconds=s) for s in (1, 3, 6)))

    assert delivery.nak_delay(timedelta(seconds=2), delivered=1) == timedelta(seconds=2)
    assert delivery.nak_delay(timedelta(seconds=4), delivered=2) == timedelta(seconds=2)
    assert delivery.nak_delay(timedelta(seconds=30), delivered=9) == timedelta(seconds=25)


@given(
    st.lists(st.timedeltas(timedelta(0), timedelta(hours=1)), max_size=6),
    st.timedeltas(timedelta(0), timedelta(hours=2)),
    st.integers(1, 20),
)
def test_a_delay_is_never_negative_and_at_once_stays_at_once(
    backoff: list[timedelta], wanted: timedelta, delivered: int
) -> None:
    delay = RedeliveryPolicy(OTHERWISE, tuple(backoff)).nak_delay(wanted, delivered=delivered)

    assert delay >= timedelta(0)
    assert (delay == timedelta(0)) == (wanted == timedelta(0))


def test_an_answer_without_numbers_leaves_the_binding_s() -> None:
    assert RedeliveryPolicy.of(ConsumerInfo(), otherwise=OTHERWISE) == RedeliveryPolicy(OTHERWISE)


@pytest.mark.parametrize(
    ("delivered", "connected_seconds", "max_deliver", "is_proven"),
    [
        (1, 100, -1, False),
        (2, 100, -1, True),
        (2, 29, -1, False),
        (7, 100, 0, True),
        (1, 0, 1, True),
        (2, 0, 3, False),
        (3, 0, 3, True),
    ],
)
def test_a_delivery_proves_that_no_worker_is_alive_after_an_ack_wait(
    delivered: int, connected_seconds: int, max_deliver: int, *, is_proven: bool
) -> None:
    info = ConsumerInfo(ack_wait=timedelta(seconds=30), max_deliver=max_deliver)
    policy = RedeliveryPolicy.of(info, otherwise=OTHERWISE)

    found = policy.is_silence_proven(delivered, connected_for=timedelta(seconds=connected_seconds))

    assert found is is_proven


@pytest.mark.parametrize(
    ("room", "longest"), [(0, 60), (-1, 60), (100_000, 60), (1_000, 60), (999, 1), (4, 1)]
)
def test_a_consumer_holds_short_waits_and_a_narrow_one_hardly_any(room: int, longest: int) -> None:
    policy = RedeliveryPolicy.of(ConsumerInfo(max_ack_pending=room), otherwise=OTHERWISE)

    assert policy.may_hold(timedelta(seconds=longest))
    assert not policy.may_hold(timedelta(seconds=longest, milliseconds=1))


@given(st.floats(0, 0.99), st.timedeltas(timedelta(0), timedelta(days=30)))
def test_waits_vary_by_at_most_the_jitter(jitter: float, wait: timedelta) -> None:
    (varied,) = spread([wait], jitter)

    assert abs(varied - wait) <= jitter * wait + timedelta(milliseconds=1)


def test_waits_are_spread_over_the_whole_range() -> None:
    waits = spread([timedelta(seconds=10)] * 1_000, 0.1)

    assert max(waits) - min(waits) > timedelta(seconds=1.5)
    assert spread([timedelta(seconds=10)], 0) == [timedelta(seconds=10)]
