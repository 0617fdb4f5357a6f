"""Makes the event that creates a job. Pure: the caller gives the instant."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from trellis_nats.clock import timestamp
from trellis_nats.context import Context
from trellis_nats.errors import ConfigurationError, TimedeltaExpected
from trellis_nats.errors.configuration import require_timedelta
from trellis_nats.ids import id_of_key, id_of_texts, new_id
from trellis_nats.jobs.model.event import NewEvent
from trellis_nats.jobs.model.event_factory import JobIdentity
from trellis_nats.jobs.model.lineage import current_origin

__all__ = ["Creation", "derive_id", "derive_replacement_id", "draft", "require_payload"]


class Creation(NamedTuple):
    """The options of one creation."""

    idempotency_key: str | None = None
    deadline: timedelta | datetime | None = None
    """An instant, or a time after the creation; None for the queue's default."""
    delay: timedelta | None = None
    """How long after its creation the job may begin; None for at once."""


def derive_id(service: str, queue: str, key: str) -> str:
    """Return the id of the one job that a queue has for an idempotency key: a ULID made of a hash.

    Raises:
        ConfigurationError: the key is empty, or not a text.
    """
    return id_of_key(f'queue "{queue}"', (service, queue), key)


def derive_replacement_id(service: str, queue: str, job_id: str, sequence: int) -> str:
    """Return the id of the one job that replaces a job which has ended: a ULID made of a hash.

    Args:
        service: the service in the events of the job.
        queue: the queue in them.
        job_id: the job that has ended.
        sequence: the sequence of the event by which it ended; a job that is replayed may end again.
    """
    # One part more than an idempotency key has, so that no key leads to this id.
    return id_of_texts((service, queue, job_id, str(sequence)))


def draft(
    payload: bytes,
    creation: Creation,
    *,
    service: str,
    queue: str,
    max_tries: int,
    default_deadline: timedelta | None,
    context: Context,
    at: datetime,
) -> NewEvent:
    """Make the `created` event, with a payload in JSON text. Inside a handler, the job names its parent.

    Raises:
        ConfigurationError: the payload is null, the delay negative, or the deadline before the job could begin.
    """
    require_payload(payload, queue)
    not_before = _not_before(creation.delay, queue, at)
    deadline = _deadline(default_deadline if creation.deadline is None else creation.deadline, at)
    if deadline is not None and deadline <= (not_before or at):
        raise ConfigurationError(
            f'queue "{queue}": the deadline {timestamp(deadline)} is not after {timestamp(not_before or at)}, '
            "when the job could begin"
        )
    key = creation.idempotency_key
    origin = current_origin()
    identity = JobIdentity(
        job_id=new_id() if key is None else derive_id(service, queue, key),
        service=service,
        queue=queue,
        context=context,
    )
    return identity.created(
        payload,
        max_tries=max_tries,
        deadline=deadline,
        not_before=not_before,
        trigger={"kind": "serviceCode"} if origin is None else origin.trigger(),
        lineage=None if origin is None else origin.lineage(),
        at=at,
    )


def require_payload(payload: bytes, queue: str) -> None:
    """Check that a payload, in JSON text, can be worked.

    Raises:
        ConfigurationError: it is null.
    """
    if payload == b"null":
        raise ConfigurationError(f'queue "{queue}": other runtimes cannot work a payload of null')


def _not_before(delay: timedelta | None, queue: str, at: datetime) -> datetime | None:
    require_timedelta("delay", delay)
    if delay is None:
        return None
    if delay < timedelta(0):
        raise ConfigurationError(
            f'queue "{queue}": a delay must not be negative, got {delay.total_seconds():g} s'
        )
    return _later(at, delay, f'queue "{queue}": the delay')


def _deadline(asked: timedelta | datetime | None, at: datetime) -> datetime | None:
    if asked is None:
        return None
    if isinstance(asked, timedelta):
        return _later(at, asked, "the deadline")
    if not isinstance(asked, datetime):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without a type checker
        raise TimedeltaExpected("deadline, if it is not a datetime", asked)
    if asked.tzinfo is None:
        raise ConfigurationError(f"the deadline {asked} has no time zone")
    try:
        return asked.astimezone(UTC)
    except OverflowError:
        raise ConfigurationError(f"the deadline {asked} is outside of the years 1 to 9999 in UTC") from None


def _later(at: datetime, delay: timedelta, what: str) -> datetime:
    try:
        return at + delay
    except OverflowError:
        raise ConfigurationError(f"{what} {delay} from now is outside of the years 1 to 9999") from None
