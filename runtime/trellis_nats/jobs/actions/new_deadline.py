"""The deadline that an operator gives a job. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from trellis_nats.clock import later, timestamp
from trellis_nats.errors import ConfigurationError, TimedeltaExpected

__all__ = ["deadline_at"]


def deadline_at(asked: timedelta | datetime, now: datetime) -> datetime:
    """Return the instant of a deadline.

    Raises:
        ConfigurationError: it has passed, or is neither a datetime with a time zone nor a timedelta.
    """
    if isinstance(asked, timedelta):
        deadline = later(now, asked)
    elif not isinstance(asked, datetime):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without a type checker
        raise TimedeltaExpected("deadline, if it is not a datetime", asked)
    elif asked.tzinfo is None:
        raise ConfigurationError(f"the deadline {asked} has no time zone")
    else:
        deadline = asked.astimezone(UTC)
    if deadline <= now:
        raise ConfigurationError(f"the deadline {timestamp(deadline)} has passed")
    return deadline
