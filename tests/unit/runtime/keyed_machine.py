"""Random histories of one key, made by hypothesis: any step of any process, any fault, at any time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from trellis_nats.jobs.keys.model.slots import PRIORITY_WINDOW
from trellis_nats.jobs.keys.orphans import RESERVATION_TIMEOUT

from tests.support.keyed_steps import CHANGING, act, actions, deliverable
from tests.support.keyed_world import ENDED, LEASE, Rules, World, policy

__all__ = ["KeyedHistories"]

T = TypeVar("T")
_PICK: Final = st.integers(0, 63)
_SKEW: Final = LEASE.total_seconds()
_POLL: Final = 1.0
_JOBS: Final = 7
_WORKERS: Final = 3


class KeyedHistories(RuleBasedStateMachine):
    """Several processes with different clocks, and one key."""

    reducers = Rules()
    world: World

    @initialize(
        stale=st.sampled_from(["fail-stale", "block"]),
        full=st.sampled_from(["reject", "coalesce", "replace-oldest"]),
        active=st.integers(1, 2),
        queued=st.integers(0, 2),
        skews=st.lists(st.sampled_from([0.0, _SKEW, -_SKEW]), min_size=_JOBS, max_size=_JOBS),
    )
    def begin(self, stale: str, full: str, active: int, queued: int, skews: list[float]) -> None:
        self.world = World.fresh(
            policy(stale_policy=stale, when_full=full, max_active=active, max_queued=queued), self.reducers
        )
        self.skews = skews
        self.jobs = 0
        for skew in skews[: _WORKERS - 1]:
            self.world.spawn("worker", skew=skew)
        self.submit(2)

    @rule(pick=_PICK)
    def submit(self, pick: int) -> None:
        if self.jobs < _JOBS:
            submitter = self.world.spawn("submitter", skew=self.skews[self.jobs], job=f"job{self.jobs}")
            self.jobs += 1
            act(self.world, submitter.name, "submit")
            if pick % 2 == 0:
                self._run(submitter.name)

    @rule(pick=_PICK)
    def step(self, pick: int) -> None:
        world = self.world
        found = [(name, action) for name, actor in world.actors.items() for action in actions(world, actor)]
        if found:
            act(world, *_one(found, pick))

    @rule(pick=_PICK)
    def go_on(self, pick: int) -> None:
        """Let one process take all its steps that do not wait."""
        names = [name for name, actor in self.world.actors.items() if actions(self.world, actor)]
        if names:
            self._run(_one(names, pick))

    @rule(pick=_PICK)
    def deliver(self, pick: int) -> None:
        world = self.world
        idle = [
            name for name, actor in world.actors.items() if actor.kind == "worker" and actor.stage == "idle"
        ]
        jobs = deliverable(world, again=pick % 4 == 0)
        if idle and jobs:
            name = _one(idle, pick // 8)
            act(world, name, f"deliver:{_one(jobs, pick)}")
            if pick % 2:
                self._run(name)

    @rule(pick=_PICK)
    def crash(self, pick: int) -> None:
        names = list(self.world.actors)
        if names:
            self.world.crash(_one(names, pick))

    @rule(pick=_PICK, how=st.sampled_from(["lose", "late"]))
    def fail_write(self, pick: int, how: str) -> None:
        names = [
            name for name, actor in self.world.actors.items() if actor.stage in CHANGING and actor.snapshot
        ]
        if names:
            act(self.world, _one(names, pick), how)

    @precondition(lambda self: self.world.late)
    @rule(pick=_PICK)
    def land(self, pick: int) -> None:
        self.world.land(pick % len(self.world.late))

    @rule(seconds=st.sampled_from([0.25, 0.5, 1.0, 2.0, 4.9, 5.0, 6.0, 6.5, 11.0]))
    def pass_time(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    @rule(pick=_PICK)
    def start_worker(self, pick: int) -> None:
        if sum(actor.kind == "worker" for actor in self.world.actors.values()) < _WORKERS:
            self.world.spawn("worker", skew=_one(self.skews, pick))

    @rule(pick=_PICK)
    def cancel(self, pick: int) -> None:
        world = self.world
        alive = [job for job, past in world.history.items() if past.event not in ENDED]
        if alive:
            job = _one(alive, pick)
            past = world.history[job]
            world.append(job, "cancelled", after=past.sequence, tries=past.tries)
            if past.event != "started":
                self._operate("withdraw", job)

    @rule(pick=_PICK)
    def operator_removes(self, pick: int) -> None:
        if self.world.history and pick % 4 == 0:
            self._operate("remove", _one(list(self.world.history), pick // 4))

    def _operate(self, stage: str, job: str) -> None:
        world = self.world
        operator = world.spawn("operator", job=job)
        world.actors[operator.name] = replace(operator, stage=stage)

    def _run(self, name: str, *, handler: str = "") -> None:
        """Let a process take steps until its handler runs, it waits, or it has nothing to do."""
        world = self.world
        checks = 0
        while name in world.actors and checks < 2:
            actor = world.actors[name]
            found = actions(world, actor)
            if not found or (actor.stage in {"running", "unwinding"} and not handler):
                return
            checks += actor.stage in {"check", "waiting"}
            act(world, name, handler if actor.stage in {"running", "unwinding"} else found[0])
            self.nothing_is_violated()

    @invariant()
    def nothing_is_violated(self) -> None:
        if hasattr(self, "world"):
            assert self.world.violations() == []

    # --- the end: every process is dead, and the key becomes free again ----------------------------------------------

    def teardown(self) -> None:
        if hasattr(self, "world"):
            for name in list(self.world.actors):
                self.world.crash(name)
            self._drain()
            self._arithmetic()
            self._free()

    def _drain(self) -> None:
        """Every stored job ends as soon as the leases of dead processes have expired."""
        world = self.world
        began = world.now
        limit = (LEASE + PRIORITY_WINDOW).total_seconds() + 2 * _POLL
        while world.messages:
            assert world.now - began <= limit, f"stuck: {world.messages}, {world.record}"
            for job in deliverable(world):
                act(world, world.spawn("worker").name, f"deliver:{job}")
            for name, actor in list(world.actors.items()):
                if actor.stage != "idle":
                    self._run(name, handler="finish")
            world.pass_time(_POLL)

    def _arithmetic(self) -> None:
        world = self.world
        stored = set(world.history)
        assert {job for job, outcome in world.outcomes.items() if outcome == "accepted"} <= stored
        assert {past.event for past in world.history.values()} <= ENDED
        assert "coalesced with a missing job" not in world.outcomes.values()

    def _free(self) -> None:
        """The key accepts as many new jobs as it has room for: no orphan is left."""
        world = self.world
        world.pass_time(RESERVATION_TIMEOUT.total_seconds() + _SKEW)
        if world.policy.stale_policy == "block":
            for slot in world.record.active:
                self._operate("remove", slot.job_id)
            for name in list(world.actors):
                self._run(name)
        began = world.now
        limit = (LEASE + PRIORITY_WINDOW).total_seconds() + _POLL
        seen = None
        for number in range(world.policy.max_active + world.policy.max_queued):
            job = f"new{number}"
            while world.outcomes.get(job) != "accepted":
                assert world.now - began <= limit, f"not free: {world.record}"
                submitter = world.spawn("submitter", job=job)
                if seen is not None:
                    world.actors[submitter.name] = replace(submitter, observations=seen)
                self._run(submitter.name)
                seen = world.actors[submitter.name].observations
                if world.outcomes.get(job) != "accepted":
                    world.pass_time(_POLL)


def _one(choices: Sequence[T], pick: int) -> T:
    return choices[pick % len(choices)]
