"""The filter language: `word:value` pairs, as in addresses, on command lines and in records of bulk actions. Pure.

Spaces mean *and*, commas *or*. A bare word is an id, a key, a trace id or a word of an error. A value with spaces or commas
stands in double quotes.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Final

from trellis_nats.clock import parse_timestamp, timestamp
from trellis_nats.errors import ConfigurationError
from trellis_nats.jobs.model.states import JobState

__all__ = ["FilterProblem", "JobFilter", "Term", "Word", "parse_filter"]

_TERMS_MAX: Final = 30
_VALUES_MAX: Final = 100
_ALL_VALUES_MAX: Final = 1_000
"""Of all parts together: each value is several parameters of a query, of which SQLite takes 32,766."""
_TOKEN: Final = re.compile(r'(?:[^\s"]|"[^"]*(?:"|$))+')
_RELATIVE: Final = re.compile(r"-?(\d{1,9})(ms|s|m|min|h|d|w)")
_UNITS: Final = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "min": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}
_LAST_DAY: Final = datetime.max.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=UTC)
_LONE: Final = re.compile(r"[\ud800-\udfff]")
"""What arguments of a command have in the place of bytes that are not UTF-8."""
_PLAIN: Final = re.compile(r'[^\s,":]+')


class FilterProblem(ConfigurationError):
    """A filter cannot be read. The text names the part and what would be valid."""


class Word(StrEnum):
    """What a part of a filter is about."""

    TEXT = ""
    """A bare word."""
    ID = "id"
    QUEUE = "queue"
    SERVICE = "service"
    STATE = "state"
    KEY = "key"
    """A key, or the beginning of its hash."""
    ERROR = "error"
    """A fingerprint, a type of errors, or words of an error's text."""
    WORKER = "worker"
    CONTRACT = "contract"
    """The beginning of a digest."""
    TRACE = "trace"
    CREATED = "created"
    SINCE = "since"
    """When the job entered its state."""
    ACTOR = "actor"
    BULK = "bulk"
    PARENT = "parent"
    """The parent, or the first job of the family."""
    ARGUMENT = "arg"


_TIMES: Final = frozenset({Word.CREATED, Word.SINCE})
_WORDS: Final = tuple(word for word in Word if word)


