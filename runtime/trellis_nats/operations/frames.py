"""The frames of operations (reference, section 8). Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal, TypeAlias, get_args

from pydantic import JsonValue, ValidationError

from trellis_nats._calls.headers import is_error
from trellis_nats._calls.replies import Reply
from trellis_nats._nats.wire.message import Message
from trellis_nats.clock import from_milliseconds, to_milliseconds
from trellis_nats.codec import decode_json, encode_json
from trellis_nats.operations.model.record import SignalEntry, SnapshotRecord
from trellis_nats.operations.model.states import UpdateType

__all__ = [
    "ACTIONS",
    "KEEPALIVE",
    "KEEPALIVE_EVERY",
    "Action",
    "ControlRequest",
    "ErrorFrame",
    "EventFrame",
    "InterruptedFrame",
    "InvalidFrame",
    "KeepaliveFrame",
    "SignalAcceptedFrame",
    "SnapshotFrame",
    "read_control",
    "read_frame",
    "write_accepted",
    "write_control",
    "write_control_error",
    "write_event",
    "write_interruption",
    "write_signal_accepted",
    "write_snapshot",
]

Action: TypeAlias = Literal["get", "wait", "watch", "cancel", "signal"]
ACTIONS: Final[tuple[Action, ...]] = get_args(Action)

KEEPALIVE: Final = Reply(b'{"kind":"keepalive"}')
"""The frame that shows that a watch is served, while nothing happens."""
KEEPALIVE_EVERY: Final = timedelta(seconds=5)
"""The longest time without a frame of a watch."""
_INTERRUPTED: Final = "OperationWatchInterrupted"
"""The type of the error with which a service ends a watch whose operation goes on. Its caller watches again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ControlRequest:
    """What a caller asks about an operation."""

    action: Action
    operation_id: str
    signal: str | None = None
    input: JsonValue = None
    after: int | None = None
    """Of a watch: the sequence of the last event that the caller has seen. Ours."""


class InvalidFrame(Exception):
    """A control request, or an answer, is malformed; the text says how."""


def read_control(data: bytes) -> ControlRequest:
    """Read a control request.

    Raises:
        InvalidFrame: it is malformed.
    """
    try:
        body = _object(decode_json(data))
    except ValueError:
        raise InvalidFrame("the request is not a JSON object") from None
    match body:
        case {
            "action": ("get" | "wait" | "watch" | "cancel" | "signal") as action,
            "operationId": str(operation_id),
        }:
            signal, after = body.get("signal"), body.get("afterSequence")
            return ControlRequest(
                action=action,
                operation_id=operation_id,
                signal=signal if isinstance(signal, str) else None,
                input=body.get("input"),
                after=after if isinstance(after, int) else None,
            )
        case {"action": action, "operationId": str()}:
            raise InvalidFrame(f"unknown action {action!r:.100}")
        case _:
            raise InvalidFrame("the request needs an action and an operationId")


def write_control(request: ControlRequest) -> bytes:
    """Write a control request."""
    body: dict[str, JsonValue] = {"action": request.action, "operationId": request.operation_id}
    if request.signal is not None:
        body |= {"signal": request.signal, "input": request.input}
    if request.after is not None:
        body["afterSequence"] = request.after
    return encode_json(body)


def write_accepted(snapshot: SnapshotRecord, transfer: JsonValue = None) -> Reply:
    """Write the answer to a start, with the grant of an upload where there is one."""
    reference: dict[str, JsonValue] = {
        "id": snapshot.id,
        "service": snapshot.service,
        "operation": snapshot.operation,
    }
    body: dict[str, JsonValue] = {"kind": "accepted", "ref": reference, "snapshot": snapshot.to_json()}
    return _write(body if transfer is None else {**body, "transfer": transfer})


def write_snapshot(
    snapshot: SnapshotRecord, *, missed: int = 0, keepalive_every: timedelta | None = None
) -> Reply:
    """Write how an operation stands.

    Args:
        snapshot: how it stands.
        missed: how many events, which led there, follow for a caller that asked for them. Ours.
        keepalive_every: of a watch, the longest time without a frame. Ours.
    """
    body: dict[str, JsonValue] = {"kind": "snapshot", "snapshot": snapshot.to_json()}
    if missed:
        body["missedEvents"] = missed
    if keepalive_every is not None:
        body["keepaliveMs"] = to_milliseconds(keepalive_every)
    return _write(body)


def write_event(sequence: int, event_type: UpdateType, snapshot: SnapshotRecord) -> Reply:
    """Write what happened."""
    event: dict[str, JsonValue] = {"type": event_type, "snapshot": snapshot.to_json()}
    return _write({"kind": "event", "sequence": sequence, "event": event})


