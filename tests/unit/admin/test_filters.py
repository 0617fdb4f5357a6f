"""The filter language: read, written back with absolute times, and wrong in sentences."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trellis_admin.queries import FilterProblem, JobFilter, Term, Word, parse_filter
from trellis_nats.jobs.model.states import JobState

NOW: Final = datetime(2026, 3, 10, 12, 30, tzinfo=UTC)
TIMES: Final = (Word.CREATED, Word.SINCE)
VALUES: Final = st.text(
    st.characters(exclude_characters='"', exclude_categories=("Cs", "Cc")), min_size=1, max_size=20
)


def instants() -> st.SearchStrategy[datetime]:
    moments = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - the strategy adds the zone
    return moments.map(lambda at: at.replace(microsecond=at.microsecond // 1000 * 1000))


def begins(word: Word, at: datetime) -> Term:
    return Term(word, after=at)


def ends(word: Word, at: datetime) -> Term:
    return Term(word, before=at)


def spans(word: Word, pair: tuple[datetime, datetime]) -> Term:
    return Term(word, after=pair[0], before=pair[1])


def terms() -> st.SearchStrategy[Term]:
    words = [word for word in Word if word not in (*TIMES, Word.STATE, Word.ARGUMENT)]
    of_values = st.builds(
        Term, st.sampled_from(words), st.lists(VALUES, min_size=1, max_size=3, unique=True).map(tuple)
    )
    states = st.lists(st.sampled_from(JobState).map(str), min_size=1, unique=True).map(tuple)
    ranges = st.tuples(instants(), instants()).filter(lambda pair: pair[0] < pair[1])
    return st.one_of(
        of_values,
        states.map(lambda values: Term(Word.STATE, values)),
        st.tuples(VALUES.filter(lambda name: "=" not in name), VALUES).map(
            lambda pair: Term(Word.ARGUMENT, (f"{pair[0]}={pair[1]}",))
        ),
        st.builds(begins, st.sampled_from(TIMES), instants()),
        st.builds(ends, st.sampled_from(TIMES), instants()),
        st.builds(spans, st.sampled_from(TIMES), ranges),
    )


@given(st.lists(terms(), max_size=6))
def test_a_filter_that_is_written_means_the_same_at_any_time(parts: list[Term]) -> None:
    written = JobFilter(tuple(parts))

    assert parse_filter(written.text, NOW) == written
    assert parse_filter(written.text, NOW + timedelta(days=99)).text == written.text


@given(st.text(max_size=60))
def test_any_text_is_a_filter_or_a_problem(text: str) -> None:
    try:
        found = parse_filter(text, NOW)
    except FilterProblem:
        return
    assert parse_filter(found.text, NOW) == found


@pytest.mark.parametrize(
    ("text", "absolute"),
    [
        ("created:>-1h", "created:>2026-03-10T11:30:00.000Z"),
        ("created:-1h", "created:>2026-03-10T11:30:00.000Z"),
        ("since:<-2d", "since:<2026-03-08T12:30:00.000Z"),
        ("created:-2h..-30min", "created:2026-03-10T10:30:00.000Z..2026-03-10T12:00:00.000Z"),
        ("created:2026-03-01", "created:2026-03-01T00:00:00.000Z..2026-03-02T00:00:00.000Z"),
        ("created:>=2026-03-01T08:00:00+01:00", "created:>2026-03-01T07:00:00.000Z"),
    ],
)
def test_times_become_absolute(text: str, absolute: str) -> None:
    assert parse_filter(text, NOW).text == absolute


def test_spaces_mean_and_and_commas_mean_or() -> None:
    found = parse_filter('queue:pack,sort  STATE:Dead error:"did not answer, again",x 01M8K "created:x"', NOW)

    assert found.terms == (
        Term(Word.QUEUE, ("pack", "sort")),
        Term(Word.STATE, ("dead",)),
        Term(Word.ERROR, ("did not answer, again", "x")),
        Term(Word.TEXT, ("01M8K",)),
        Term(Word.TEXT, ("created:x",)),
    )
    assert found.states == {JobState.DEAD}
    assert not found.asks_about_payloads
    assert parse_filter("arg:id=1", NOW).asks_about_payloads


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("quue:pack", "did you mean queue?"),
        ("https://x.test/1", '"https" is not a word of filters'),
        ("state:deda", "did you mean dead?"),
        ("state:", "write state:VALUE"),
        ("queue:a,,b", "a value is empty"),
        ('error:"open', "the quotation mark is not closed"),
        ("created:yesterday", '"yesterday" is not a time; write -1h'),
        ("created:>-99999999w", "is not a time"),
        ("created:-1h..-2h", "ends before it begins"),
        ("arg:order", "write arg:NAME=VALUE"),
        (" ".join(["queue:a"] * 31), "has 31 parts"),
        ("id:" + ",".join(map(str, range(101))), "has 101 values"),
    ],
)
def test_a_wrong_filter_says_what_is_right(text: str, says: str) -> None:
    with pytest.raises(FilterProblem) as caught:
        parse_filter(text, NOW)

    assert says in str(caught.value)


@pytest.mark.parametrize("text", ['created:""', 'since:""', "created:9999-12-31T23:59:59Z-"])
def test_a_time_that_is_none_is_a_problem(text: str) -> None:
    with pytest.raises(FilterProblem, match="is not a time"):
        parse_filter(text, NOW)


def test_bytes_that_are_not_text_are_a_problem() -> None:
    with pytest.raises(FilterProblem, match="not UTF-8"):
        parse_filter("key:a\udcff", NOW)


def test_the_last_day_has_no_end() -> None:
    assert parse_filter("created:9999-12-31", NOW).text == "created:>9999-12-31T00:00:00.000Z"


def test_chips_edit_a_filter() -> None:
    found = parse_filter("queue:pack state:dead,failed", NOW)

    assert found.without(Word.STATE).text == "queue:pack"
    assert found.with_term(Word.KEY, "a b").text == 'queue:pack state:dead,failed key:"a b"'
