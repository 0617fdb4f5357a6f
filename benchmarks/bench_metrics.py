"""What does counting cost, for each job that is worked, each event that is handled, and each call that is answered?

Each figure is processor time, the best of several runs in this process, less the cost of the loop.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from time import process_time, time_ns
from timeit import repeat
from typing import Final

from trellis_nats.jobs.model.event import LifecycleEvent
from trellis_nats.jobs.work.attempt_counts import AttemptCounts
from trellis_nats.metrics.families import EVENTS_HANDLED, RPC_CALLS
from trellis_nats.metrics.registry import MetricsRegistry

CALLS: Final = int(os.environ.get("BENCH_CALLS", "200000"))
RUNS: Final = 7

METRICS: Final = MetricsRegistry()
ATTEMPTS: Final = AttemptCounts("charge-payment", METRICS)
ANSWERED: Final = METRICS.number(RPC_CALLS, "Orders.Create", "ok")
EVENT: Final = LifecycleEvent.model_construct(not_before=None)
STORED: Final = time_ns()


def work_job() -> None:
    """Count what one job counts that is completed in its first attempt."""
    ATTEMPTS.settle("completed", ATTEMPTS.begin(EVENT, STORED, 1))


def handle_event() -> None:
    """Count what one event of a group counts."""
    METRICS.number(EVENTS_HANDLED, "shippedAudit", "completed").add()


def answer_call() -> None:
    """Count what one call counts."""
    ANSWERED.add()


def nothing() -> None:
    """Do what the loop costs."""


def nanoseconds(measured: Callable[[], None]) -> float:
    """Return how long one call takes."""
    return min(repeat(measured, timer=process_time, number=CALLS, repeat=RUNS)) / CALLS * 1e9


def main() -> None:
    """Print the figures."""
    loop = nanoseconds(nothing)
    for name, measured in (("job", work_job), ("event", handle_event), ("call", answer_call)):
        print(f"{name:<6} {nanoseconds(measured) - loop:6.0f} ns")
    taken = min(repeat(METRICS.snapshot, timer=process_time, number=1000, repeat=RUNS)) / 1000
    print(f"a snapshot takes {taken * 1e6:.0f} us")


if __name__ == "__main__":
    main()
