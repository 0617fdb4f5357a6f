"""The tests that check the reducers find every broken one."""

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from trellis_nats.jobs.keys.model import slots

from tests.support.keyed_mutants import MUTANTS, RELEASING_BY_JOB, REMOVING_THE_LIVING, REVIVING
from tests.support.keyed_steps import act, actions
from tests.support.keyed_world import Message, Rules, World, policy
from tests.unit.runtime.keyed_machine import KeyedHistories


@pytest.mark.parametrize("mutant", MUTANTS)
def test_the_histories_reveal_each_mutant(mutant: str) -> None:
    broken = type("Broken", (KeyedHistories,), {"reducers": MUTANTS[mutant]})

    with pytest.raises((AssertionError, BaseExceptionGroup)):
        run_state_machine_as_test(
            broken,
            settings=settings(
                max_examples=3000,
                stateful_step_count=30,
                deadline=None,
                database=None,
                derandomize=True,
                phases=[Phase.generate],
                report_multiple_bugs=False,
            ),
        )


def go_on(world: World, name: str, *, until: str) -> None:
    """Let a process take its steps, in order, until it reaches a stage."""
    for _ in range(20):
        actor = world.actors[name]
        if actor.stage == until:
            return
        act(world, name, actions(world, actor)[0])
    raise AssertionError(f"{name} never reached {until}: {world.actors[name]}")


def running(rules: Rules) -> tuple[World, str]:
    """Return a world in which a worker runs the only job."""
    world = World.fresh(policy(), rules)
    submitter, worker = world.spawn("submitter", job="J").name, world.spawn("worker").name
    act(world, submitter, "submit")
    go_on(world, submitter, until="done")
    act(world, worker, "deliver:J")
    go_on(world, worker, until="running")
    return world, worker


@pytest.mark.parametrize(("rules", "is_kept"), [(Rules(), True), (REMOVING_THE_LIVING, False)])
def test_a_redelivered_cancelled_job_leaves_the_slot_to_its_handler(rules: Rules, is_kept: bool) -> None:
    world, worker = running(rules)
    world.append("J", "cancelled", after=world.history["J"].sequence, tries=1)
    other = world.spawn("worker").name

    act(world, other, "deliver:J")
    go_on(world, other, until="waiting" if is_kept else "idle")

    assert (world.record.slot(world.actors[worker].token) is not None) is is_kept
    assert bool(world.violations()) is not is_kept


@pytest.mark.parametrize(("rules", "is_kept"), [(Rules(), True), (RELEASING_BY_JOB, False)])
def test_a_late_release_leaves_the_newer_slot_of_its_job(rules: Rules, is_kept: bool) -> None:
    world, first = running(rules)
    world.pass_time(world.policy.lease.total_seconds())
    world.messages["J"] = Message()
    second = world.spawn("worker").name
    act(world, second, "deliver:J")
    go_on(world, second, until="check")
    world.pass_time(world.policy.lease.total_seconds())
    act(world, second, "check")
    go_on(world, second, until="running")

    act(world, first, "lost")
    go_on(world, first, until="nak")

    assert (world.record.slot(world.actors[second].token) is not None) is is_kept
    assert bool(world.violations()) is not is_kept


@pytest.mark.parametrize(("rules", "is_lost"), [(Rules(), True), (REVIVING, False)])
def test_a_slot_that_an_operator_removed_is_lost_at_the_next_renewal(rules: Rules, is_lost: bool) -> None:
    world, worker = running(rules)
    world.store(slots.remove(world.record, "J"), "operator")

    act(world, worker, "renew")
    go_on(world, worker, until="lost" if is_lost else "running")

    assert bool(world.violations()) is not is_lost
