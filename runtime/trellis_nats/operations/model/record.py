"""The stored record of an operation, as on the wire (reference, section 8). Pure.

`execution` is ours: the process that runs the operation, and what another needs to run it again. Other runtimes ignore it. Members
that this runtime does not know are kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError
from pydantic.alias_generators import to_camel

from trellis_nats.auth.caller import Caller, CallerKind
from trellis_nats.operations.model.states import OperationState

__all__ = ["CallerRecord", "Execution", "JobAttachment", "OperationRecord", "SignalEntry", "SnapshotRecord"]


class _Wire(BaseModel):
    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True, extra="allow")


class SignalEntry(_Wire):
    """A signal that was accepted."""

    operation_id: str
    sequence: int
    signal: str
    input: JsonValue = None
    accepted_at: str
    request_id: str | None = None
    """The caller's id of the request: a repeated one is accepted once. Ours."""


class SnapshotRecord(_Wire):
    """How an operation stands, as callers see it."""

    id: str
    service: str
    operation: str
    revision: int
    """From 1; grows by one with each event of the operation."""
    state: OperationState
    created_at: str
    updated_at: str
    completed_at: str | None = None
    progress: JsonValue = None
    transfer: JsonValue = None
    output: JsonValue = None
    error: Mapping[str, JsonValue] | None = None

    def to_json(self) -> dict[str, JsonValue]:
        """Return the snapshot as in a frame."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


class JobAttachment(_Wire):
    """The job whose outcome the operation takes."""

    queue: str
    id: str


class CallerRecord(_Wire):
    """The caller that started an operation, as the service found out. Its session key is the record's `ownerSessionKey`."""

    name: str
    kind: CallerKind
    id: str | None
    capabilities: tuple[str, ...]

    @classmethod
    def of(cls, caller: Caller) -> Self:
        """Return what is stored of a caller."""
        held = tuple(sorted(caller.capabilities))
        return cls(name=caller.name, kind=caller.kind, id=caller.id, capabilities=held)


class Execution(_Wire):
    """The process that runs an operation that has not ended, and what running it needs."""

    runner: str | None
    """The lease of the process that runs it. None: no process does."""
    attempt: int = 0
    """How often a handler has begun."""
    traceparent: str | None = None
    """The span of the newest attempt; None where none was traced."""
    input: JsonValue
    context: Mapping[str, str]
    """The request and the trace that it belongs to, as headers."""
    is_deferred: bool = False
    """Whether its handler has left it open: no process runs it, and none must."""
    job: JobAttachment | None = None
    caller: CallerRecord | None = None
    """The caller that started it. None in open mode."""
    upload: JsonValue = None
    """The object that was uploaded, as in the reply to its last chunk; None before."""


class OperationRecord(_Wire):
    """An operation."""

    owner_session_key: str = ""
    """The session that started it; empty where sessions are not known."""
    sequence: int
    """Of its newest event; 0 before the first."""
    signal_sequence: int = 0
    signals: tuple[SignalEntry, ...] = ()
    snapshot: SnapshotRecord
    execution: Execution | None = Field(default=None)
    """None: the operation has ended, or another runtime stored it."""

    @classmethod
    def parse(cls, data: bytes) -> Self | None:
        """Decode a record. None: the data is not a record."""
        try:
            return cls.model_validate_json(data)
        except ValidationError:
            return None

    def encode(self) -> bytes:
        """Encode the record as JSON."""
        return self.model_dump_json(by_alias=True, exclude_unset=True).encode()

    @property
    def id(self) -> str:
        """The operation's id."""
        return self.snapshot.id

    @property
    def state(self) -> OperationState:
        """Where the operation stands."""
        return self.snapshot.state

    @property
    def has_ended(self) -> bool:
        """Whether the operation has ended."""
        return self.snapshot.state.is_terminal

    @property
    def caller(self) -> Caller | None:
        """The caller that started it; None where callers were not checked, or it has ended."""
        stored = None if self.execution is None else self.execution.caller
        if stored is None:
            return None
        return Caller(
            session_key=self.owner_session_key,
            name=stored.name,
            kind=stored.kind,
            id=stored.id,
            capabilities=frozenset(stored.capabilities),
        )

    @property
    def runner(self) -> str | None:
        """The lease of the process that runs it."""
        return None if self.execution is None else self.execution.runner
