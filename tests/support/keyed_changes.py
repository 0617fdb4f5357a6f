"""How the processes of a `World` change its record: a read, then a write that is refused if the record has moved."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from trellis_nats.clock import timestamp
from trellis_nats.jobs.keys.model import admission, slots
from trellis_nats.jobs.keys.model.admission import Admitted, Displaced, Joined, Verdict
from trellis_nats.jobs.keys.model.lease_observer import NO_OBSERVATIONS, observe
from trellis_nats.jobs.keys.model.record import KeyRecord, Slot
from trellis_nats.jobs.keys.orphans import Orphans

from tests.support.keyed_records import LIMIT_BYTES
from tests.support.keyed_world import Actor, World

__all__ = ["become", "read", "write"]


def become(world: World, actor: Actor) -> None:
    """Let a process be as far as this."""
    world.actors[actor.name] = actor


def read(world: World, actor: Actor) -> None:
    """Read the record. What is asked for counts from the first read."""
    fresh = {} if actor.asked_at is not None else {"asked_at": world.now, "asked_wall": world.now}
    become(
        world,
        replace(
            actor,
            snapshot=(world.record, world.revision),
            seen=observe(actor.seen, world.record, at=world.now),
            asked_at=fresh.get("asked_at", actor.asked_at),
            asked_wall=fresh.get("asked_wall", actor.asked_wall),
        ),
    )


def write(world: World, actor: Actor, action: str) -> None:
    """Write what follows from what was read: refused if the record moved; `lose` loses the answer, `late` delays it."""
    assert actor.snapshot is not None
    record, revision = actor.snapshot
    changed, said = _reduce(world, actor, record)
    if changed == record:
        _said(world, replace(actor, snapshot=None), said)
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
            _said(world, replace(actor, snapshot=None), said)


def _check(world: World, actor: Actor, before: KeyRecord, after: KeyRecord) -> None:
    """Judge a change by what it does, not by how: places are limited, and a lost hold stays lost."""
    is_new = before.entry(actor.job) is None and after.entry(actor.job) is not None
    if actor.stage in {"admit", "room"} and is_new:
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
    verdict: Verdict
    displaced: tuple[Slot, ...]


def _reduce(world: World, actor: Actor, record: KeyRecord) -> tuple[KeyRecord, object]:
    rules, policy = world.rules, world.policy
    asked = world.wall(actor) - timedelta(seconds=world.now - actor.asked_wall)
    match actor.stage:
        case "admit":
            entry = actor.waiting or world.entry(actor)
            changed, verdict = rules.admit(
                record, entry, policy, strict=False, expired=frozenset(), limit_bytes=LIMIT_BYTES
            )
            return (changed if isinstance(verdict, Admitted) else record), verdict
        case "room":
            return _make_room(world, actor, record)
        case "take":
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
                entitled=actor.is_entitled,
                at=world.wall(actor),
            )
        case "clear":
            return admission.evict(record, entries=actor.orphans.entries, slots=actor.orphans.slots), None
        case "renew":
            renewed = rules.renew(record, actor.token, lease=policy.lease, at=asked)
            return (record, False) if renewed is None else (renewed, True)
        case "release":
            return rules.release(record, actor.token, waiting=actor.waiting) or record, None
        case "forget":
            own = {slot.token for slot in record.active if slot.job_id == actor.job}
            over = own & (
                actor.orphans.slots | rules.expired(actor.seen, record, world.now, world.wall(actor))
            )
            return rules.forget(record, actor.job, over), None
        case "withdraw":
            return admission.withdraw(record, actor.job), None
        case "restore":
            assert actor.replaced is not None
            return admission.restore(record, actor.replaced, by=actor.job), None
        case _:
            return slots.remove(record, actor.job), None


def _make_room(world: World, actor: Actor, record: KeyRecord) -> tuple[KeyRecord, _Room]:
    rules, policy = world.rules, world.policy
    expired = rules.expired(actor.seen, record, world.now, world.wall(actor))
    taken = expired if policy.stale_policy == "fail-stale" else frozenset[str]()
    displaced = tuple(slot for slot in record.active if slot.token in taken)
    left = actor.orphans
    cleared = admission.evict(record, entries=left.entries, slots=left.slots | taken)
    changed, verdict = rules.admit(
        cleared,
        actor.waiting or world.entry(actor),
        policy,
        strict=False,
        expired=expired,
        limit_bytes=LIMIT_BYTES,
    )
    return changed, _Room(verdict, displaced)


def _may_take(world: World, actor: Actor, record: KeyRecord) -> frozenset[str]:
    at, wall = world.now, world.wall(actor)
    own = {slot.token for slot in record.active if slot.job_id == actor.job}
    courtesy = slots.COURTESY
    late = world.rules.expired(actor.seen, record, at - courtesy.total_seconds(), wall - courtesy)
    return frozenset(late | (own & world.rules.expired(actor.seen, record, at, wall)))


def _said(world: World, actor: Actor, said: object) -> None:
    """Go on once a change is stored, or there is nothing to change."""
    until = (actor.asked_at or 0.0) + world.policy.lease.total_seconds()
    actor = replace(actor, asked_at=None)
    match actor.stage:
        case "admit":
            become(world, replace(actor, stage="publish" if isinstance(said, Admitted) else "inspect"))
        case "room":
            _answered(world, actor, said)
        case "take":
            _taken(world, actor, said, until)
        case "clear":
            become(world, replace(actor, stage="take", orphans=Orphans()))
        case "renew":
            become(
                world, replace(actor, stage="running", until=until) if said else replace(actor, stage="lost")
            )
        case "forget":
            _forgotten(world, actor)
        case "release":
            become(world, replace(actor, stage=actor.after, token="", waiting=None))
        case _:
            _left(world, actor)


def _taken(world: World, actor: Actor, said: object, until: float) -> None:
    match said:
        case slots.Acquired(displaced):
            stage = "stale" if displaced else "start"
            become(world, replace(actor, stage=stage, displaced=displaced, after="start", until=until))
        case slots.Blocked("not-listed"):
            # A job that was accepted must run: without a place, it has been evicted or displaced by somebody who died.
            become(world, replace(actor, stage="decide", token="", is_entitled=True))
        case _:
            become(world, replace(actor, stage="look"))


def _forgotten(world: World, actor: Actor) -> None:
    """Keep the message of an ended job for as long as a slot of it may be somebody's."""
    if any(slot.job_id == actor.job for slot in world.record.active):
        become(world, replace(actor, stage="waiting"))
    else:
        world.messages.pop(actor.job, None)
        become(world, replace(actor, stage="idle", is_entitled=False, seen=NO_OBSERVATIONS))


def _left(world: World, actor: Actor) -> None:
    if actor.kind == "submitter":
        world.outcomes[actor.job] = "failed"
    world.actors.pop(actor.name)


def _answered(world: World, actor: Actor, said: object) -> None:
    assert isinstance(said, _Room)
    actor = replace(actor, displaced=said.displaced)
    match said.verdict:
        case Admitted():
            after = "publish"
        case Displaced(replaced):
            after, actor = "skip", replace(actor, replaced=replaced)
        case Joined(existing):
            there = {entry.job_id for entry in world.record.queued} | {
                slot.job_id for slot in world.record.active
            }
            world.outcomes[actor.job] = "coalesced" if existing in there else "coalesced to nobody"
            after = "done"
        case _:
            world.outcomes[actor.job] = "rejected"
            after = "done"
    become(world, replace(actor, stage="stale" if said.displaced else after, after=after))
