"""A key keeps its limit and becomes free again, whatever happens in whatever order."""

import os

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.unit.runtime.keyed_machine import KeyedHistories

HISTORIES = int(os.environ.get("KEYED_HISTORIES", "150"))
"""`KEYED_HISTORIES=100000` is the long run: about 12 ms each on one core."""


@pytest.mark.timeout(60 + HISTORIES // 10)
def test_a_key_keeps_its_limit_and_never_leaks_an_entry() -> None:
    run_state_machine_as_test(
        KeyedHistories,
        settings=settings(max_examples=HISTORIES, stateful_step_count=30, deadline=None, database=None),
    )
