"""What an audit counts: values by queue or event, by who wrote them, and by the reason why they are refused."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from pydantic import JsonValue

from trellis_admin.audit.failures import Failure
from trellis_admin.audit.readers import Refused, Upcast

__all__ = ["Audit", "Counted", "Example", "FailureCount", "Kind", "Subject", "Writer"]

_EXAMPLES: Final = 10
"""How many ids are kept for each reason; its counts are of all values."""
_REASONS: Final = 200
"""How many reasons are kept for each subject."""
_WRITERS: Final = 200
"""Likewise, digests."""


class Kind(StrEnum):
    """What was read."""

    PAYLOAD = "payload"
    """Payloads of jobs that wait or are dead."""
    RESULT = "result"
    """Results of completed jobs."""
    EVENT = "event"
    """Events in the stream of events."""


@dataclass(slots=True)
class Counted:
    """How many values there are."""

    waiting: int = 0
    """Of jobs that have not ended. Results and events count here too."""
    dead: int = 0
    """Of dead jobs, which an operator may retry."""

    @property
    def total(self) -> int:
        """How many there are in all."""
        return self.waiting + self.dead

    def add(self, *, is_dead: bool) -> None:
        """Count one more."""
        if is_dead:
            self.dead += 1
        else:
            self.waiting += 1


@dataclass(frozen=True, slots=True)
class Example:
    """A value that is refused."""

    id: str
    """The id of the job or the event; where it has none, its place in the stream."""
    value: JsonValue = None
    """The value, if payloads are shown."""


@dataclass(slots=True)
class FailureCount:
    """A reason, and how many values are refused for it."""

    text: str
    """What the reader says about the first of them."""
    counted: Counted = field(default_factory=Counted)
    examples: list[Example] = field(default_factory=list[Example])


@dataclass(slots=True)
class Writer:
    """How many values one version of a contract wrote."""

    values: int = 0
    refused: int = 0


@dataclass(slots=True)
class Subject:
    """The values of one queue or event."""

    kind: Kind
    name: str
    is_declared: bool = True
    """Whether the contract has it. Where it does not, no process reads its values."""
    counted: Counted = field(default_factory=Counted)
    refused: Counted = field(default_factory=Counted)
    upcast: int = 0
    """Values that an upcaster reads."""
    upcast_versions: frozenset[str] = frozenset()
    """The digests for which an upcaster is registered."""
    gone: int = 0
    """Values that the stream lost before they could be read: they were purged, or are too old."""
    failures: dict[tuple[str, str], FailureCount] = field(default_factory=dict[tuple[str, str], FailureCount])
    """By the kind and the place of each reason."""
    writers: dict[str, Writer] = field(default_factory=dict[str, Writer])
    """By digest; empty where the message does not have one."""

    @property
    def is_safe(self) -> bool:
        """Whether the contract reads every value."""
        return not self.refused.total and (self.is_declared or not self.counted.total)

    def count(self, digest: str, found: Refused | Upcast | None, example_id: str, *, is_dead: bool) -> None:
        """Count one value."""
        self.counted.add(is_dead=is_dead)
        writer = self._writer(digest)
        writer.values += 1
        if isinstance(found, Upcast):
            self.upcast += 1
        if not isinstance(found, Refused):
            return
        self.refused.add(is_dead=is_dead)
        writer.refused += 1
        for failure in found.failures:
            known = self._failure(failure)
            known.counted.add(is_dead=is_dead)
            if len(known.examples) < _EXAMPLES:
                known.examples.append(Example(example_id, found.value))

    def _writer(self, digest: str) -> Writer:
        found = self.writers.get(digest)
        if found is None:
            key = digest if len(self.writers) < _WRITERS else "others"
            found = self.writers.setdefault(key, Writer())
        return found

    def _failure(self, failure: Failure) -> FailureCount:
        key = (failure.kind, failure.place)
        if key not in self.failures and len(self.failures) >= _REASONS:
            key, failure = ("others", ""), Failure("others", "", "other reasons")
        return self.failures.setdefault(key, FailureCount(failure.text))


@dataclass(frozen=True, kw_only=True, slots=True)
class Audit:
    """What an audit found."""

    contract_id: str
    digest: str
    subjects: tuple[Subject, ...]
    """Queues first, then results and events, each by name."""

    @property
    def is_safe(self) -> bool:
        """Whether the contract reads everything that was audited."""
        return all(subject.is_safe for subject in self.subjects)

    @property
    def values(self) -> int:
        """How many values the contract was to read."""
        return sum(subject.counted.total for subject in self.subjects if subject.is_declared)

    @property
    def refused(self) -> int:
        """How many of them it refuses."""
        return sum(subject.refused.total for subject in self.subjects)

    @property
    def unclaimed(self) -> int:
        """How many jobs are in queues that the contract does not have."""
        return sum(subject.counted.total for subject in self.subjects if not subject.is_declared)
