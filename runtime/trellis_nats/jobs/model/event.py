"""A lifecycle event, as stream JOBS stores it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple, Self, cast

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError
from pydantic.alias_generators import to_camel

from trellis_nats.clock import parse_timestamp
from trellis_nats.codec import encode_json
from trellis_nats.context import Context
from trellis_nats.jobs.model.states import STATE_AFTER, TERMINAL_EVENTS, EventType, JobState
from trellis_nats.json_types import may_contain_nan

__all__ = ["JobLogEntry", "JobProgress", "LifecycleEvent", "NewEvent", "StoredEvent", "instant"]


_UNKNOWN: Final = datetime.min.replace(tzinfo=UTC)


class _Wire(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        alias_generator=to_camel,
        populate_by_name=True,
        extra="allow",
        hide_input_in_errors=True,
        ser_json_inf_nan="constants",
    )


class JobProgress(_Wire):
    """A progress report. Every field may be absent."""

    step: str | None = None
    message: str | None = None
    current: int | float | None = Field(default=None, ge=0)
    """This runtime writes integers (reference, 6.3); numbers of other runtimes are read as they are."""
    total: int | float | None = Field(default=None, ge=0)


class JobLogEntry(_Wire):
    """One line that a handler wrote with `job.log`."""

    timestamp: str
    level: str
    message: str


class _WireContext(_Wire):
    request_id: str
    trace_id: str
    traceparent: str
    tracestate: str | None = None


class LifecycleEvent(_Wire):
    """One event in the life of a job (reference, section 6). Unknown fields are kept."""

    job_id: str
    service: str
    job_type: str
    event_type: str
    state: JobState
    previous_state: JobState | None = None
    tries: int = Field(ge=0)
    max_tries: int | None = Field(default=None, ge=1)
    context: _WireContext
    error: str | None = None
    error_detail: JsonValue = None
    """More about the exception: see `ErrorDetail.read`."""
    progress: JobProgress | None = None
    logs: tuple[JobLogEntry, ...] | None = None
    checkpoint: JsonValue = None
    """What the handler stored for the next attempt. Only this runtime writes it; others ignore it."""
    payload: JsonValue = None
    result: JsonValue = None
    deadline: str | None = None
    not_before: str | None = None
    """When the job may begin, or begin again, at the earliest: of `created` and `retry`. Only this runtime writes it;
    others ignore it."""
    trigger: JsonValue = None
    lineage: JsonValue = None
    concurrency: JsonValue = None
    """The concurrency key and the slot of a keyed job."""
    queue_policy: JsonValue = None
    """How a keyed job was admitted."""
    worker: JsonValue = None
    """The process that began the attempt: `{"instanceId": …}`. Only this runtime writes it; others ignore it."""
    admin_action: JsonValue = None
    """The person or program that acted on the job from outside, and why."""
    timestamp: str
    checkpoint_at: int | None = None
    """The sequence of the newest checkpoint of the job, as far as the attempt that wrote the event knew."""

    @classmethod
    def parse(cls, data: bytes) -> Self | None:
        """Read an event; None for bytes that are not one.

        A payload, a result or a checkpoint that pydantic cannot parse hides neither the job nor its state: text with lone
        surrogates, for example, which JavaScript writes. It is read, but not written again.
        """
        try:
            return cls.model_validate_json(data)
        except ValidationError:
            pass
        try:
            body: object = json.loads(data)
            if not isinstance(body, dict):
                return None
            members = cast("dict[str, JsonValue]", body)
            values: dict[str, JsonValue] = {
                name: members.pop(name) for name in ("payload", "result", "checkpoint") if name in members
            }
            return cls.model_validate(members).model_copy(update=values) if values else None
        except (ValueError, RecursionError):
            return None

    def encode(self) -> bytes:
        """Write the event; absent fields stay absent.

        Raises:
            ValueError: the payload or the result holds NaN or an infinity.
        """
        written = self.__pydantic_serializer__.to_json(self, by_alias=True, exclude_unset=True)
        if may_contain_nan(written):
            return encode_json(self.model_dump(mode="json", by_alias=True, exclude_unset=True))
        return written

    @property
    def is_terminal(self) -> bool:
        """Whether this event ends the job."""
        return self.event_type in TERMINAL_EVENTS

    @property
    def effective_state(self) -> JobState:
        """The job's state after this event, by its type.

        The event's own `state` is used for an unknown type only: an ignored completion, for example, leaves the job
        active, whatever state its writer put there (reference, 21).
        """
        return STATE_AFTER.get(self.event_type, self.state)

    @property
    def at(self) -> datetime:
        """When its writer wrote it; the year 1 for a timestamp that cannot be read, on which no state depends."""
        try:
            return parse_timestamp(self.timestamp)
        except ValueError:
            return _UNKNOWN

    @property
    def has_payload(self) -> bool:
        """Whether the event has a payload, which may be null: another runtime may create a job with null."""
        return "payload" in self.model_fields_set

    @property
    def has_checkpoint(self) -> bool:
        """Whether the event stores a checkpoint, which may be null."""
        return "checkpoint" in self.model_fields_set

    @property
    def wait(self) -> timedelta:
        """How long after this event the job may begin, by the clock of its writer: zero where it need not wait."""
        not_before, written = instant(self.not_before), instant(self.timestamp)
        if not_before is None or written is None:
            return timedelta(0)
        return max(not_before - written, timedelta(0))

    @property
    def instance_id(self) -> str | None:
        """The process that began the attempt, where the event names it."""
        found = self.worker.get("instanceId") if isinstance(self.worker, dict) else None
        return found if isinstance(found, str) else None

    def header_lines(self) -> bytes:
        """Return the headers of the event, a line each."""
        return self.job_context().header_lines()

    def job_context(self) -> Context:
        """Return the context of the job, which every one of its events repeats."""
        return Context(
            request_id=self.context.request_id,
            trace_id=self.context.trace_id,
            traceparent=self.context.traceparent,
            tracestate=self.context.tracestate,
        )


class StoredEvent(NamedTuple):
    """An event and its place in the stream."""

    event: LifecycleEvent
    sequence: int
    message_id: str | None
    stored_at: datetime | None = None
    """When the server stored it, by the server's clock; None where that is not known."""
    digest: str = ""
    """The digest of the contract by which it was written; empty where that is not known."""


