"""What proves the reducers right finds every wrong one."""

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.support.keyed_mutants import MUTANTS
from tests.unit.runtime.keyed_machine import KeyedHistories


@pytest.mark.parametrize("mutant", MUTANTS)
def test_the_histories_show_what_is_broken(mutant: str) -> None:
    broken = type("Broken", (KeyedHistories,), {"reducers": MUTANTS[mutant]})

    with pytest.raises((AssertionError, BaseExceptionGroup)):
        run_state_machine_as_test(
            broken,
            settings=settings(
                max_examples=5000,
                stateful_step_count=30,
                deadline=None,
                database=None,
                derandomize=True,
                phases=[Phase.generate],
                report_multiple_bugs=False,
            ),
        )
