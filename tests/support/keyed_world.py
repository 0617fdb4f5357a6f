"""A world in which processes share the record of one key, step by step: the processes use the runtime's pure functions.

Between any two steps, another process may act, this process may crash, or time may pass. A write may be refused because
the record has changed, its answer may be lost, or it may arrive after its sender has given it up.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from trellis_nats.clock import timestamp
from trellis_nats.jobs.keys.model import admission, slots
from trellis_nats.jobs.keys.model.admission import AdmissionResult
from trellis_nats.jobs.keys.model.lease_observer import NO_OBSERVATIONS, LeaseObservations
from trellis_nats.jobs.keys.model.policy import KeyPolicy
from trellis_nats.jobs.keys.model.record import KeyRecord, QueueEntry, Slot
from trellis_nats.jobs.keys.orphans import Orphans

__all__ = ["ENDED", "Actor", "Message", "Past", "Rules", "World", "policy"]

EPOCH: Final = datetime(2026, 7, 1, tzinfo=UTC)
ENDED: Final = frozenset({"completed", "cancelled", "skipped", "stale"})
LEASE: Final = timedelta(seconds=6)


def policy(**said: object) -> KeyPolicy:
    """Return a policy with a short lease."""
    base = KeyPolicy(template=("k",), lease=LEASE, interval=LEASE / 3)
    return replace(base, **said)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] - tests name its own fields


def by_observation(
    observations: LeaseObservations, record: KeyRecord, at: float, _: datetime
) -> AbstractSet[str]:
    """Decide which leases have expired as the runtime does: by the observer's monotonic clock only."""
    return observations.expired(record, at=at)


def remove_ended_job(record: KeyRecord, job: str, over: AbstractSet[str]) -> KeyRecord:
    """Remove an ended job from the record, except for a slot in which its handler may still run."""
    return admission.evict(record, entries={job}, slots=over)


def all_orphans(orphans: Orphans, _: KeyRecord) -> Orphans:
    """Evict exactly the orphans that were found."""
    return orphans


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """The reducers that the processes use; a mutant has a broken one."""

    admit: Callable[..., tuple[KeyRecord, AdmissionResult]] = admission.admit
    acquire: Callable[..., tuple[KeyRecord, slots.Acquired | slots.Blocked]] = slots.acquire
    renew: Callable[..., KeyRecord | None] = slots.renew
    release: Callable[..., KeyRecord | None] = slots.release
    expired: Callable[[LeaseObservations, KeyRecord, float, datetime], AbstractSet[str]] = by_observation
    remove_ended: Callable[[KeyRecord, str, AbstractSet[str]], KeyRecord] = remove_ended_job
    select_orphans: Callable[[Orphans, KeyRecord], Orphans] = all_orphans


@dataclass(frozen=True, slots=True)
class Past:
    """The newest event of a job."""

    event: str = "created"
    tries: int = 0
    sequence: int = 1
    token: str = ""
    """The token of the slot of its newest attempt."""


@dataclass(frozen=True, slots=True)
class Message:
    """The work message of a job. It is redelivered for as long as it is not acknowledged."""

    holder: str = ""
    due: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Actor:
    """A process, and its progress in what it does."""

    name: str
    kind: str
    skew: float = 0.0
    """Seconds by which its wall clock is ahead of true time."""
    stage: str = "idle"
    job: str = ""
    token: str = ""
    """The process answers that it holds this token."""
    skips_queue: bool = False
    sequence: int = 0
    tries: int = 0
    snapshot: tuple[KeyRecord, int] | None = None
    observations: LeaseObservations = NO_OBSERVATIONS
    requested_at: float | None = None
    requested_wall: float = 0.0
    until: float = 0.0
    orphans: Orphans = field(default_factory=Orphans)
    displaced: tuple[Slot, ...] = ()
    after: str = ""
    waiting: QueueEntry | None = None
    replaced: QueueEntry | None = None
    was_removed: bool = False
    """An operator removed its slot: its handler may run until the next renewal."""

    @property
    def is_owner(self) -> bool:
        """Whether its handler runs."""
        return self.stage in {"running", "renew", "unwinding"}


