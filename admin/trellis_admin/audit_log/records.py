"""What the audit log stores: a record before an action, and one after it with its outcome. Pure.

Both have one id. The subject of a record is `trellis.audit.<kind>.<action>.<id>.<phase>`, so that the server counts and filters.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Self, cast

from pydantic import JsonValue
from trellis_nats.clock import parse_timestamp, timestamp
from trellis_nats.jobs.model.subjects import AUDIT_PREFIX, AUDIT_STREAM

__all__ = [
    "AUDIT_PREFIX",
    "AUDIT_STREAM",
    "KEPT_FOR",
    "TEXT_MAX",
    "Action",
    "AuditEntry",
    "AuditRecord",
    "Kind",
    "Outcome",
    "Phase",
    "clean_text",
    "subject_filter",
]

KEPT_FOR: Final = timedelta(days=400)
"""How long a record is kept: a year, and time to look back from its end."""
TEXT_MAX: Final = 1_000
"""Characters of a reason or of another text; the rest is cut."""
_MEMBERS_MAX: Final = 50
"""How many members of a target or a detail are stored."""
_ANY: Final = "*"


class Kind(StrEnum):
    """What an action is about."""

    JOB = "job"
    """One job."""
    BULK = "bulk"
    """Many jobs, chosen by a filter; or a bulk action itself."""
    QUEUE = "queue"
    KEY = "key"
    """A concurrency key."""
    PAYLOAD = "payload"
    """The payload of one job was shown."""


class Action(StrEnum):
    """What was done, or attempted."""

    CANCEL = "cancel"
    RETRY = "retry"
    REPLAY = "replay"
    EDIT = "edit"
    """A replay with an edited payload, as a new job."""
    DISMISS = "dismiss"
    RECREATE = "recreate"
    """A stale job was created again, as a new job."""
    PAUSE = "pause"
    RESUME = "resume"
    RATE = "rate"
    """The rate of a bulk action was changed."""
    ABORT = "abort"
    RELEASE = "release"
    """A key was released."""
    REVEAL = "reveal"


class Phase(StrEnum):
    """What a record says about its action."""

    BEGAN = "began"
    """Stored before the action, which did not happen if there is no record after it and the process died."""
    DONE = "done"
    REFUSED = "refused"
    """It did not happen: another writer was first, or what was asked for is not possible."""
    FAILED = "failed"
    """It is not known whether it happened: NATS failed, or the process was interrupted."""
    DENIED = "denied"
    """It was not attempted, because the role of the actor does not allow it. There is no other record."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an action ended."""

    phase: Phase
    text: str = ""
    """A sentence; of a refusal, the reason."""
    at: datetime | None = None
    """When it ended, by the clock of its process."""
    detail: Mapping[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    """What else is known: the sequence of an event, counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """One action: who, what, where, why."""

    id: str
    """A ULID, the same in the records before and after the action. That of a bulk action is the id of its record."""
    kind: Kind
    action: Action
    actor: str
    source: str
    """Where it came from: `console`, `command line`, `Python API`, or `token <name>`."""
    target: Mapping[str, JsonValue]
    """What it is about: `job` and `queue` and `service`; `filter`, `at` and `count`; `key`; `bulk`."""
    reason: str
    at: datetime
    outcome: Outcome | None = None
    """None: the record was stored before the action."""

    @property
    def phase(self) -> Phase:
        """What the record says about its action."""
        return Phase.BEGAN if self.outcome is None else self.outcome.phase

    @property
    def subject(self) -> str:
        """Where it is published."""
        return f"{AUDIT_PREFIX}.{self.kind}.{self.action}.{self.id}.{self.phase}"

    def ended(self, outcome: Outcome) -> AuditRecord:
        """Return the record for after the action."""
        return replace(self, outcome=outcome)

    def encode(self) -> bytes:
        """Write it as JSON. Texts are cut and cleaned, so that a record never exceeds what a server accepts."""
        body: dict[str, object] = {
            "id": self.id,
            "kind": self.kind,
            "action": self.action,
            "actor": clean_text(self.actor),
            "source": clean_text(self.source),
            "target": _bounded(self.target),
            "reason": clean_text(self.reason),
            "at": timestamp(self.at),
        }
        if self.outcome is not None:
            body["outcome"] = {
                "phase": self.outcome.phase,
                "text": clean_text(self.outcome.text),
                "at": timestamp(self.outcome.at or self.at),
                "detail": _bounded(self.outcome.detail),
            }
        return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")

    @classmethod
    def parse(cls, data: bytes) -> Self | None:
        """Read a record; None for bytes that are not one, or that a newer version wrote."""
        try:
            body = _object(json.loads(data))
            outcome = _object(body["outcome"]) if "outcome" in body else None
            return cls(
                id=_text(body["id"]),
                kind=Kind(_text(body["kind"])),
                action=Action(_text(body["action"])),
                actor=_text(body["actor"]),
                source=_text(body["source"]),
                target=_object(body["target"]),
                reason=_text(body["reason"]),
                at=parse_timestamp(_text(body["at"])),
                outcome=None if outcome is None else _parse_outcome(outcome),
            )
        except (ValueError, KeyError, TypeError, RecursionError):
            return None


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """A line of the audit log: an action and its outcome."""

    record: AuditRecord
    """As it was stored before the action."""
    sequence: int
    """That of the record in stream TRELLIS_AUDIT."""
    outcome: Outcome | None
    """None: the action has not ended, or its process died."""


def subject_filter(kind: str = _ANY, action: str = _ANY, audit_id: str = _ANY, phase: str = _ANY) -> str:
    """Return a filter for the subjects of records; `*` stands for any."""
    return f"{AUDIT_PREFIX}.{kind}.{action}.{audit_id}.{phase}"


def clean_text(text: str, limit: int = TEXT_MAX) -> str:
    """Return a text on one line, without control characters, and at most `limit` characters of it.

    A reason is shown in terminals, pages and logs: characters that move the cursor, break lines or turn the direction of
    text around are replaced by a space.
    """
    kept = "".join(c if c.isprintable() else " " for c in text[: limit + 1]).strip()
    return kept if len(text) <= limit else kept[:limit].rstrip() + " …"


def _bounded(members: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    return {
        clean_text(name, 100): clean_text(value) if isinstance(value, str) else _plain(value)
        for name, value in list(members.items())[:_MEMBERS_MAX]
    }


def _plain(value: JsonValue) -> JsonValue:
    """Return a value that is small: a number, a bool, null, or the beginning of a list of texts and numbers."""
    if isinstance(value, list):
        return [clean_text(item, 200) if isinstance(item, str) else item for item in value[:_MEMBERS_MAX]]
    if isinstance(value, dict):
        return {
            clean_text(name, 200): clean_text(item, 200) if isinstance(item, str) else item
            for name, item in list(value.items())[:_MEMBERS_MAX]
            if not isinstance(item, dict | list)
        }
    return value


def _parse_outcome(body: Mapping[str, JsonValue]) -> Outcome:
    return Outcome(
        Phase(_text(body["phase"])),
        _text(body["text"]),
        parse_timestamp(_text(body["at"])),
        _object(body["detail"]),
    )


def _object(value: object) -> dict[str, JsonValue]:
    if not isinstance(value, dict):
        raise TypeError
    return cast("dict[str, JsonValue]", value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value
