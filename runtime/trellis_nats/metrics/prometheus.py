"""Exports what services count to Prometheus: `pip install trellis-nats[prometheus]`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from typing_extensions import override

from trellis_nats.metrics.families import FAMILIES, MetricFamily
from trellis_nats.metrics.snapshot import MetricsSnapshot, MetricValues

__all__ = ["TrellisCollector"]


class _Counting(Protocol):
    def metrics(self) -> MetricsSnapshot: ...


class TrellisCollector(Collector):
    """Reads the counters of a service each time that Prometheus asks. Register it once for each service of the process.

        REGISTRY.register(TrellisCollector(service))

    The names, units and labels are those of `trellis_nats.metrics.FAMILIES`.
    """

    def __init__(self, service: _Counting) -> None:
        """Prepare; `service` is a generated service, or anything with its `metrics()`."""
        self._service = service

    @override
    def collect(self) -> Iterator[Metric]:
        """Yield every family with its values."""
        for values in self._service.metrics().values:
            yield _exported(values)

    def describe(self) -> Iterable[Metric]:
        """Yield every family without values, so that registering the collector reads none."""
        return [_exported(MetricValues(family=family)) for family in FAMILIES]


def _exported(values: MetricValues) -> Metric:
    family = values.family
    match family.kind:
        case "histogram":
            return _exported_histogram(family, values)
        case "counter":
            metric: CounterMetricFamily | GaugeMetricFamily = CounterMetricFamily(
                family.name, family.help, labels=family.labels
            )
        case "gauge":
            metric = GaugeMetricFamily(family.name, family.help, labels=family.labels)
    for sample in values.samples:
        metric.add_metric([*sample.labels.values()], sample.value)
    return metric


def _exported_histogram(family: MetricFamily, values: MetricValues) -> Metric:
    metric = HistogramMetricFamily(family.name, family.help, labels=family.labels)
    for sample in values.histograms:
        bounds = [(str(bound), float(count)) for bound, count in sample.buckets]
        metric.add_metric([*sample.labels.values()], [*bounds, ("+Inf", float(sample.count))], sample.sum)
    return metric
