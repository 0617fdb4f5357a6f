"""Filters of any text, on a small projection: they find jobs, or are a `FilterProblem`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trellis_admin.projection import connect_reader
from trellis_admin.projection.codes import from_milliseconds
from trellis_admin.queries import (
    FilterProblem,
    JobFilter,
    Selection,
    Sort,
    Word,
    count_jobs,
    list_error_groups,
    list_jobs,
    parse_filter,
)
from trellis_nats.jobs.model.states import EventType, JobState

from tests.support.projected import START, job_event, write_pages

NOW: Final = from_milliseconds(START + 3_600_000)
NEWEST: Final = 2**40


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    """Provide a projection with a dead job and one that waits."""
    file: Path = tmp_path_factory.mktemp("jobs") / "p"
    events = [
        job_event(1, "JOB1", EventType.CREATED),
        job_event(2, "JOB1", EventType.STARTED),
        job_event(3, "JOB1", EventType.DEAD, {"error": "ValueError: is late"}),
        job_event(4, "JOB2", EventType.CREATED),
    ]
    write_pages(file, [events])
    with closing(connect_reader(file)) as reader:
        yield reader


def filter_of(text: str) -> JobFilter:
    return parse_filter(text, NOW)


_VALUES: Final = st.one_of(
    st.sampled_from(
        [
            "JOB1",
            "JOB*",
            "a" * 32,
            "f3a91c07",
            "-1h",
            ">-2d",
            "2026-03-01",
            "x=1",
            "a b",
            "dead",
            "%",
            "'",
            "*",
        ]
    ),
    st.text(st.characters(codec="utf-8", exclude_characters='"'), min_size=1, max_size=8),
)


def write_part(word: str, values: list[str], quoted: bool) -> str:
    return word + ",".join(f'"{value}"' if quoted else value for value in values)


_PARTS: Final = st.builds(
    write_part,
    st.sampled_from(["", *(f"{word}:" for word in Word if word), "none:"]),
    st.lists(_VALUES, max_size=4),
    st.booleans(),
)


@given(parts=st.lists(_PARTS, max_size=6), sort=st.sampled_from(Sort))
def test_a_filter_finds_jobs_or_is_a_problem(db: sqlite3.Connection, parts: list[str], sort: Sort) -> None:
    try:
        wanted = filter_of(" ".join(parts))
    except FilterProblem:
        return
    assert filter_of(wanted.text) == wanted
    selection = Selection(wanted, NEWEST)
    listed = list_jobs(db, selection, sort=sort).rows
    grouped = list_error_groups(db, NOW, wanted=wanted)

    assert count_jobs(db, selection).number == len(listed)
    assert sum(group.jobs for group in grouped) == sum(row.state is JobState.DEAD for row in listed)


@pytest.mark.parametrize("word", ["", "id:", "key:", "error:", "trace:"])
def test_as_many_values_as_a_filter_may_have(db: sqlite3.Connection, word: str) -> None:
    """A bare word of eight hexadecimal digits is looked for in six places."""
    part = word + ",".join(f"{number:08x}" for number in range(99)) + ",late"
    selection = Selection(filter_of(" ".join([part] * 10)), NEWEST)

    assert [row.id for row in list_jobs(db, selection).rows] == (["JOB1"] if word in {"", "error:"} else [])
    with pytest.raises(FilterProblem, match="1,100 values; at most 1,000"):
        filter_of(" ".join([part] * 11))
