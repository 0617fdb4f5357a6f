"""Errors that differ only in values have one fingerprint, and others have others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trellis_admin.projection.fingerprint import (
    fingerprint_of,
    message_of,
    pattern_of,
    split_error,
    title_error,
)

WORDS = st.lists(st.sampled_from(["order", "the", "row", "is", "late", "of", "part"]), min_size=1, max_size=6)
VALUES = st.one_of(
    st.integers(0, 10**20).map(str),
    st.floats(0, 10**9, allow_nan=False, allow_infinity=False).map(lambda value: f"{value:.3f}"),
)
IDS = st.one_of(
    st.uuids().map(str),
    st.integers(0, 2**64).map(lambda value: f"0x{value:016x}"),
    st.integers(10**6, 10**12).map(lambda value: f"order-{value}-charge-1"),
)


@given(words=WORDS, first=VALUES, second=VALUES)
def test_numbers_do_not_matter(words: list[str], first: str, second: str) -> None:
    text = " ".join(words)

    assert pattern_of(f"{text} {first} ms") == pattern_of(f"{text} {second} ms") == f"{text} <number> ms"


@given(
    words=WORDS,
    pair=st.one_of(
        st.tuples(st.uuids().map(str), st.uuids().map(str)),
        st.tuples(*[IDS.filter(lambda text: text.startswith("order"))] * 2),
    ),
)
def test_ids_do_not_matter(words: list[str], pair: tuple[str, str]) -> None:
    text = " ".join(words)

    assert pattern_of(f"{text} {pair[0]}") == pattern_of(f"{text} {pair[1]}") == f"{text} <id>"


@given(st.text(max_size=2_000))
def test_a_pattern_of_any_text_is_short_and_stays_as_it_is(text: str) -> None:
    pattern = pattern_of(text)

    assert len(pattern) < 4_000
    assert "\n" not in pattern
    assert 0 <= fingerprint_of("s", "q", None, pattern) < 2**32


@given(WORDS, WORDS)
def test_other_words_have_other_fingerprints(one: list[str], other: list[str]) -> None:
    first, second = " ".join(one), " ".join(other)

    assert (fingerprint_of("s", "q", None, first) == fingerprint_of("s", "q", None, second)) is (
        first == second
    )


def test_service_queue_and_type_are_part_of_a_fingerprint() -> None:
    prints = {
        fingerprint_of(*parts)
        for parts in [
            ("s", "q", None, "x"),
            ("t", "q", None, "x"),
            ("s", "r", None, "x"),
            ("s", "q", "ValueError", "x"),
            ("sq", "", None, "x"),
        ]
    }

    assert len(prints) == 5


@pytest.mark.parametrize(
    ("message", "pattern"),
    [
        (
            "POST https://payments.internal/v2/charges did not answer within 30.0 s (key order-9007199254-charge-1)",
            "POST https://payments.internal/v2/charges did not answer within <number> s (key <id>)",
        ),
        (
            "Server error '503 Service Unavailable' for url 'https://p.test/v2/charges/ch_3QK9yL2eZvKYlo2C1x7wq0aB?x=1'",
            "Server error '<text>' for url '<text>'",
        ),
        ("see https://a.test/users/42/orders?page=7#top", "see https://a.test/users/<id>/orders?<query>"),
        ("postgres://me:secret@db-07.test:5432/main failed", "postgres://<id>.test:<number>/main failed"),
        ("'NoneType' object has no attribute 'subject'", "'NoneType' object has no attribute 'subject'"),
        (
            'violates "reservation_order_line_uniq", key (order_id, line)=(7, 9)',
            'violates "reservation_order_line_uniq", key (order_id, line)=(<number>, <number>)',
        ),
        ("no mailbox <jane.doe+7@mail.example.org>", "no mailbox <<address>>"),
        ("a@b.test is full, team@ is not", "<address> is full, team@ is not"),
        ("at 2026-03-01T08:00:00.123Z it was late", "at <time> it was late"),
        ("0xdeadbeef is not mapped", "<hex> is not mapped"),
        ("first line\nsecond line 7", "first line"),
        ("\n  \n spaces   and\ttabs", "spaces and tabs"),
        ("took 1,204 of 1,000 and 12ms", "took <number> of <number> and <number>ms"),
        ("order c0 has no box", "order <id> has no box"),
        ("order c17 has no box", "order <id> has no box"),
        ("https://a.test/v2/orders/c7 is gone", "https://a.test/v2/orders/<id> is gone"),
        ("E1 of API v2: IPv6 and utf8 in s3", "E1 of API v2: IPv6 and utf8 in s3"),
        ("", ""),
    ],
)
def test_patterns_keep_what_names_the_cause(message: str, pattern: str) -> None:
    assert pattern_of(message) == pattern


@pytest.mark.parametrize(
    ("error", "error_type", "message"),
    [
        ("ValueError: no", "ValueError", "no"),
        ("TimeoutError: ", "TimeoutError", ""),
        ("OutOfStock: none left: 7", "OutOfStock", "none left: 7"),
        ("httpx.ReadTimeout: slow", "ReadTimeout", "slow"),
        ("Payload: bad", None, "Payload: bad"),
        ("it does not fit", None, "it does not fit"),
        ("max deliveries exceeded: stream=JOBS_WORK", None, "max deliveries exceeded: stream=JOBS_WORK"),
        ("", None, ""),
    ],
)
def test_the_type_of_an_error_comes_before_its_message(
    error: str, error_type: str | None, message: str
) -> None:
    assert split_error(error) == (error_type, message)


@pytest.mark.parametrize(
    ("error_type", "error", "message", "title"),
    [
        ("Boom", "Boom: no", "no", "Boom: no"),
        ("ReadTimeout", "httpx.ReadTimeout: slow", "slow", "ReadTimeout: slow"),
        ("GatewayTimeout", "GatewayTimeout: GatewayTimeout: POST", "POST", "GatewayTimeout: POST"),
        ("Boom", "Boom", "", "Boom"),
        ("Boom", "", "", "Boom"),
        ("Boom", "Boomerang: no", "Boomerang: no", "Boom: Boomerang: no"),
        ("Boom", "no Boom: x", "no Boom: x", "Boom: no Boom: x"),
        ("a+", "a+: b", "b", "a+: b"),
        (None, "it does not fit", "it does not fit", "it does not fit"),
    ],
)
def test_the_type_of_an_error_is_shown_once(
    error_type: str | None, error: str, message: str, title: str
) -> None:
    assert message_of(error_type, error) == message
    assert title_error(error_type, error) == title
