"""What spans are called and what they say, from the names of a contract. Pure.

The names of attributes are those of the semantic conventions for RPC and messaging; what they lack begins with `trellis.`.
No attribute has a value of a payload: neither an event's subject nor a concurrency key is among them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, Literal, TypeAlias

__all__ = [
    "ACTION",
    "ATTEMPT",
    "BATCH_SIZE",
    "ERROR_TYPE",
    "EXCEPTION_STACKTRACE",
    "EXCEPTION_TYPE",
    "LINK",
    "MAX_ATTEMPTS",
    "MESSAGE_ID",
    "OUTCOME",
    "REQUEST_ID",
    "STATUS_CODE",
    "AttributeValue",
    "SpanDescription",
    "SpanKind",
    "describe_attempt",
    "describe_call",
    "describe_creation",
    "describe_event_handling",
    "describe_operation_attempt",
    "describe_publication",
    "describe_reception",
    "describe_serving",
]

AttributeValue: TypeAlias = str | int

MESSAGE_ID: Final = "messaging.message.id"
"""The id of a job or an event."""
BATCH_SIZE: Final = "messaging.batch.message_count"
STATUS_CODE: Final = "rpc.response.status_code"
"""The type of an error reply."""
ERROR_TYPE: Final = "error.type"
EXCEPTION_TYPE: Final = "exception.type"
EXCEPTION_STACKTRACE: Final = "exception.stacktrace"
ATTEMPT: Final = "trellis.attempt"
"""Which attempt of a job or an event, counted from 1."""
MAX_ATTEMPTS: Final = "trellis.max_attempts"
OUTCOME: Final = "trellis.outcome"
"""How an attempt ended, or how a creation was answered."""
REQUEST_ID: Final = "trellis.request_id"
"""The caller's id of a call."""
ACTION: Final = "trellis.action"
"""What a caller asks of an operation that was started."""
LINK: Final = "trellis.link"
"""What a link points to: `creation`, `previous_attempt`."""

_SURFACE: Final = "trellis.surface"
_OPEN_ACTIONS: Final = {"watch", "wait"}
"""They last until the operation ends, or the caller leaves."""


class SpanKind(Enum):
    """The role of a span, as in OpenTelemetry."""

    CLIENT = auto()
    SERVER = auto()
    PRODUCER = auto()
    CONSUMER = auto()


@dataclass(frozen=True, kw_only=True, slots=True)
class SpanDescription:
    """What the spans of one operation have in common. It is made once for each procedure, queue or event."""

    name: str
    kind: SpanKind
    attributes: Mapping[str, AttributeValue]
    is_failed_by_cancellation: bool = True
    """Whether an operation that is cancelled has failed. A feed, or a watch, is open until it is cancelled."""


def describe_call(surface: str, name: str, *, action: str | None = None) -> SpanDescription:
    """Describe the caller's side of a call; `surface` is `rpc`, `feed` or `operation`.

    `action` is what the call asks of an operation that was started. None: the call starts it.
    """
    return _call(surface, name, SpanKind.CLIENT, action)


def describe_serving(surface: str, name: str, *, action: str | None = None) -> SpanDescription:
    """Describe the service's side of a call. See `describe_call`."""
    return _call(surface, name, SpanKind.SERVER, action)


def describe_creation(queue: str) -> SpanDescription:
    """Describe the creation of jobs."""
    return _messaging(SpanKind.PRODUCER, "job", "send", "create", queue)


def describe_attempt(queue: str) -> SpanDescription:
    """Describe one attempt of a job."""
    return _messaging(SpanKind.CONSUMER, "job", "process", "process", queue)


def describe_operation_attempt(operation: str) -> SpanDescription:
    """Describe one attempt to run an operation. One that is cancelled runs elsewhere, or is not wanted any longer."""
    return _messaging(SpanKind.CONSUMER, "operation", "process", "process", operation)


def describe_publication(event: str) -> SpanDescription:
    """Describe the publication of an event."""
    return _messaging(SpanKind.PRODUCER, "event", "send", "publish", event)


def describe_event_handling(event: str, group: str) -> SpanDescription:
    """Describe one attempt of a consumer group to handle an event. An attempt that is cancelled is repeated elsewhere."""
    return _messaging(SpanKind.CONSUMER, "event", "process", "process", event, group=group)


def describe_reception(event: str) -> SpanDescription:
    """Describe how a reader takes an event from its subscription."""
    return _messaging(SpanKind.CLIENT, "event", "receive", "receive", event)


def _call(surface: str, name: str, kind: SpanKind, action: str | None) -> SpanDescription:
    attributes: dict[str, AttributeValue] = {
        "rpc.system.name": "trellis",
        "rpc.method": name,
        _SURFACE: surface,
    }
    if action is not None:
        attributes[ACTION] = action
    return SpanDescription(
        name=name if action is None else f"{action} {name}",
        kind=kind,
        attributes=attributes,
        is_failed_by_cancellation=surface != "feed" and action not in _OPEN_ACTIONS,
    )


def _messaging(
    kind: SpanKind,
    surface: str,
    operation_type: Literal["send", "process", "receive"],
    operation: str,
    destination: str,
    *,
    group: str | None = None,
) -> SpanDescription:
    attributes: dict[str, AttributeValue] = {
        "messaging.system": "nats",
        "messaging.operation.type": operation_type,
        "messaging.operation.name": operation,
        "messaging.destination.name": destination,
        _SURFACE: surface,
    }
    if group is not None:
        attributes["messaging.consumer.group.name"] = group
    return SpanDescription(
        name=f"{operation} {destination}",
        kind=kind,
        attributes=attributes,
        is_failed_by_cancellation=kind is not SpanKind.CONSUMER,
    )