@dataclass(frozen=True, slots=True)
class Term:
    """One part of a filter. It matches a job that has any of the values, or whose time is in the range."""

    word: Word
    values: tuple[str, ...] = ()
    """Empty for times. For `arg`, each is `name=value`."""
    after: datetime | None = None
    """The earliest instant, included."""
    before: datetime | None = None
    """The first instant that is too late."""

    @property
    def text(self) -> str:
        """The term as it is written, with absolute times."""
        if self.word in _TIMES:
            return f"{self.word}:{_range(self.after, self.before)}"
        written = ",".join(_quote(value) for value in self.values)
        return f"{self.word}:{written}" if self.word else written


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs are meant: those that match every term. Without terms, all."""

    terms: tuple[Term, ...] = ()

    @property
    def text(self) -> str:
        """The filter as it is written, with absolute times: parsed again, at any time, it means the same."""
        return " ".join(term.text for term in self.terms)

    @property
    def states(self) -> frozenset[JobState]:
        """The states in which a job can match."""
        allowed = frozenset(JobState)
        for term in self.terms:
            if term.word is Word.STATE:
                allowed &= {JobState(value) for value in term.values}
        return allowed

    @property
    def asks_about_payloads(self) -> bool:
        """Whether it finds jobs by what is in their payloads, which a viewer may not see."""
        return any(term.word is Word.ARGUMENT for term in self.terms)

    def values(self, word: Word) -> tuple[str, ...]:
        """Return the values of every term about a word."""
        return tuple(value for term in self.terms if term.word is word for value in term.values)

    def without(self, word: Word) -> JobFilter:
        """Return the filter without its terms about a word."""
        return JobFilter(tuple(term for term in self.terms if term.word is not word))

    def with_term(self, word: Word, *values: str) -> JobFilter:
        """Return the filter with one more term, at its end."""
        return JobFilter((*self.terms, Term(word, values)))


def parse_filter(text: str, now: datetime) -> JobFilter:
    """Read a filter. Relative times, such as `created:>-1h`, are made absolute.

    Args:
        text: as a user wrote it; empty means all jobs.
        now: the instant that relative times start from.

    Raises:
        FilterProblem: a word or a value is not valid.
    """
    if _LONE.search(text):
        raise FilterProblem("the filter has bytes that are not UTF-8 text; no job has them")
    terms = tuple(_parse_term(token, now) for token in _TOKEN.findall(text))
    if len(terms) > _TERMS_MAX:
        raise FilterProblem(f"the filter has {len(terms)} parts; at most {_TERMS_MAX} are possible")
    values = sum(len(term.values) for term in terms)
    if values > _ALL_VALUES_MAX:
        raise FilterProblem(f"the filter has {values:,} values; at most {_ALL_VALUES_MAX:,} are possible")
    return JobFilter(terms)


def _parse_term(token: str, now: datetime) -> Term:
    if token.count('"') % 2:
        raise FilterProblem(f"{token}: the quotation mark is not closed")
    name, colon, rest = token.partition(":")
    if not colon or '"' in name or not re.fullmatch(r"[A-Za-z]+", name):
        return Term(Word.TEXT, _values(token, token))
    word = _word(name, token)
    if not rest:
        raise FilterProblem(f"{token} has no value: write {name}:VALUE")
    if word in _TIMES:
        return _time_term(word, rest.strip('"'), token, now)
    values = _values(rest, token)
    if word is Word.STATE:
        values = tuple(_state(value) for value in values)
    elif word is Word.ARGUMENT:
        for value in values:
            _check_argument(value)
    return Term(word, values)


def _word(name: str, token: str) -> Word:
    lowered = name.lower()
    if lowered in _WORDS:
        return Word(lowered)
    near = difflib.get_close_matches(lowered, _WORDS, n=1)
    advice = f"did you mean {near[0]}?" if near else f"words are {', '.join(sorted(_WORDS))}"
    raise FilterProblem(
        f'{token}: "{name}" is not a word of filters; {advice}; to find that text, write it in double quotes'
    )


def _values(written: str, token: str) -> tuple[str, ...]:
    quoted = written.split('"')
    # Commas between quotation marks do not separate: they are hidden while the text is split.
    hidden = "".join(part.replace(",", "\0") if at % 2 else part for at, part in enumerate(quoted))
    found = [value.replace("\0", ",") for value in hidden.split(",")]
    if not all(found):
        raise FilterProblem(f"{token}: a value is empty; write values with commas between them")
    if len(found) > _VALUES_MAX:
        raise FilterProblem(f"{token[:40]}… has {len(found)} values; at most {_VALUES_MAX} are possible")
    return tuple(dict.fromkeys(found))


def _state(value: str) -> str:
    lowered = value.lower()
    if lowered in set(JobState):
        return lowered
    near = difflib.get_close_matches(lowered, list(JobState), n=1)
    advice = f"did you mean {near[0]}?" if near else f"states are {', '.join(JobState)}"
    raise FilterProblem(f'state:{value}: "{value}" is not a state; {advice}')


def _check_argument(value: str) -> None:
    name, equals, _ = value.partition("=")
    if not name or not equals:
        raise FilterProblem(
            f"arg:{value}: write arg:NAME=VALUE, for example arg:order_id=o-1 or arg:customer.id=7"
        )


def _time_term(word: Word, written: str, token: str, now: datetime) -> Term:
    if ".." in written:
        first, _, last = written.partition("..")
        after, before = _instant(first, token, now), _instant(last, token, now)
        if after >= before:
            raise FilterProblem(f"{token}: the range ends before it begins")
        return Term(word, after=after, before=before)
    if written[:1] in {"<", ">"}:
        at = _instant(written[1:].removeprefix("="), token, now)
        return Term(word, after=at) if written[0] == ">" else Term(word, before=at)
    day = _day(written)
    if day is not None and day < _LAST_DAY:
        return Term(word, after=day, before=day + timedelta(days=1))
    return Term(word, after=_instant(written, token, now))


def _instant(written: str, token: str, now: datetime) -> datetime:
    relative = _RELATIVE.fullmatch(written)
    try:
        if relative is not None:
            return _cut(now - int(relative[1]) * _UNITS[relative[2]])
        return _day(written) or _cut(parse_timestamp(written))
    except (ValueError, OverflowError):
        raise FilterProblem(
            f'{token}: "{written}" is not a time; write -1h, -30min, 2026-03-01 or 2026-03-01T08:00:00Z'
        ) from None


def _cut(instant: datetime) -> datetime:
    """Cut an instant to milliseconds, as it is written."""
    return instant.replace(microsecond=instant.microsecond // 1000 * 1000)


def _day(written: str) -> datetime | None:
    try:
        return datetime.combine(date.fromisoformat(written), time(tzinfo=UTC))
    except ValueError:
        return None


def _quote(value: str) -> str:
    return value if _PLAIN.fullmatch(value) else f'"{value}"'


def _range(after: datetime | None, before: datetime | None) -> str:
    if after is not None and before is not None:
        return f"{timestamp(after)}..{timestamp(before)}"
    return (
        f">{timestamp(after)}" if after is not None else f"<{timestamp(before)}" if before is not None else ""
    )