@dataclass(slots=True)
class World:
    """The state of everything at one moment."""

    policy: KeyPolicy
    rules: Rules
    record: KeyRecord
    revision: int = 0
    now: float = 0.0
    """True time, in seconds; every monotonic clock runs at its rate."""
    actors: dict[str, Actor] = field(default_factory=dict[str, Actor])
    """The processes that are alive."""
    history: dict[str, Past] = field(default_factory=dict[str, Past])
    messages: dict[str, Message] = field(default_factory=dict[str, Message])
    outcomes: dict[str, str] = field(default_factory=dict[str, str])
    """The answer that each submitter got, by job."""
    late: tuple[tuple[KeyRecord, int, str], ...] = ()
    """Writes that their sender has given up and that may still arrive."""
    faults: tuple[str, ...] = ()
    """Descriptions of steps that must never happen."""
    tokens: int = 0
    born: int = 0

    @classmethod
    def fresh(cls, policy: KeyPolicy, rules: Rules | None = None) -> World:
        """Return a world without a job or a process."""
        empty = KeyRecord(
            service="svc",
            queue="q",
            display="k",
            hash="h",
            max_active=policy.max_active,
            max_queued=policy.max_queued,
        )
        return cls(policy, rules or Rules(), empty)

    def clone(self) -> World:
        """Return an independent copy."""
        return replace(
            self,
            actors=dict(self.actors),
            history=dict(self.history),
            messages=dict(self.messages),
            outcomes=dict(self.outcomes),
        )

    def spawn(self, kind: str, *, skew: float = 0.0, job: str = "") -> Actor:
        """Start a process."""
        self.born += 1
        actor = Actor(name=f"{kind}{self.born}", kind=kind, skew=skew, job=job)
        self.actors[actor.name] = actor
        return actor

    def wall(self, actor: Actor) -> datetime:
        """Return the time by the wall clock of a process."""
        return EPOCH + timedelta(seconds=self.now + actor.skew)

    def store(self, record: KeyRecord, writer: str) -> None:
        """Store a record; the revision of the write was checked."""
        for slot in self.record.active:
            holder = self.actors.get(slot.instance_id)
            if holder is None or holder.token != slot.token or holder.name == writer:
                continue
            if record.slot(slot.token) is not None or not (
                holder.is_owner or holder.stage in {"stale", "start"}
            ):
                continue
            if writer.startswith("operator"):
                self.actors[holder.name] = replace(holder, was_removed=True)
            elif self.now < holder.until:
                self.faults = (*self.faults, f"{writer} took away the slot of {holder.name}, which holds it")
        self.record, self.revision, self.late = record, self.revision + 1, ()

    def land(self, index: int) -> None:
        """Deliver a late write. It is refused if the record has changed."""
        record, revision, writer = self.late[index]
        self.late = (*self.late[:index], *self.late[index + 1 :])
        if revision == self.revision:
            self.store(record, writer)

    def append(self, job: str, event: str, *, after: int, tries: int, token: str = "") -> bool:
        """Append an event after the one that its writer knows. False: there is a newer event."""
        past = self.history[job]
        if past.sequence != after:
            return False
        self.history[job] = Past(event, tries, past.sequence + 1, token or past.token)
        return True

    def crash(self, name: str) -> None:
        """End a process at once. Its messages are redelivered."""
        self.actors.pop(name)
        for job, message in list(self.messages.items()):
            if message.holder == name:
                self.messages[job] = Message(due=self.now)

    def pass_time(self, seconds: float) -> None:
        """Let time pass. An owner stops a margin before its lease expires."""
        self.now += seconds
        margin = self.policy.margin.total_seconds()
        for name, actor in list(self.actors.items()):
            if not actor.is_owner:
                continue
            if self.now >= actor.until:
                self.actors[name] = replace(actor, stage="lost", snapshot=None)
            elif self.now >= actor.until - margin:
                self.actors[name] = replace(actor, stage="unwinding", snapshot=None)

    def owners(self) -> list[Actor]:
        """Return the processes whose handler runs under a lease that is valid by their own clock."""
        return [
            actor
            for actor in self.actors.values()
            if actor.is_owner and self.now < actor.until and not actor.was_removed
        ]

    def entry(self, actor: Actor, *, retry_at: datetime | None = None) -> QueueEntry:
        """Return the queue entry of the job of a process."""
        return QueueEntry(
            job_id=actor.job,
            created_at=timestamp(self.wall(actor)),
            request_id="r",
            context=None,
            retry_at=None if retry_at is None else timestamp(retry_at),
        )

    def violations(self) -> list[str]:
        """Return the violated promises."""
        found = list(self.faults)
        owners = self.owners()
        if len(owners) > self.policy.max_active:
            found.append(f"{len(owners)} owners with a valid lease: {[each.name for each in owners]}")
        if len(self.record.active) > self.policy.max_active:
            found.append(f"{len(self.record.active)} slots are taken")
        queued = [entry.job_id for entry in self.record.queued]
        active = [slot.job_id for slot in self.record.active]
        if len(set(queued) | set(active)) != len(queued) + len(active):
            found.append(f"a job is in the record twice: active {active}, queued {queued}")
        for job, outcome in self.outcomes.items():
            if outcome in {"rejected", "coalesced"} and job in self.history:
                found.append(f"job {job} was {outcome}, and is stored")
            if outcome == "accepted" and job not in self.history:
                found.append(f"job {job} was accepted, and is not stored")
        return found
