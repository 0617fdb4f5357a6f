"""Instants in the wire format, and names that are valid in a subject."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trellis_nats.clock import (
    from_unix_nanoseconds,
    later,
    now,
    parse_timestamp,
    timestamp,
    to_milliseconds,
    to_nanoseconds,
)
from trellis_nats.errors import ConfigurationError
from trellis_nats.ids import id_of_bytes, is_token, new_id, require_token
from ulid import ULID

FIRST = datetime(1970, 1, 2, tzinfo=UTC)
instants = st.timedeltas(timedelta(0), timedelta(days=365_000)).map(lambda since: FIRST + since)


@given(instants)
def test_an_instant_survives_the_wire_to_the_millisecond(instant: datetime) -> None:
    text = timestamp(instant)

    assert len(text) == len("2026-07-01T10:00:00.000Z")
    assert abs(parse_timestamp(text) - instant) < timedelta(milliseconds=1)


@given(instants, instants)
def test_text_order_is_time_order(left: datetime, right: datetime) -> None:
    if timestamp(left) < timestamp(right):
        assert left < right


def test_any_offset_and_precision_is_read() -> None:
    assert parse_timestamp("2026-07-01T12:00:00.5+02:00") == datetime(2026, 7, 1, 10, 0, 0, 500_000, UTC)
    assert parse_timestamp("2026-07-01T10:00:00Z") == datetime(
        2026, 7, 1, 12, tzinfo=timezone(timedelta(hours=2))
    )
    assert parse_timestamp("2026-07-01T10:00:00.123456789Z").microsecond == 123_456


def test_an_instant_without_an_offset_is_refused() -> None:
    with pytest.raises(ValueError, match="no offset"):
        parse_timestamp("2026-07-01T10:00:00")


def test_the_current_instant_is_cut_as_it_is_written() -> None:
    before, instant, after = datetime.now(UTC), now(), datetime.now(UTC)

    assert parse_timestamp(timestamp(instant)) == instant
    assert before - timedelta(milliseconds=1) < instant <= after


def test_two_instants_of_a_repeated_hour_differ() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    once, again = (datetime(2026, 10, 25, 2, 30, tzinfo=berlin, fold=fold) for fold in (0, 1))

    assert once == again
    assert timestamp(once) == "2026-10-25T00:30:00.000Z"
    assert timestamp(again) == "2026-10-25T01:30:00.000Z"


def test_durations_are_whole_units_on_the_wire() -> None:
    assert to_milliseconds(timedelta(seconds=1.5)) == 1500
    assert to_nanoseconds(timedelta(microseconds=3)) == 3000


def test_a_new_id_is_a_token() -> None:
    assert is_token(new_id())
    assert len({new_id() for _ in range(1000)}) == 1000


def test_threads_do_not_create_the_same_id() -> None:
    def create_ids(count: int) -> list[str]:
        return [new_id() for _ in range(count)]

    with ThreadPoolExecutor(8) as threads:
        ids = [new for batch in threads.map(create_ids, [2_000] * 10) for new in batch]

    assert len(set(ids)) == 20_000


FORK = """
import os
from trellis_nats.ids import new_id

new_id()  # leaves randomness that is not used yet
child = os.fork()
if child:
    os.waitpid(child, 0)  # what two processes print at the same time may be mixed
print(new_id()[10:], flush=True)
"""


def test_a_forked_child_does_not_create_the_ids_of_its_parent() -> None:
    printed = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, check=True)

    assert len(set(printed.stdout.split())) == 2


@given(st.binary(min_size=16, max_size=16))
def test_an_id_of_bytes_is_their_ulid(value: bytes) -> None:
    assert id_of_bytes(value) == str(ULID(value))


def test_a_new_id_is_a_ulid_of_now() -> None:
    before = time.time_ns() // 1_000_000
    ids = [new_id() for _ in range(1000)]
    after = time.time_ns() // 1_000_000

    parsed = [ULID.from_str(text) for text in ids]
    assert [str(ulid) for ulid in parsed] == ids
    assert all(before <= ulid.milliseconds <= after for ulid in parsed)
    randomness = [int.from_bytes(ulid.bytes[6:]) for ulid in parsed]
    assert all(0 < sum(number >> bit & 1 for number in randomness) < 1000 for bit in range(80))


@given(st.text())
def test_only_what_cannot_change_a_subject_is_a_token(text: str) -> None:
    if is_token(text):
        assert not set(text) & set(".*> \t\r\n")
        assert 1 <= len(text) <= 64
    else:
        with pytest.raises(ConfigurationError, match="must be 1 to 64"):
            require_token("job id", text)


@given(instants, st.timedeltas(timedelta(0)))
def test_what_is_later_than_the_year_9999_is_its_end(instant: datetime, duration: timedelta) -> None:
    found = later(instant, duration)

    assert found >= instant or found.year == 9999
    if duration < datetime(9999, 12, 31, tzinfo=UTC) - instant:
        assert found == instant + duration
    else:
        assert found.year == 9999
    assert parse_timestamp(timestamp(found)).year == found.year


def test_an_instant_is_read_from_an_ack_subject() -> None:
    assert from_unix_nanoseconds(1_782_900_000_123_456_789) == datetime(
        2026, 7, 1, 10, 0, 0, 123_456, tzinfo=UTC
    )
