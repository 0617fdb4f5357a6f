"""What a handler raises, alone or in groups, and how its attempt ends."""

from asyncio import CancelledError
from datetime import timedelta

import pytest
from trellis_nats import JobCancelled, JobFailed, JobRetry, TimedeltaExpected
from trellis_nats.jobs.model.event_factory import shorten
from trellis_nats.jobs.model.outcome import Ending, Failed, Raised, Withdrawn
from trellis_nats.jobs.work.raised import is_deliberate, raised_ending

SOON, LATER = timedelta(seconds=1), timedelta(seconds=2)


def group(*errors: BaseException) -> BaseExceptionGroup[BaseException]:
    return BaseExceptionGroup("unhandled errors in a TaskGroup", errors)


@pytest.mark.parametrize(
    ("error", "ending"),
    [
        (JobFailed("no"), Failed("no")),
        (JobFailed(), Failed("failed")),
        (JobCancelled(), Withdrawn("cancelled")),
        (JobRetry("again", after=SOON), Raised("again", after=SOON)),
        (
            TimedeltaExpected("after", 5),
            Failed("TimedeltaExpected: after: a timedelta is expected, got 5: write timedelta(seconds=5)"),
        ),
        (ValueError("v"), Raised("ValueError: v")),
        (group(JobFailed("no")), Failed("no")),
        (group(group(group(JobFailed("no")))), Failed("no")),
        (group(JobFailed("a"), group(JobFailed("b"))), Failed("a; b")),
        (group(JobCancelled("stop"), CancelledError()), Withdrawn("stop")),
        (group(JobRetry("a", after=SOON), JobRetry("b", after=LATER)), Raised("a; b", after=LATER)),
        (group(JobRetry("a"), JobRetry("b", after=SOON)), Raised("a; b", after=SOON)),
        (group(JobRetry("a"), JobRetry("b")), Raised("a; b")),
        (group(ValueError("v"), JobRetry("r", after=SOON)), Raised("ValueError: v; r", after=SOON)),
        (group(JobRetry("r", after=SOON), JobCancelled("c")), Withdrawn("r; c")),
        (group(JobCancelled("c"), ValueError("v")), Withdrawn("c; ValueError: v")),
        (group(JobCancelled("c"), JobRetry("r"), group(JobFailed("f"))), Failed("c; r; f")),
        (
            group(ValueError("v"), group(KeyError("k"))),
            Raised(
                "ExceptionGroup: unhandled errors in a TaskGroup (2 sub-exceptions): ValueError: v; KeyError: 'k'"
            ),
        ),
    ],
)
def test_the_strongest_error_decides_and_every_text_is_kept(error: BaseException, ending: Ending) -> None:
    assert raised_ending(error) == ending


def test_only_what_steers_needs_no_traceback() -> None:
    assert is_deliberate(group(JobFailed("a"), JobRetry()))
    assert not is_deliberate(group(JobFailed("a"), ValueError("v")))


def test_a_group_of_many_errors_names_the_first() -> None:
    ending = raised_ending(group(*(JobFailed(str(n)) for n in range(1000))))

    assert isinstance(ending, Failed)
    assert ending.error.startswith("0; 1; ")
    assert ending.error.endswith("; 99; and 900 more")


class Endless(str):
    """A text that must not be walked through before it is cut."""

    __slots__ = ()

    def __iter__(self) -> "Endless":  # type: ignore[override]
        raise AssertionError("the whole text was read")


def test_a_large_text_is_cut_before_its_characters_are_read() -> None:
    text = Endless("x" * 5_000_000)

    assert shorten(text) == "x" * 8192 + " …"
    ending = raised_ending(group(ValueError(text), ValueError(text)))
    assert isinstance(ending, Raised)
    assert len(ending.error) < 50_000