def write_signal_accepted(entry: SignalEntry, snapshot: SnapshotRecord) -> Reply:
    """Write that a signal was accepted."""
    return _write(
        {
            "kind": "signal-accepted",
            "operationId": entry.operation_id,
            "signal": entry.signal,
            "signalSequence": entry.sequence,
            "acceptedAt": entry.accepted_at,
            "snapshot": snapshot.to_json(),
        }
    )


def write_control_error(error: Reply) -> Reply:
    """Turn the error reply of a call into the frame of a control request, which has no status header."""
    return Reply(b'{"kind":"error","error":' + error.data + b"}")


def write_interruption(error_id: str, reason: str) -> Reply:
    """Write that a watch ends although its operation has not."""
    error: dict[str, JsonValue] = {"id": error_id, "type": _INTERRUPTED, "message": reason, "context": {}}
    return _write({"kind": "error", "error": error})


@dataclass(frozen=True, slots=True)
class SnapshotFrame:
    """How the operation stands."""

    snapshot: SnapshotRecord
    missed: int = 0
    """How many events, which led there, follow."""
    keepalive_every: timedelta | None = None
    """The longest time without a frame. None: the service does not say."""
    transfer: JsonValue = None
    """The grant of an upload, in the answer to a start."""


@dataclass(frozen=True, slots=True)
class EventFrame:
    """What happened."""

    sequence: int
    event_type: UpdateType
    snapshot: SnapshotRecord


@dataclass(frozen=True, slots=True)
class SignalAcceptedFrame:
    """A signal was accepted."""

    sequence: int
    accepted_at: str


@dataclass(frozen=True, slots=True)
class KeepaliveFrame:
    """The watch is served."""


@dataclass(frozen=True, slots=True)
class InterruptedFrame:
    """The watch ended, and the operation did not."""


@dataclass(frozen=True, slots=True)
class ErrorFrame:
    """The request failed."""

    error: bytes
    """The error object, as in the reply of an RPC."""


Frame: TypeAlias = (
    SnapshotFrame | EventFrame | SignalAcceptedFrame | KeepaliveFrame | InterruptedFrame | ErrorFrame
)


def read_frame(message: Message) -> Frame:
    """Read an answer to a start or to a control request. Errors may come in both forms that runtimes use.

    Raises:
        InvalidFrame: it is malformed.
    """
    if is_error(message.headers):
        return ErrorFrame(message.data)
    try:
        body = _object(decode_json(message.data))
        match body:
            case {"kind": "accepted" | "snapshot", "snapshot": dict(snapshot)}:
                missed, keepalive = body.get("missedEvents"), body.get("keepaliveMs")
                return SnapshotFrame(
                    _snapshot(snapshot),
                    missed if isinstance(missed, int) else 0,
                    from_milliseconds(keepalive) if isinstance(keepalive, int) else None,
                    body.get("transfer"),
                )
            case {
                "kind": "event",
                "sequence": int(sequence),
                "event": {"type": str(event_type), "snapshot": dict(snapshot)},
            }:
                return EventFrame(sequence, _update_type(event_type), _snapshot(snapshot))
            case {"kind": "signal-accepted", "signalSequence": int(sequence), "acceptedAt": str(accepted_at)}:
                return SignalAcceptedFrame(sequence, accepted_at)
            case {"kind": "keepalive"}:
                return KeepaliveFrame()
            case {"kind": "error", "error": {"type": "OperationWatchInterrupted"}}:
                return InterruptedFrame()
            case {"kind": "error", "error": dict(error)}:
                return ErrorFrame(encode_json(error))
            case _:
                raise InvalidFrame("the service answered with a frame that this runtime does not know")
    except (ValueError, ValidationError):
        raise InvalidFrame("the service answered with a malformed frame") from None


def _update_type(name: str) -> UpdateType:
    for known in get_args(UpdateType):
        if known == name:
            return known  # type: ignore[no-any-return]  # an element of the literal
    raise ValueError(name)


def _object(value: JsonValue) -> dict[str, JsonValue]:
    if not isinstance(value, dict):
        raise ValueError("it is not an object")  # noqa: TRY004 - the callers expect one error for what is malformed
    return value


def _snapshot(value: dict[str, JsonValue]) -> SnapshotRecord:
    return SnapshotRecord.model_validate_json(encode_json(value))


def _write(body: dict[str, JsonValue]) -> Reply:
    return Reply(encode_json(body))
