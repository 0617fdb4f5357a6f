"""How the processes of a `World` change its record: a read, then a write that is refused if the record has changed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from trellis_nats.clock import timestamp
from trellis_nats.jobs.keys.model import admission, slots
from trellis_nats.jobs.keys.model.admission import AdmissionResult, Admitted, Displaced, Joined
from trellis_nats.jobs.keys.model.lease_observer import NO_OBSERVATIONS, observe
from trellis_nats.jobs.keys.model.record import KeyRecord, Slot
from trellis_nats.jobs.keys.orphans import Orphans

from tests.support.keyed_records import LIMIT_BYTES
from tests.support.keyed_world import Actor, World

__all__ = ["become", "read", "write"]


def become(world: World, actor: Actor) -> None:
    """Replace the state of a process."""
    world.actors[actor.name] = actor


def read(world: World, actor: Actor) -> None:
    """Read the record. A lease counts from before the first read of a request."""
    fresh = {} if actor.requested_at is not None else {"requested_at": world.now, "requested_wall": world.now}
    become(
        world,
        replace(
            actor,
            snapshot=(world.record, world.revision),
            observations=observe(actor.observations, world.record, at=world.now),
            requested_at=fresh.get("requested_at", actor.requested_at),
            requested_wall=fresh.get("requested_wall", actor.requested_wall),
        ),
    )


def write(world: World, actor: Actor, action: str) -> None:
    """Write the change of what was read; refused if the record has changed. `lose` loses the answer, `late` the write."""
    assert actor.snapshot is not None
    record, revision = actor.snapshot
    changed, outcome = _reduce(world, actor, record)
    if changed == record:
        _finish_change(world, replace(actor, snapshot=None), outcome)
    elif action == "late":
        world.late = (*world.late, (changed, revision, actor.name))
        become(world, replace(actor, snapshot=None))
    elif revision != world.revision:
        become(world, replace(actor, snapshot=None))
    else:
        _check(world, actor, record, changed)
        world.store(changed, actor.name)
        if action == "lose":
            become(world, replace(actor, snapshot=None))
        else:
            _finish_change(world, replace(actor, snapshot=None), outcome)


def _check(world: World, actor: Actor, before: KeyRecord, after: KeyRecord) -> None:
    """Check the effect of a change: the number of entries is limited, and a lost slot stays lost."""
    is_new = before.entry(actor.job) is None and after.entry(actor.job) is not None
    if actor.stage in {"admit", "admit_after_eviction"} and is_new:
        places = world.policy.max_queued + max(0, world.policy.max_active - len(after.active))
        displaced = len(after.queued) == len(before.queued)
        if len(after.queued) > places and not displaced:
            world.faults = (
                *world.faults,
                f"{actor.job} was admitted to {len(after.queued)} of {places} places",
            )
    if actor.stage == "renew" and after.slot(actor.token) is None:
        world.faults = (*world.faults, f"{actor.name} renewed what it does not have")
    others = {slot.token for slot in before.active} - {slot.token for slot in after.active} - {actor.token}
    if actor.stage == "release" and others:
        world.faults = (*world.faults, f"{actor.name} released {others}")


@dataclass(frozen=True, slots=True)
class _Room:
    result: AdmissionResult
    displaced: tuple[Slot, ...]


def _reduce(world: World, actor: Actor, record: KeyRecord) -> tuple[KeyRecord, object]:
    rules, policy = world.rules, world.policy
    asked = world.wall(actor) - timedelta(seconds=world.now - actor.requested_wall)
    match actor.stage:
        case "admit":
            entry = actor.waiting or world.entry(actor)
            changed, result = rules.admit(
                record, entry, policy, strict=False, expired=frozenset(), limit_bytes=LIMIT_BYTES
            )
            return (changed if isinstance(result, Admitted) else record), result
        case "admit_after_eviction":
            return _admit_after_eviction(world, actor, record)
        case "acquire":
            slot = Slot(
                job_id=actor.job,
                token=actor.token,
                instance_id=actor.name,
                started_at=timestamp(asked),
                renewed_at=timestamp(asked),
                expires_at=timestamp(asked + policy.lease),
                tries=actor.tries,
                context=None,
            )
            return rules.acquire(
                record,
                slot,
                policy,
                expired=_may_take(world, actor, record),
                skips_queue=actor.skips_queue,
                at=world.wall(actor),
            )
        case "evict":
            return admission.evict(record, entries=actor.orphans.entries, slots=actor.orphans.slots), None
        case "renew":
            renewed = rules.renew(record, actor.token, lease=policy.lease, at=asked)
            return (record, False) if renewed is None else (renewed, True)
        case "release":
            return rules.release(record, actor.token, waiting=actor.waiting) or record, None
        case "remove_ended":
            own = {slot.token for slot in record.active if slot.job_id == actor.job}
            over = own & (
                actor.orphans.slots | rules.expired(actor.observations, record, world.now, world.wall(actor))
            )
            return rules.remove_ended(record, actor.job, over), None
        case "withdraw":
            return admission.withdraw(record, actor.job), None
        case "restore":
            assert actor.replaced is not None
            return admission.restore(record, actor.replaced, by=actor.job), None
        case _:
            return slots.remove(record, actor.job), None


def _admit_after_eviction(world: World, actor: Actor, record: KeyRecord) -> tuple[KeyRecord, _Room]:
    rules, policy = world.rules, world.policy
    expired = rules.expired(actor.observations, record, world.now, world.wall(actor))
    taken = expired if policy.stale_policy == "fail-stale" else frozenset[str]()
    displaced = tuple(slot for slot in record.active if slot.token in taken)
    left = actor.orphans
    cleared = admission.evict(record, entries=left.entries, slots=left.slots | taken)
    changed, result = rules.admit(
        cleared,
        actor.waiting or world.entry(actor),
        policy,
        strict=False,
        expired=expired,
        limit_bytes=LIMIT_BYTES,
    )
    return changed, _Room(result, displaced)


def _may_take(world: World, actor: Actor, record: KeyRecord) -> frozenset[str]:
    at, wall = world.now, world.wall(actor)
    own = {slot.token for slot in record.active if slot.job_id == actor.job}
    window = slots.PRIORITY_WINDOW
    late = world.rules.expired(actor.observations, record, at - window.total_seconds(), wall - window)
    return frozenset(late | (own & world.rules.expired(actor.observations, record, at, wall)))


def _finish_change(world: World, actor: Actor, outcome: object) -> None:
    """Continue after a change is stored, or without one."""
    until = (actor.requested_at or 0.0) + world.policy.lease.total_seconds()
    actor = replace(actor, requested_at=None)
    match actor.stage:
        case "admit":
            become(world, replace(actor, stage="publish" if isinstance(outcome, Admitted) else "inspect"))
        case "admit_after_eviction":
            _answered(world, actor, outcome)
        case "acquire":
            _acquired(world, actor, outcome, until)
        case "evict":
            become(world, replace(actor, stage="acquire", orphans=Orphans()))
        case "renew":
            become(
                world,
                replace(actor, stage="running", until=until) if outcome else replace(actor, stage="lost"),
            )
        case "remove_ended":
            _ended_removed(world, actor)
        case "release":
            become(world, replace(actor, stage=actor.after, token="", waiting=None))
        case _:
            _left(world, actor)


def _acquired(world: World, actor: Actor, outcome: object, until: float) -> None:
    match outcome:
        case slots.Acquired(displaced):
            stage = "stale" if displaced else "start"
            become(world, replace(actor, stage=stage, displaced=displaced, after="start", until=until))
        case slots.Blocked("not-listed"):
            # A job that was accepted must run. Without an entry, it was evicted, or displaced by a process that died.
            become(world, replace(actor, stage="decide", token="", skips_queue=True))
        case _:
            become(world, replace(actor, stage="check"))


def _ended_removed(world: World, actor: Actor) -> None:
    """Keep the message of an ended job while a process may still run in one of its slots."""
    if any(slot.job_id == actor.job for slot in world.record.active):
        become(world, replace(actor, stage="waiting"))
    else:
        world.messages.pop(actor.job, None)
        become(world, replace(actor, stage="idle", skips_queue=False, observations=NO_OBSERVATIONS))


def _left(world: World, actor: Actor) -> None:
    if actor.kind == "submitter":
        world.outcomes[actor.job] = "failed"
    world.actors.pop(actor.name)


def _answered(world: World, actor: Actor, outcome: object) -> None:
    assert isinstance(outcome, _Room)
    actor = replace(actor, displaced=outcome.displaced)
    match outcome.result:
        case Admitted():
            after = "publish"
        case Displaced(replaced):
            after, actor = "skip", replace(actor, replaced=replaced)
        case Joined(existing):
            there = {entry.job_id for entry in world.record.queued} | {
                slot.job_id for slot in world.record.active
            }
            world.outcomes[actor.job] = "coalesced" if existing in there else "coalesced with a missing job"
            after = "done"
        case _:
            world.outcomes[actor.job] = "rejected"
            after = "done"
    become(world, replace(actor, stage="stale" if outcome.displaced else after, after=after))
