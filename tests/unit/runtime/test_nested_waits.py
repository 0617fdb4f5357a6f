"""Which handlers wait for jobs of their own queue."""

from contextlib import ExitStack

import pytest
from trellis_nats.jobs.model.lineage import Origin, work_on
from trellis_nats.jobs.store.nested_waits import NestedWaits


@pytest.fixture
def waits() -> NestedWaits:
    nested = NestedWaits()
    nested.concurrency = 2
    nested.running |= {"A", "B"}
    return nested


def test_only_when_every_handler_waits_no_job_can_begin(waits: NestedWaits) -> None:
    with ExitStack() as stack:
        work_on(Origin("A", "A"))
        assert stack.enter_context(waits.waiting())
        assert stack.enter_context(waits.waiting()), "a handler may wait for several jobs"
        assert not waits.are_all_waiting
        work_on(Origin("B", "A"))
        with waits.waiting():
            assert waits.are_all_waiting
        assert not waits.are_all_waiting
    assert not waits.are_all_waiting


def test_a_task_that_outlives_its_handler_holds_no_place(waits: NestedWaits) -> None:
    work_on(Origin("A", "A"))
    waits.running.discard("A")

    with waits.waiting() as is_nested:
        assert not is_nested


def test_a_handler_of_another_queue_does_not_count(waits: NestedWaits) -> None:
    work_on(Origin("C", "C"))

    with waits.waiting() as is_nested:
        assert not is_nested
