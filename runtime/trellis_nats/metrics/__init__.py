"""What a service counts in this process, without any dependency. `trellis_nats.metrics.prometheus` exports it."""

from trellis_nats.metrics.families import BUCKETS, FAMILIES, MetricFamily, MetricKind
from trellis_nats.metrics.snapshot import HistogramSample, MetricsSnapshot, MetricValues, Sample

__all__ = [
    "BUCKETS",
    "FAMILIES",
    "HistogramSample",
    "MetricFamily",
    "MetricKind",
    "MetricValues",
    "MetricsSnapshot",
    "Sample",
]
