"""Shows the values of one job, without what its contract calls secret."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from trellis_nats._nats.connection import Connection
from trellis_nats.codec import decode_json

from trellis_admin.payloads.contract import PayloadContract, ValueKind
from trellis_admin.projection.incoming import Incoming, read_value
from trellis_admin.projection.job_events import read_job_events
from trellis_admin.queries import JobHistory
from trellis_admin.queries.timeline import build_history

__all__ = ["Revealed", "RevealedValue", "reveal_job"]

_NOTHING: Final = b"null"
"""Nothing in it is secret, and it stands for a value of which nothing may be shown."""
_WHOLE: Final = ("",)
"""The JSON pointer to a value itself."""


class RevealedValue(NamedTuple):
    """A payload, a result or a checkpoint."""

    text: bytes
    """As JSON: the stored bytes, so that integers are exact; where something is hidden, the rest of it."""
    hidden: tuple[str, ...]
    """JSON pointers to what the contract calls secret, and what is therefore not in the text; `""` is the whole value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revealed:
    """The values of a job."""

    payload: RevealedValue
    result: RevealedValue | None
    """None where the job has no result."""
    checkpoints: Mapping[int, RevealedValue]
    """By the sequence of `StoredCheckpoint`. A contract has no schema for them: where it is known, they stay hidden."""
    digest: str
    """Of the contract that wrote the payload; empty where that is not known."""
    is_checked: bool
    """Whether a contract said what is secret. Without one, nothing is hidden."""

    @property
    def text(self) -> bytes:
        """That of the payload."""
        return self.payload.text

    @property
    def hidden(self) -> tuple[str, ...]:
        """What of the payload is hidden."""
        return self.payload.hidden


async def reveal_job(
    connection: Connection, prefix: str, job_id: str, contract: PayloadContract | None
) -> Revealed | None:
    """Read the values of a job; None if the stream does not have its payload any longer.

    Args:
        connection: to the server.
        prefix: the publish prefix of the job's queue.
        job_id: the job.
        contract: has the queue, and says what is secret; None where it is not known.

    Raises:
        PermissionDenied: the account may not read the stream.
        TransportError: the server did not answer.
    """
    messages, is_cut = await read_job_events(connection, prefix, job_id)
    history = build_history(prefix, job_id, messages, is_cut=is_cut)
    if history is None:
        return None
    stored = _Stored({message.sequence: message for message in messages}, prefix, contract)
    payload = stored.show("payload", history.payload_sequence)
    if payload is None:
        return None
    checkpoints = {at: stored.show("checkpoint", at) for at in _checkpoints(history)}
    return Revealed(
        payload=payload,
        result=stored.show("result", history.result_sequence),
        checkpoints={at: value for at, value in checkpoints.items() if value is not None},
        digest=history.digest or "",
        is_checked=contract is not None,
    )


def _checkpoints(history: JobHistory) -> set[int]:
    every = {checkpoint.sequence for attempt in history.attempts for checkpoint in attempt.checkpoints}
    return every if history.checkpoint is None else every | {history.checkpoint.sequence}


class _Stored(NamedTuple):
    """The events of a job, and what says what in them is secret."""

    messages: Mapping[int, Incoming]
    prefix: str
    contract: PayloadContract | None

    def show(self, kind: ValueKind, sequence: int | None) -> RevealedValue | None:
        """Return a value of an event without secrets; None where there is none."""
        text = None if sequence is None else read_value(self.messages[sequence], kind)
        if text is None:
            return None
        if self.contract is None or text == _NOTHING:
            return RevealedValue(text, ())
        try:
            redacted = self.contract.redact(self.prefix, kind, decode_json(text))
        except (
            ValueError,
            RecursionError,
        ):  # text that is not Unicode, or too deep: a schema cannot say what is in it
            return RevealedValue(_NOTHING, _WHOLE)
        if not redacted.places:
            return RevealedValue(text, ())
        if redacted.places == _WHOLE:
            return RevealedValue(_NOTHING, _WHOLE)
        written = json.dumps(redacted.value, ensure_ascii=False).encode(errors="replace")
        return RevealedValue(written, redacted.places)
