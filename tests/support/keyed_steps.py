"""What each process of a `World` may do next, as reservations.py, create.py, acquire.py, lease.py and the executor do it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Final

from trellis_nats.clock import parse_timestamp
from trellis_nats.jobs.keys.model.lease_observer import NO_OBSERVATIONS
from trellis_nats.jobs.keys.model.record import Slot
from trellis_nats.jobs.keys.orphans import (
    RESERVATION_TIMEOUT,
    Orphans,
    is_abandoned,
    is_orphaned,
    overdue_slots,
)
from trellis_nats.jobs.model.event import LifecycleEvent
from trellis_nats.jobs.store.liveness import Answer

from tests.support.keyed_changes import become, read, write
from tests.support.keyed_world import ENDED, Actor, Message, Past, World

__all__ = ["CHANGING", "act", "actions", "deliverable"]

CHANGING: Final = frozenset(
    {
        "admit",
        "admit_after_eviction",
        "acquire",
        "evict",
        "renew",
        "release",
        "withdraw",
        "restore",
        "remove",
        "remove_ended",
    }
)
"""Stages in which a process changes the record: it reads, then writes."""
BACKOFF: Final = 1.0


def actions(world: World, actor: Actor) -> list[str]:
    """Return what a process may do next, besides crashing."""
    if actor.stage in CHANGING:
        if actor.snapshot is None:
            return ["read", "decide"] if actor.stage == "acquire" else ["read"]
        return ["write"]
    match actor.stage:
        case "running":
            return ["renew", "finish", "fail"]
        case "unwinding":
            return ["finish", "fail", "unwind"]
        case "publish" | "skip":
            return [actor.stage, "fail"]
        case "idle" | "done":
            return ["submit"] if actor.kind == "submitter" and actor.stage == "idle" else []
        case _:
            return [actor.stage]


def deliverable(world: World, *, again: bool = False) -> list[str]:
    """Return the jobs whose message the server may deliver now; with `again`, also messages that it delivered before."""
    return [
        job
        for job, message in world.messages.items()
        if message.due <= world.now and (again or not message.holder)
    ]


def act(world: World, name: str, action: str) -> None:
    """Take one step of one process."""
    actor = world.actors[name]
    job, _, target = action.partition(":")
    if action in {"lose", "late"} or (action == "write" and actor.stage in CHANGING):
        write(world, actor, action)
    elif job == "deliver":
        become(world, replace(actor, stage="decide", job=target, skips_queue=False))
        world.messages[target] = Message(holder=name)
    else:
        _STEPS[action](world, actor)


def _submit(world: World, actor: Actor) -> None:
    become(world, replace(actor, stage="admit", waiting=world.entry(actor)))


def _inspect(world: World, actor: Actor) -> None:
    found = _find_orphans(world, actor)
    become(world, replace(actor, stage="admit_after_eviction", orphans=found, snapshot=None))


def _check_slot(world: World, actor: Actor) -> None:
    found = _find_orphans(world, actor)
    become(world, replace(actor, stage="evict" if found else "acquire", orphans=found, snapshot=None))


def _check_ended(world: World, actor: Actor) -> None:
    """Check whether the slots of an ended job are abandoned."""
    become(world, replace(actor, stage="remove_ended", orphans=_find_orphans(world, actor)))


def _find_orphans(world: World, actor: Actor) -> Orphans:
    """Find the orphans in the record, as `OrphanFinder` does."""
    record, at = world.record, world.wall(actor)
    entries = {
        entry.job_id
        for entry in record.queued
        if at - parse_timestamp(entry.created_at) > RESERVATION_TIMEOUT
        and is_orphaned(entry, _event(world.history.get(entry.job_id)), at=at)
    }
    held = {
        slot.token
        for slot in overdue_slots(record, world.policy, at=at)
        if is_abandoned(_event(world.history.get(slot.job_id)), _ask(world, slot))
    }
    found = world.rules.select_orphans(Orphans(frozenset(entries), frozenset(held)), record)
    for job in found.entries:
        if job in world.history and world.history[job].event not in ENDED:
            world.faults = (*world.faults, f"the entry of {job}, which still waits, would be evicted")
    return found


def _ask(world: World, slot: Slot) -> Answer:
    asked = world.actors.get(slot.instance_id)
    if asked is None:
        return Answer.SILENT
    return Answer.HELD if asked.token == slot.token else Answer.FREE


_EVENTS: dict[str, LifecycleEvent] = {}


def _event(past: Past | None) -> LifecycleEvent | None:
    if past is None:
        return None
    if past.event not in _EVENTS:
        state = {"created": "pending", "started": "active", "staleCompletionIgnored": "active"}.get(
            past.event, past.event
        )
        _EVENTS[past.event] = LifecycleEvent.model_validate(
            {
                "jobId": "J", "service": "svc", "jobType": "q", "eventType": past.event, "state": state, "tries": 1,
                "context": {"requestId": "r", "traceId": "t", "traceparent": "p"}, "timestamp": "2026-07-01T00:00:00.000Z",
            }
        )  # fmt: skip
    return _EVENTS[past.event]


def _stale(world: World, actor: Actor) -> None:
    """Store that jobs lost their slots, if they still run in them (event_fields.stale_event)."""
    for slot in actor.displaced:
        past = world.history.get(slot.job_id)
        if past and past.event in {"started", "staleCompletionIgnored"} and past.token == slot.token:
            world.append(slot.job_id, "stale", after=past.sequence, tries=past.tries)
    become(world, replace(actor, stage=actor.after, displaced=()))


def _skip(world: World, actor: Actor) -> None:
    assert actor.replaced is not None
    past = world.history.get(actor.replaced.job_id)
    if past and past.event in {"created", "retry"}:
        world.append(actor.replaced.job_id, "skipped", after=past.sequence, tries=past.tries)
    become(world, replace(actor, stage="publish"))


def _publish(world: World, actor: Actor) -> None:
    world.history[actor.job] = Past()
    world.messages[actor.job] = Message(due=world.now)
    world.outcomes[actor.job] = "accepted"
    become(world, replace(actor, stage="done"))


def _decide(world: World, actor: Actor) -> None:
    past = world.history[actor.job]
    if past.event in ENDED:
        become(
            world,
            replace(actor, stage="check_ended", token="", observations=NO_OBSERVATIONS, requested_at=None),
        )
        return
    is_active = past.event in {"started", "staleCompletionIgnored"}
    if is_active and any(other.is_owner and other.job == actor.job for other in world.actors.values()):
        become(world, replace(actor, stage="idle", token=""))
        return
    world.tokens += 1
    become(
        world,
        replace(
            actor, stage="acquire", token=f"{actor.job}/{world.tokens}", skips_queue=actor.skips_queue or past.event != "created",
            sequence=past.sequence, tries=past.tries + 1, observations=NO_OBSERVATIONS if actor.stage != "acquire" else actor.observations,
            requested_at=None, was_removed=False,
        ),
    )  # fmt: skip


def _start(world: World, actor: Actor) -> None:
    in_time = world.now < actor.until - world.policy.margin.total_seconds()
    if in_time and world.append(
        actor.job, "started", after=actor.sequence, tries=actor.tries, token=actor.token
    ):
        become(world, replace(actor, stage="running", sequence=actor.sequence + 1))
    else:
        become(world, replace(actor, stage="release", after="decide", skips_queue=True))


def _renew(world: World, actor: Actor) -> None:
    become(world, replace(actor, stage="renew"))


def _finish(world: World, actor: Actor) -> None:
    become(world, replace(actor, stage="completing"))


def _fail(world: World, actor: Actor) -> None:
    if actor.kind == "worker":
        become(world, replace(actor, stage="retrying"))
    else:
        become(world, replace(actor, stage="withdraw" if actor.stage == "publish" else "restore"))


def _lost(world: World, actor: Actor) -> None:
    world.append(actor.job, "staleCompletionIgnored", after=actor.sequence, tries=actor.tries)
    become(world, replace(actor, stage="release", after="nak"))


def _completing(world: World, actor: Actor) -> None:
    world.append(actor.job, "completed", after=actor.sequence, tries=actor.tries)
    become(world, replace(actor, stage="release", after="ack"))


def _retrying(world: World, actor: Actor) -> None:
    if world.append(actor.job, "retry", after=actor.sequence, tries=actor.tries):
        due = world.wall(actor) + timedelta(seconds=BACKOFF)
        become(world, replace(actor, stage="release", after="nak", waiting=world.entry(actor, retry_at=due)))
    else:
        become(world, replace(actor, stage="release", after="ack"))


def _nak(world: World, actor: Actor) -> None:
    _left(world, actor, acknowledged=False)


def _ack(world: World, actor: Actor) -> None:
    _left(world, actor, acknowledged=world.history[actor.job].event in ENDED)


def _left(world: World, actor: Actor, *, acknowledged: bool) -> None:
    if acknowledged:
        world.messages.pop(actor.job, None)
    elif actor.job in world.messages and world.messages[actor.job].holder == actor.name:
        world.messages[actor.job] = Message(due=world.now + BACKOFF)
    become(
        world,
        replace(actor, stage="idle", skips_queue=False, was_removed=False, observations=NO_OBSERVATIONS),
    )


_STEPS: Final = {
    "read": read, "submit": _submit, "inspect": _inspect, "check": _check_slot, "check_ended": _check_ended, "waiting": _check_ended, "stale": _stale, "skip": _skip,
    "publish": _publish, "decide": _decide, "start": _start, "renew": _renew, "finish": _finish, "unwind": _lost,
    "fail": _fail, "lost": _lost, "completing": _completing, "retrying": _retrying, "nak": _nak, "ack": _ack,
}  # fmt: skip
