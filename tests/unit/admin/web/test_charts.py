"""Charts: numbers in, mark-up out."""

import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trellis_admin.web import charts


def parse(drawn: str) -> ET.Element:
    return ET.fromstring(drawn)  # noqa: S314 - our own mark-up


VALUES = st.lists(st.integers(min_value=0, max_value=10**9), max_size=80)


@pytest.mark.parametrize(
    ("value", "top"),
    [(0, 1), (1, 1), (1.2, 2), (7, 8), (99, 100), (240, 250), (2450, 2500), (12_345, 15_000)],
)
def test_an_axis_ends_at_a_round_number(value: float, top: int) -> None:
    assert charts.nice_ceiling(value) == top


@pytest.mark.parametrize(("value", "top"), [(0, 2), (1, 2), (3, 4), (5, 6), (9, 10), (11, 20), (101, 150)])
def test_the_middle_of_an_axis_is_a_whole_number(value: float, top: int) -> None:
    assert charts.nice_ceiling(value, parts=2) == top


@given(st.floats(min_value=0, max_value=1e12))
def test_no_value_is_above_its_axis(value: float) -> None:
    assert charts.nice_ceiling(value) >= value


@given(VALUES, st.booleans())
def test_a_sparkline_stays_in_its_box(values: list[int], is_bleeding: bool) -> None:
    drawn = charts.sparkline(values, 'a "label" & <more>', "dead", is_bleeding=is_bleeding)
    root = parse(drawn)

    assert root.get("aria-label") == 'a "label" & <more>'
    width, height = (200, 26) if is_bleeding else (104, 24)
    for path in root:
        numbers = [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", path.get("d") or "")]
        assert all(-0.01 <= x <= width for x in numbers[::2])
        assert all(-0.01 <= y <= height for y in numbers[1::2])


@given(VALUES)
def test_bars_stay_below_the_top(values: list[int]) -> None:
    ceiling = charts.nice_ceiling(max((2 * value for value in values), default=0))
    root = parse(charts.bars(values, values, ceiling, 56, "label"))

    for bar in root.iter("rect"):
        assert float(bar.get("y") or 0) >= -0.1
        assert float(bar.get("y") or 0) + float(bar.get("height") or 0) <= 56.1


@given(st.lists(st.integers(min_value=0, max_value=100), max_size=5), st.integers(min_value=0, max_value=100))
def test_a_meter_is_never_longer_than_whole(amounts: list[int], whole: int) -> None:
    shares = [charts.Share("active", amount) for amount in amounts]
    root = parse(charts.meter(shares, whole, "label"))

    assert sum(float((rect.get("width") or "0%").rstrip("%")) for rect in root) <= 100.05
