"""Maps what a handler raised to how its attempt ended. Pure.

A task group wraps what its tasks raise, so the exceptions that steer a job are looked for in groups too, however deeply nested.
"""

from __future__ import annotations

from datetime import timedelta
from itertools import islice
from typing import Final

from trellis_nats._support.error_leaves import error_leaves
from trellis_nats.errors import JobCancelled, JobFailed, JobRetry, TimedeltaExpected
from trellis_nats.jobs.model.event_factory import ERROR_BYTES_MAX, read_text
from trellis_nats.jobs.model.outcome import Ending, Failed, Raised, Withdrawn
from trellis_nats.jobs.work.failure_detail import describe_failure

__all__ = ["is_deliberate", "raised_ending"]

_TEXTS_MAX: Final = 100
"""How many of the errors in a group are named."""


def raised_ending(error: BaseException) -> Ending:
    """Return how an attempt ended whose handler raised.

    Of the errors in a group the strongest one counts: `JobFailed` and `TimedeltaExpected`, a mistake that another attempt
    would make again, then `JobCancelled`, then `JobRetry`, then every other error. Of several `JobRetry` the longest
    `after` counts. The texts of all of them are in the error of the job.
    """
    leaves = error_leaves(error)
    text = _text(error, leaves)
    if any(isinstance(leaf, JobFailed | TimedeltaExpected) for leaf in leaves):
        return Failed(text or "failed", describe_failure(error))
    if any(isinstance(leaf, JobCancelled) for leaf in leaves):
        return Withdrawn(text or "cancelled")
    retries = [leaf.after for leaf in leaves if isinstance(leaf, JobRetry)]
    return Raised(text, after=_longest(retries), detail=describe_failure(error))


def is_deliberate(error: BaseException) -> bool:
    """Return whether a handler raised only errors that steer its job, which are not worth a traceback."""
    return all(_steers(leaf) for leaf in error_leaves(error))


def _steers(error: BaseException) -> bool:
    return isinstance(error, JobFailed | JobCancelled | JobRetry)


def _longest(delays: list[timedelta | None]) -> timedelta | None:
    return max((delay for delay in delays if delay is not None), default=None)


def _text(error: BaseException, leaves: list[BaseException]) -> str:
    texts = [
        _words(leaf) if _steers(leaf) else f"{type(leaf).__name__}: {_words(leaf)}"
        for leaf in islice(leaves, _TEXTS_MAX)
    ]
    if len(leaves) > _TEXTS_MAX:
        texts.append(f"and {len(leaves) - _TEXTS_MAX} more")
    joined = "; ".join(text for text in texts if text)
    if leaves == [error] or any(_steers(leaf) for leaf in leaves):
        return joined
    return f"{type(error).__name__}: {_words(error)}: {joined}"


def _words(error: BaseException) -> str:
    return read_text(error, ERROR_BYTES_MAX + 1)
