"""Counts in memory. Written on the event loop of the service, and read from any thread."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate

from trellis_nats.metrics.families import BUCKETS, FAMILIES, MetricFamily
from trellis_nats.metrics.snapshot import HistogramSample, MetricsSnapshot, MetricValues, Sample

__all__ = ["Histogram", "MetricsRegistry", "Number"]


class Number:
    """A counter or a gauge, for one combination of labels."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def add(self) -> None:
        """Count one more."""
        self.value += 1


class Histogram:
    """A histogram, for one combination of labels."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        """How many values are in each bucket, and above the last one."""
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        """Count a duration. A negative one, by clocks that differ, counts as 0."""
        if seconds < 0:
            seconds = 0.0
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.total += seconds


class MetricsRegistry:
    """What one service has counted."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, tuple[str, ...]], Number] = {}
        self._histograms: dict[tuple[str, tuple[str, ...]], Histogram] = {}

    def number(self, family: MetricFamily, *labels: str) -> Number:
        """Return the counter or gauge of a family with these values of its labels."""
        key = family.name, labels
        found = self._numbers.get(key)
        if found is None:
            found = self._numbers[key] = Number()
        return found

    def histogram(self, family: MetricFamily, *labels: str) -> Histogram:
        """Return the histogram of a family with these values of its labels."""
        key = family.name, labels
        found = self._histograms.get(key)
        if found is None:
            found = self._histograms[key] = Histogram()
        return found

    def snapshot(self) -> MetricsSnapshot:
        """Return all values as they are now."""
        # A copy is made in one step: other threads may read while the service counts.
        numbers, histograms = self._numbers.copy(), self._histograms.copy()
        return MetricsSnapshot(
            tuple(
                MetricValues(
                    family=family,
                    samples=tuple(
                        Sample(_labels(family, values), number.value)
                        for (name, values), number in numbers.items()
                        if name == family.name
                    ),
                    histograms=tuple(
                        _sample(_labels(family, values), histogram)
                        for (name, values), histogram in histograms.items()
                        if name == family.name
                    ),
                )
                for family in FAMILIES
            )
        )


def _labels(family: MetricFamily, values: tuple[str, ...]) -> dict[str, str]:
    return dict(zip(family.labels, values, strict=True))


def _sample(labels: dict[str, str], histogram: Histogram) -> HistogramSample:
    *below, count = accumulate(histogram.counts)
    return HistogramSample(labels, tuple(zip(BUCKETS, below, strict=True)), histogram.total, count)
