"""Visits every order in which the steps of a small `World` can happen. States that differ only in the past count as one."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Final

from trellis_nats.clock import parse_timestamp
from trellis_nats.jobs.keys.model.record import KeyRecord

from tests.support.keyed_steps import CHANGING, act, actions, deliverable
from tests.support.keyed_world import EPOCH, LEASE, Actor, Past, World

__all__ = ["Explored", "explore"]

TICK: Final = 2.5
"""In seconds. With a lease of 6 s, an owner stops after two ticks, and an observer takes over after three."""
_TRIES_MAX: Final = 2
"""Worlds in which a job had more attempts are not followed: they contain nothing new."""
_LONG_AGO: Final = 99.0


@dataclass(frozen=True, slots=True)
class Explored:
    """The result of an exploration."""

    states: int
    violations: list[str]
    trace: list[str]
    """The steps to the first violation."""
    is_complete: bool


def explore(start: World, *, crashes: int, states_max: int) -> Explored:
    """Visit every order of steps, breadth first, until one violates a promise."""
    visited: dict[Hashable, tuple[Hashable, str] | None] = {_key(start, crashes): None}
    pending: deque[tuple[World, int, Hashable]] = deque([(start, crashes, _key(start, crashes))])
    while pending:
        world, budget, key = pending.popleft()
        for step, following, remaining in _next(world, budget):
            found = _key(following, remaining)
            if found in visited:
                continue
            visited[found] = (key, step)
            if following.violations():
                return Explored(
                    len(visited), following.violations(), _trace(visited, found), is_complete=False
                )
            if len(visited) >= states_max:
                return Explored(len(visited), [], [], is_complete=False)
            pending.append((following, remaining, found))
    return Explored(len(visited), [], [], is_complete=True)


def _next(world: World, budget: int) -> Iterator[tuple[str, World, int]]:
    steps: list[tuple[str, str]] = []
    for name, actor in world.actors.items():
        # A handler may also fail; the random histories cover that.
        steps += [
            (name, action)
            for action in actions(world, actor)
            if action != "fail" and (action, actor.stage) != ("decide", "acquire")
        ]
        if actor.kind == "worker" and actor.stage == "idle":
            steps += [(name, f"deliver:{job}") for job in deliverable(world)]
    for name, action in steps:
        following = world.clone()
        act(following, name, action)
        if all(past.tries <= _TRIES_MAX for past in following.history.values()):
            yield f"{name}: {action}", following, budget
    if budget:
        for name in world.actors:
            following = world.clone()
            following.crash(name)
            yield f"{name}: crash", following, budget - 1
    following = world.clone()
    following.pass_time(TICK)
    yield "time passes", following, budget


def _trace(visited: dict[Hashable, tuple[Hashable, str] | None], key: Hashable) -> list[str]:
    steps: list[str] = []
    while (before := visited[key]) is not None:
        key, step = before
        steps.append(step)
    return steps[::-1]


class _Names:
    """Numbers the tokens in the order in which they occur."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {"": 0}

    def of(self, token: str) -> int:
        return self._seen.setdefault(token, len(self._seen))


def _key(world: World, budget: int) -> Hashable:
    names = _Names()
    record = _record(world, world.record, names)
    actors = tuple(_actor(world, actor, names) for actor in world.actors.values())
    history = tuple((job, _past(past, names)) for job, past in world.history.items())
    messages = tuple(
        (job, each.holder, max(0.0, each.due - world.now)) for job, each in world.messages.items()
    )
    return record, actors, history, messages, tuple(world.outcomes.items()), budget, world.faults


def _past(past: Past, names: _Names) -> Hashable:
    return past.event, past.tries, past.sequence, names.of(past.token)


def _record(world: World, record: KeyRecord, names: _Names) -> Hashable:
    return (
        tuple(
            (s.job_id, names.of(s.token), s.instance_id, s.tries, min(5.0, _since(world, s.renewed_at)))
            for s in record.active
        ),
        tuple(
            (e.job_id, 0.0 if e.job_id in world.history else _since(world, e.created_at))
            for e in record.queued
        ),
    )


def _since(world: World, written: str) -> float:
    return min(11.0, world.now - (parse_timestamp(written) - EPOCH).total_seconds())


def _actor(world: World, actor: Actor, names: _Names) -> Hashable:
    if actor.stage in {"idle", "done"}:
        return actor.name, actor.stage
    lease = LEASE.total_seconds() + TICK
    snapshot: Hashable = None
    if actor.snapshot is not None:
        record, revision = actor.snapshot
        snapshot = _record(world, record, names), revision == world.revision
    known = world.record if actor.snapshot is None else actor.snapshot[0]
    seen = tuple(
        (names.of(slot.token), slot.token in actor.observations.slots, not actor.observations.expired(known, at=_LONG_AGO + world.now)
         or min(lease, next((world.now - each.since for token, each in actor.observations.slots.items() if token == slot.token), 0.0)))
        for slot in known.active
    )  # fmt: skip
    left = (
        tuple(sorted(map(names.of, actor.orphans.slots)))
        if actor.stage in {"evict", "admit_after_eviction", "remove_ended"}
        else ()
    )
    asked = (
        None
        if actor.requested_at is None or actor.stage not in CHANGING
        else min(lease, world.now - actor.requested_at)
    )
    return (
        actor.name, actor.stage, actor.job, names.of(actor.token), actor.skips_queue, actor.sequence, actor.tries, snapshot,
        seen, asked,
        max(-TICK, actor.until - world.now) if actor.is_owner or actor.stage in {"stale", "start"} else 0.0,
        actor.after if actor.stage in {"stale", "release"} else "", left,
        tuple(names.of(slot.token) for slot in actor.displaced),
    )  # fmt: skip
