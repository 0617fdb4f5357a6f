"""The record of a bulk action, as bucket TRELLIS_ADMIN stores it. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Final, Self, cast

from pydantic import TypeAdapter, ValidationError
from trellis_nats.clock import timestamp

__all__ = [
    "BEGIN_WITH",
    "FINAL_STATES",
    "RATE",
    "RATE_MAX",
    "STOP_ABOVE",
    "STOP_ENDED_MIN",
    "BulkAction",
    "BulkRecord",
    "BulkState",
    "DryCounts",
    "Outcomes",
]

BEGIN_WITH: Final = 10
"""How many jobs a bulk action begins with by default, before it waits for "go on"."""
RATE: Final = 20.0
"""Jobs a second by default: a cause that is not fixed shows before much is sent."""
RATE_MAX: Final = 5_000.0
STOP_ABOVE: Final = 0.05
"""A bulk action stops when more than this share of the jobs that have ended since died again …"""
STOP_ENDED_MIN: Final = 20
"""… once so many have ended: of fewer, a single dead one would stop it."""


class BulkAction(StrEnum):
    """What is done to each selected job."""

    CANCEL = "cancel"
    RETRY = "retry"
    REPLAY = "replay"
    DISMISS = "dismiss"
    RECREATE = "recreate"

    @property
    def sends(self) -> bool:
        """Whether jobs begin again, so that they can die again."""
        return self in {BulkAction.RETRY, BulkAction.REPLAY, BulkAction.RECREATE}


class BulkState(StrEnum):
    """What a bulk action does now."""

    RUNNING = "running"
    WAITING = "waiting"
    """It has begun with some jobs, and waits for "go on"."""
    PAUSED = "paused"
    """An operator paused it."""
    STOPPED = "stopped"
    """It stopped, because too many jobs died again or NATS refused: `note` says why. An operator can let it go on."""
    ABORTED = "aborted"
    DONE = "done"


FINAL_STATES: Final = frozenset({BulkState.ABORTED, BulkState.DONE})


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What has become of the jobs that a bulk action sent, as of now."""

    ended: int = 0
    """How many have ended."""
    again: int = 0
    """How many of these died or failed again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DryCounts:
    """What a dry run counted."""

    accepted: int
    refused: int
    expired: int
    checked: int
    """How many jobs were looked at; fewer than are selected where time or number were bounded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkRecord:
    """A bulk action: what was asked for, how far it is, and who runs it."""

    id: str
    action: BulkAction
    filter: str
    """The selection's filter, with absolute times."""
    at: int
    """The selection's sequence of stream JOBS: later changes are not in it."""
    at_stored: datetime | None = None
    """When the message with that sequence was stored: a stream that was rolled back or made again has another one there."""
    count: int
    """How many jobs were selected and confirmed."""
    actor: str
    source: str
    reason: str
    created_at: datetime
    begin_with: int | None = BEGIN_WITH
    """None: it did not wait for "go on"."""
    rate: float | None = RATE
    """Jobs a second; None: as fast as possible."""
    dry_run: DryCounts | None = None
    contract: str = ""
    """The digests of the contracts by which the payloads are checked, with commas between them; empty: no contract was known."""

    state: BulkState = BulkState.RUNNING
    note: str = ""
    """Why it stopped, or was aborted."""
    limit: int | None = None
    """It waits for "go on" once so many are sent; None: it does not wait."""
    sent: int = 0
    """How many jobs were acted upon: so many events have its id."""
    refused: int = 0
    """How many cannot be acted upon, for instance because their deadline has passed."""
    changed: int = 0
    """How many had changed since they were selected: another writer was first."""
    cursor: int = 0
    """The jobs up to this sequence of their state are handled."""
    counted_to: int = 0
    """Its events up to this sequence of stream JOBS are in `sent`."""
    tolerated: Outcomes = Outcomes()
    """What had become of its jobs when an operator let it go on after it had stopped: they count no more against it."""
    began_at: datetime | None = None
    ended_at: datetime | None = None
    confirmed_at: datetime | None = None
    """When an operator let it go on."""
    runner: str = ""
    """The process that runs it; empty: no process does."""
    restarts: int = 0
    """How often another process continued after one that did not end in order."""
    is_settled: bool = False
    """Whether its counts are final."""

    @property
    def contracts(self) -> tuple[str, ...]:
        """The digests of the contracts that the process which runs it must know."""
        return tuple(filter(None, self.contract.split(",")))

    @property
    def left(self) -> int:
        """How many selected jobs are still to be handled."""
        return max(0, self.count - self.sent - self.refused - self.changed)

    @property
    def is_final(self) -> bool:
        """Whether it has ended."""
        return self.state in FINAL_STATES

    @property
    def needs_runner(self) -> bool:
        """Whether a process has to run it, or to count what a process that died had sent."""
        return self.state is BulkState.RUNNING or (
            not self.is_settled and (self.is_final or self.runner != "")
        )

    def encode(self) -> bytes:
        """Write it as JSON."""
        values = asdict(self)
        return json.dumps(values, default=_encode_instant, separators=(",", ":")).encode()

    @classmethod
    def parse(cls, data: bytes) -> Self | None:
        """Read a record; None for bytes that are not one. Members of a newer version are ignored."""
        try:
            body = json.loads(data)
            if not isinstance(body, dict):
                return None
            known = {field.name for field in fields(cls)}
            members = {
                name: value for name, value in cast("Mapping[str, object]", body).items() if name in known
            }
            return cast("Self", _ADAPTER.validate_python(members))
        except (ValueError, ValidationError, RecursionError):
            return None


_ADAPTER: Final = TypeAdapter(BulkRecord)


def _encode_instant(value: object) -> str:
    if isinstance(value, datetime):
        return timestamp(value)
    raise TypeError(f"{type(value).__name__} is not a part of a record")