@dataclass(slots=True)
class NewEvent:
    """An event that this process is about to write. It is not validated like one that was read: `JobIdentity` makes it.

    What most events of a job repeat, its payload and its result are already text when they get here, so that they are
    encoded once.
    """

    job_id: str
    event_type: EventType
    headers: bytes
    """Its headers, a line each."""
    head: bytes
    """The text of its members up to the payload or the result, with the brace that opens it."""
    tail: dict[str, JsonValue]
    """The members after that under their wire names, at least the timestamp."""
    context: Context
    """That of its job."""
    payload: bytes | None = None
    """The text of the payload."""
    result: bytes | None = None
    """The text of the result."""

    def encode(self) -> bytes:
        """Write the event. Members come in the order of `LifecycleEvent`: read and written again, the text is the same."""
        tail = encode_json(self.tail)[1:]
        if self.payload is not None:
            return b'%b,"payload":%b,%b' % (self.head, self.payload, tail)
        if self.result is not None:
            return b'%b,"result":%b,%b' % (self.head, self.result, tail)
        return b"%b,%b" % (self.head, tail)

    def header_lines(self) -> bytes:
        """Return the headers of the event."""
        return self.headers

    def read(self) -> LifecycleEvent:
        """Return the event as its readers will see it."""
        return LifecycleEvent.model_validate_json(self.encode())


def instant(text: str | None) -> datetime | None:
    """Read an instant of an event; None for one that cannot be read."""
    if text is None:
        return None
    try:
        return parse_timestamp(text)
    except ValueError:
        return None
