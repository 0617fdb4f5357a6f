"""What a service has counted, as programs read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trellis_nats.metrics.families import MetricFamily

__all__ = ["HistogramSample", "MetricValues", "MetricsSnapshot", "Sample"]


@dataclass(frozen=True, slots=True)
class Sample:
    """The value of a counter or gauge for one combination of labels."""

    labels: Mapping[str, str]
    value: int


@dataclass(frozen=True, slots=True)
class HistogramSample:
    """The values of a histogram for one combination of labels."""

    labels: Mapping[str, str]
    buckets: tuple[tuple[float, int], ...]
    """Upper bounds in seconds, each with how many values are at most as large."""
    sum: float
    """The sum of all values, in seconds."""
    count: int
    """How many values there are."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricValues:
    """A family with its values. A combination of labels that never occurred has none."""

    family: MetricFamily
    samples: tuple[Sample, ...] = ()
    """Of a counter or gauge."""
    histograms: tuple[HistogramSample, ...] = ()
    """Of a histogram."""


@dataclass(frozen=True, slots=True)
class MetricsSnapshot:
    """What a service has counted since it was created, in this process."""

    values: tuple[MetricValues, ...]
    """One for each family, in the order of `FAMILIES`."""

    def value(self, name: str, **labels: str) -> int:
        """Return the sum of a counter or gauge over all samples that have these labels; of a histogram, how many values it has.

        Raises:
            KeyError: there is no family of this name, or it does not have one of the labels.
        """
        found = next((each for each in self.values if each.family.name == name), None)
        if found is None:
            raise KeyError(f"there is no metric {name}; trellis_nats.metrics.FAMILIES has all of them")
        if unknown := labels.keys() - {*found.family.labels}:
            raise KeyError(
                f"{name} has the labels {', '.join(found.family.labels)}, not {', '.join(sorted(unknown))}"
            )
        numbers = sum(sample.value for sample in found.samples if labels.items() <= sample.labels.items())
        return numbers + sum(
            sample.count for sample in found.histograms if labels.items() <= sample.labels.items()
        )
