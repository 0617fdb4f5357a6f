"""How measurements are written for Prometheus."""

from __future__ import annotations

import math
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from trellis_admin.metrics import FLEET_FAMILIES, Measurement, to_text
from trellis_admin.metrics.families import (
    ERROR_GROUP_JOBS,
    JOBS,
    OLDEST,
    PAUSED,
    PROJECTION_SEQUENCE,
    RUN_TIME,
)
from trellis_nats.metrics import FAMILIES

Read = dict[tuple[str, frozenset[tuple[str, str]]], float]
TEXTS: Final = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from('"\\\n'), max_size=30)


def read(text: str) -> Read:
    """Return the samples as Prometheus' own client reads them."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_family_is_written_with_its_help_and_its_type() -> None:
    text = to_text(
        [
            Measurement(PROJECTION_SEQUENCE, (), 17),
            Measurement(JOBS, ("orders", "charge", "dead"), 3),
            Measurement(JOBS, ("orders", "charge", "pending"), 0),
        ]
    )

    assert text == (
        "# HELP trellis_fleet_jobs Jobs of a queue in each state.\n"
        "# TYPE trellis_fleet_jobs gauge\n"
        'trellis_fleet_jobs{service="orders",queue="charge",state="dead"} 3\n'
        'trellis_fleet_jobs{service="orders",queue="charge",state="pending"} 0\n'
        "# HELP trellis_fleet_projection_sequence The sequence of stream JOBS up to which these numbers are.\n"
        "# TYPE trellis_fleet_projection_sequence gauge\n"
        "trellis_fleet_projection_sequence 17\n"
    )


@given(TEXTS, TEXTS)
def test_any_text_of_a_label_is_read_back(service: str, error_type: str) -> None:
    labels = (service, "q", "00000000", error_type)
    text = to_text([Measurement(ERROR_GROUP_JOBS, labels, 1)])

    expected = dict(zip(ERROR_GROUP_JOBS.labels, labels, strict=True))
    assert read(text) == {(ERROR_GROUP_JOBS.name, frozenset(expected.items())): 1.0}


@given(st.floats(min_value=0, max_value=1e9))
def test_durations_are_exact_to_the_microsecond(seconds: float) -> None:
    (value,) = read(to_text([Measurement(RUN_TIME, ("s", "q", "95"), seconds)])).values()

    assert math.isclose(value, seconds, abs_tol=1e-6)


@pytest.mark.parametrize(("family", "expected"), [(JOBS, 7), (OLDEST, 5), (PAUSED, 5)])
def test_equal_labels_are_one_sample(family: object, expected: int) -> None:
    assert family in FLEET_FAMILIES
    chosen = next(known for known in FLEET_FAMILIES if known is family)
    labels = tuple("x" for _ in chosen.labels)
    text = to_text([Measurement(chosen, labels, 2), Measurement(chosen, labels, 5)])

    assert [*read(text).values()] == [expected]


def test_names_are_those_of_prometheus_and_of_no_service() -> None:
    names = [family.name for family in FLEET_FAMILIES]

    assert len(set(names)) == len(names)
    assert not {family.name for family in FAMILIES} & set(names)
    for family in FLEET_FAMILIES:
        assert family.name.startswith("trellis_fleet_")
        assert family.name.endswith("_total") == (family.kind == "counter")
        assert family.help.endswith(".")
