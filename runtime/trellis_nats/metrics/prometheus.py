"""Exports what services count to Prometheus: `pip install "trellis-nats[prometheus]"`."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from typing_extensions import override

from trellis_nats.metrics.families import BUCKETS, FAMILIES, MetricFamily
from trellis_nats.metrics.snapshot import HistogramSample, MetricsSnapshot, MetricValues

__all__ = ["TrellisCollector"]


class _Counting(Protocol):
    def metrics(self) -> MetricsSnapshot: ...


class TrellisCollector(Collector):
    """Reads the counters of services each time that Prometheus asks. Register one, for all services of the process.

        REGISTRY.register(TrellisCollector(service))

    The names, units and labels are those of `trellis_nats.metrics.FAMILIES`. Where two services have a queue, a group or a
    procedure of the same name, the sum of both is exported.
    """

    def __init__(self, *services: _Counting) -> None:
        """Prepare; `services` are generated services, or anything with their `metrics()`."""
        self._services = services

    @override
    def collect(self) -> Iterator[Metric]:
        """Yield every family with its values."""
        snapshots = [service.metrics().values for service in self._services]
        for family in FAMILIES:
            yield _exported(
                family, [values for snapshot in snapshots for values in snapshot if values.family is family]
            )

    def describe(self) -> Iterable[Metric]:
        """Yield every family without values, so that registering the collector reads none."""
        return [_exported(family, []) for family in FAMILIES]


def _exported(family: MetricFamily, counted: Sequence[MetricValues]) -> Metric:
    match family.kind:
        case "histogram":
            return _exported_histogram(family, counted)
        case "counter":
            metric: CounterMetricFamily | GaugeMetricFamily = CounterMetricFamily(
                family.name, family.help, labels=family.labels
            )
        case "gauge":
            metric = GaugeMetricFamily(family.name, family.help, labels=family.labels)
    sums: dict[tuple[str, ...], int] = defaultdict(int)
    for sample in chain.from_iterable(values.samples for values in counted):
        sums[*sample.labels.values()] += sample.value
    for labels, value in sums.items():
        metric.add_metric(labels, value)
    return metric


def _exported_histogram(family: MetricFamily, counted: Sequence[MetricValues]) -> Metric:
    metric = HistogramMetricFamily(family.name, family.help, labels=family.labels)
    by_labels: dict[tuple[str, ...], list[HistogramSample]] = defaultdict(list)
    for sample in chain.from_iterable(values.histograms for values in counted):
        by_labels[*sample.labels.values()].append(sample)
    for labels, samples in by_labels.items():
        below = Counter[float]()
        for sample in samples:
            below.update(dict(sample.buckets))
        bounds = [(str(bound), float(below[bound])) for bound in BUCKETS]
        count = float(sum(sample.count for sample in samples))
        metric.add_metric(labels, [*bounds, ("+Inf", count)], sum(sample.sum for sample in samples))
    return metric
