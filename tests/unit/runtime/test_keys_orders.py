"""Every order of the steps of two workers, not only the orders that chance finds."""

import os

import pytest

from tests.support.keyed_explorer import Explored, explore
from tests.support.keyed_mutants import MUTANTS
from tests.support.keyed_steps import act, actions
from tests.support.keyed_world import Rules, World, policy

STATES_MAX = 20_000
"""All states of one job are fewer."""
STATES = STATES_MAX if "KEYED_HISTORIES" in os.environ else 6_000
"""How many states of two jobs are visited, breadth first; all 20,000 take 5 s, by `make faults`."""


def explored(
    jobs: str, rules: Rules, *, stale_policy: str = "fail-stale", states_max: int = STATES_MAX
) -> Explored:
    """Visit the orders in which two workers can run stored jobs, while one worker may crash."""
    world = World.fresh(policy(stale_policy=stale_policy, max_queued=1), rules)
    for job in jobs:
        submitter = world.spawn("submitter", job=job).name
        act(world, submitter, "submit")
        while world.actors[submitter].stage != "done":
            act(world, submitter, actions(world, world.actors[submitter])[0])
        world.actors.pop(submitter)
    world.spawn("worker")
    world.spawn("worker")
    return explore(world, crashes=1, states_max=states_max)


@pytest.mark.parametrize("stale_policy", ["fail-stale", "block"])
def test_no_order_of_the_steps_of_one_job_violates_a_promise(stale_policy: str) -> None:
    found = explored("A", Rules(), stale_policy=stale_policy)

    print(f"{found.states} states")  # noqa: T201 - shown with -s
    assert found.violations == [], found.trace
    assert found.is_complete


@pytest.mark.parametrize("stale_policy", ["fail-stale", "block"])
def test_the_first_orders_of_two_jobs_violate_no_promise(stale_policy: str) -> None:
    found = explored("AB", Rules(), stale_policy=stale_policy, states_max=STATES)

    print(f"{found.states} states")  # noqa: T201 - shown with -s
    assert found.violations == [], found.trace


@pytest.mark.parametrize(
    "mutant",
    [
        "acquire does not count active jobs",
        "a slot is taken over before its lease has expired",
        "the slot of a running job is evicted",
        "the entry of a waiting job is evicted",
    ],
)
def test_an_order_of_steps_reveals_each_mutant(mutant: str) -> None:
    found = explored("AB", MUTANTS[mutant])

    assert found.violations
    assert found.trace
