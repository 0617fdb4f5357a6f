"""What is counted in memory."""

from __future__ import annotations

import threading
from datetime import timedelta
from itertools import count
from time import time_ns

import pytest
from trellis_nats.clock import now, timestamp
from trellis_nats.jobs.model.event import LifecycleEvent
from trellis_nats.jobs.model.states import EventType
from trellis_nats.jobs.work.attempt_counts import AttemptCounts
from trellis_nats.metrics import BUCKETS, FAMILIES, HistogramSample
from trellis_nats.metrics.families import JOB_ATTEMPTS, JOB_RUN, RPC_CALLS
from trellis_nats.metrics.registry import Histogram, MetricsRegistry


def waits_of(registry: MetricsRegistry) -> HistogramSample:
    (waits,) = (
        values for values in registry.snapshot().values if values.family.name == "trellis_job_wait_seconds"
    )
    (sample,) = waits.histograms
    return sample


def test_a_snapshot_has_every_family_and_is_not_changed_afterwards() -> None:
    registry = MetricsRegistry()
    registry.number(RPC_CALLS, "Orders.Get", "ok").add()
    before = registry.snapshot()
    registry.number(RPC_CALLS, "Orders.Get", "ok").add()
    registry.number(RPC_CALLS, "Orders.Get", "timeout").add()

    assert [values.family for values in before.values] == [*FAMILIES]
    assert before.value("trellis_rpc_calls_total") == 1
    assert registry.snapshot().value("trellis_rpc_calls_total") == 3
    assert registry.snapshot().value("trellis_rpc_calls_total", rpc="Orders.Get", outcome="ok") == 2
    assert registry.snapshot().value("trellis_rpc_calls_total", rpc="Orders.Create") == 0


@pytest.mark.parametrize(
    ("name", "labels", "words"),
    [
        ("trellis_calls", {}, "there is no metric trellis_calls"),
        ("trellis_rpc_calls_total", {"q": "1"}, "trellis_rpc_calls_total has the labels rpc, outcome, not q"),
    ],
)
def test_a_name_that_does_not_exist_is_an_error(name: str, labels: dict[str, str], words: str) -> None:
    with pytest.raises(KeyError, match=words):
        MetricsRegistry().snapshot().value(name, **labels)


def test_the_buckets_of_a_histogram_are_cumulative() -> None:
    registry = MetricsRegistry()
    for seconds in (-1.0, 0.005, 0.006, 1.0, 4000.0):
        registry.histogram(JOB_RUN, "pack").observe(seconds)
    snapshot = registry.snapshot()
    (values,) = (values for values in snapshot.values if values.family is JOB_RUN)
    (sample,) = values.histograms
    counts = dict(sample.buckets)

    assert [bound for bound, _ in sample.buckets] == [*BUCKETS]
    assert (counts[0.005], counts[0.01], counts[0.5], counts[1.0], counts[3600.0]) == (2, 3, 3, 4, 4)
    assert sample.count == 5
    assert sample.sum == pytest.approx(4001.011)
    assert snapshot.value("trellis_job_run_seconds", queue="pack") == 5


def test_a_job_waits_from_when_it_may_begin_until_its_first_attempt() -> None:
    registry = MetricsRegistry()
    counts = AttemptCounts("pack", registry)
    due = timestamp(now() - timedelta(seconds=20))
    plain = LifecycleEvent.model_construct(not_before=None)
    delayed = LifecycleEvent.model_construct(not_before=due)
    for event, stored_ago, tries in ((plain, 60, 1), (plain, 60, 2), (delayed, 60, 1), (plain, -60, 1)):
        counts.begin(event, time_ns() - stored_ago * 10**9, tries)

    waits = waits_of(registry)
    assert waits.count == 3
    assert waits.sum == pytest.approx(80, abs=5)


def test_a_job_is_dead_after_its_last_attempt_or_without_one() -> None:
    registry = MetricsRegistry()
    counts = AttemptCounts("pack", registry)
    for outcome in ("completed", "dead", "retry"):
        counts.settle(outcome, 0.0)
    counts.end(EventType.DEAD)
    counts.end(EventType.EXPIRED)

    assert registry.snapshot().value("trellis_jobs_dead_total", queue="pack") == 2
    assert registry.snapshot().value("trellis_job_attempts_total", queue="pack") == 3


def test_another_thread_may_read_while_new_labels_are_counted() -> None:
    registry = MetricsRegistry()
    stopped = threading.Event()
    problems: list[BaseException] = []

    def read() -> None:
        try:
            while not stopped.is_set():
                registry.snapshot()
        except BaseException as error:  # noqa: BLE001 - the test reports it
            problems.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(3_000):
        registry.number(JOB_ATTEMPTS, "pack", str(number)).add()
    stopped.set()
    reader.join()

    assert problems == []
    assert registry.snapshot().value("trellis_job_attempts_total") == 3_000


def test_a_value_above_every_bucket_is_counted() -> None:
    histogram = Histogram()
    histogram.observe(BUCKETS[-1] * 2)

    assert [index for index, counted in zip(count(), histogram.counts, strict=False) if counted] == [
        len(BUCKETS)
    ]
