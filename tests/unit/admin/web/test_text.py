"""Numbers, durations and times as the pages print them."""

from datetime import UTC, datetime, timedelta

import pytest
from trellis_admin.web import text


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.0, "0 s"),
        (-5.0, "0 s"),
        (0.0004, "<1 ms"),
        (0.0124, "12 ms"),
        (0.0996, "0.10 s"),
        (0.214, "0.21 s"),
        (0.996, "1.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 m 00 s"),
        (482.0, "8 m 02 s"),
        (11_520.0, "3 h 12 m"),
        (9 * 86_400.0, "9 d"),
    ],
)
def test_a_duration_has_as_many_digits_as_it_needs(seconds: float, shown: str) -> None:
    assert text.duration(timedelta(seconds=seconds)) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0 s"), (59, "59 s"), (60, "1 min"), (3599, "59 min"), (3600, "1 h 00 m")]
)
def test_an_age_is_rough(seconds: int, shown: str) -> None:
    assert text.rough_duration(timedelta(seconds=seconds)) == shown


@pytest.mark.parametrize(
    ("typed", "number"),
    [
        ("2914", 2914),
        (" 2,914 ", 2914),
        ("0", 0),
        ("", None),
        ("-3", None),
        ("2.914", None),
        ("٣", None),
        ("9" * 30, None),
    ],
)
def test_a_typed_count_may_have_commas_and_nothing_else(typed: str, number: int | None) -> None:
    assert text.typed_number(typed) == number


@pytest.mark.parametrize(
    ("number", "shown"), [(0, "0"), (61_206, "61,206"), (150_999, "150 k"), (2_100_000, "2.1 M")]
)
def test_a_chip_has_room_for_a_short_count(number: int, shown: str) -> None:
    assert text.short_count(number) == shown


@pytest.mark.parametrize(
    ("count", "shown"), [(1, "1 byte"), (412, "412 bytes"), (18_637, "18.2 KiB"), (412 << 20, "412 MiB")]
)
def test_a_size_has_a_unit(count: int, shown: str) -> None:
    assert text.size(count) == shown


def test_a_day_is_named_by_its_distance() -> None:
    now = datetime(2026, 11, 29, 0, 30, tzinfo=UTC)

    assert text.day(now, now) == "Today, 29 November"
    assert text.day(now - timedelta(hours=1), now) == "Yesterday, 28 November"
    assert text.day(now - timedelta(days=400), now) == "25 October 2025"


def test_the_placeholders_of_a_pattern_are_told_from_its_words() -> None:
    assert text.split_holes("product <id> has <number> left") == [
        ("product ", False),
        ("id", True),
        (" has ", False),
        ("number", True),
        (" left", False),
    ]
    assert text.split_holes("1 < 2") == [("1 < 2", False)]
