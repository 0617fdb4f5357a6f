"""Every order of the steps of two workers, not only those that chance finds."""

import pytest

from tests.support.keyed_explorer import Explored, explore
from tests.support.keyed_mutants import MUTANTS
from tests.support.keyed_steps import act, actions
from tests.support.keyed_world import Rules, World, policy

STATES = 20_000
"""Of two jobs, so many are gone through, breadth first: about 5 s. All of one job's are."""


def explored(jobs: str, rules: Rules, *, stale_policy: str = "fail-stale") -> Explored:
    """Go through the orders in which two workers can do some jobs that are stored, while one of them may crash."""
    world = World.fresh(policy(stale_policy=stale_policy, max_queued=1), rules)
    for job in jobs:
        submitter = world.spawn("submitter", job=job).name
        act(world, submitter, "submit")
        while world.actors[submitter].stage != "done":
            act(world, submitter, actions(world, world.actors[submitter])[0])
        world.actors.pop(submitter)
    world.spawn("worker")
    world.spawn("worker")
    return explore(world, crashes=1, states_max=STATES)


@pytest.mark.parametrize("stale_policy", ["fail-stale", "block"])
def test_no_order_of_the_steps_of_one_job_violates_anything(stale_policy: str) -> None:
    found = explored("A", Rules(), stale_policy=stale_policy)

    print(f"{found.states} states")  # noqa: T201 - how much was gone through, with -s
    assert found.violations == [], found.trace
    assert found.is_complete


@pytest.mark.parametrize("stale_policy", ["fail-stale", "block"])
def test_the_first_orders_of_two_jobs_violate_nothing(stale_policy: str) -> None:
    found = explored("AB", Rules(), stale_policy=stale_policy)

    print(f"{found.states} states")  # noqa: T201 - likewise
    assert found.violations == [], found.trace


@pytest.mark.parametrize(
    "mutant",
    [
        "acquire does not count the active ones",
        "a slot is taken over whose lease is not over",
        "the slot of a job that lives is evicted",
        "the place of a job that waits is evicted",
    ],
)
def test_among_them_is_one_that_shows_what_is_broken(mutant: str) -> None:
    found = explored("AB", MUTANTS[mutant])

    assert found.violations
    assert found.trace
