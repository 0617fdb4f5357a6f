"""Writes measurements as Prometheus reads them: the text format 0.0.4. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from trellis_nats.metrics import MetricFamily

from trellis_admin.metrics.families import FLEET_FAMILIES

__all__ = ["CONTENT_TYPE", "Measurement", "to_text"]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Measurement(NamedTuple):
    """One value of a family."""

    family: MetricFamily
    labels: tuple[str, ...]
    """In the order of the family's labels."""
    value: float


def to_text(measurements: Iterable[Measurement]) -> str:
    """Return measurements as text, by family. A family without values has none of its lines."""
    by_name: dict[str, list[Measurement]] = {}
    for measurement in measurements:
        by_name.setdefault(measurement.family.name, []).append(measurement)
    return "".join(line for family in FLEET_FAMILIES for line in _lines(family, by_name.get(family.name, [])))


def _lines(family: MetricFamily, measurements: list[Measurement]) -> Iterator[str]:
    if not measurements:
        return
    yield f"# HELP {family.name} {_escape_help(family.help)}\n"
    yield f"# TYPE {family.name} {family.kind}\n"
    for labels, value in _combine(family, measurements).items():
        pairs = zip(family.labels, labels, strict=True)
        written = ",".join(f'{name}="{_escape(text)}"' for name, text in pairs)
        yield (
            f"{family.name}{{{written}}} {_number(value)}\n"
            if written
            else f"{family.name} {_number(value)}\n"
        )


def _combine(family: MetricFamily, measurements: list[Measurement]) -> dict[tuple[str, ...], float]:
    """Return one value for each combination of labels: Prometheus refuses a second one.

    Two deployments may have a service and a queue of the same names. Numbers are added up; of durations and of what is 0 or 1,
    the largest counts.
    """
    is_largest = family.name.endswith(("_seconds", "_paused"))
    values: dict[tuple[str, ...], float] = {}
    for _, labels, value in measurements:
        known = values.get(labels)
        values[labels] = value if known is None else max(known, value) if is_largest else known + value
    return values


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(round(value, 6))


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _escape_help(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")
