"""Charts as SVG, made on the server. Pure: numbers in, mark-up out, no style attribute, no script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Final

from markupsafe import Markup

__all__ = ["Share", "area_paths", "bars", "meter", "nice_ceiling", "plot_area", "sparkline", "time_labels"]

_STEPS: Final = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10)
WIDTH: Final = 600
"""The width of a plot's view box. It is stretched to its place; strokes are not."""


@dataclass(frozen=True, slots=True)
class Share:
    """A part of a meter."""

    style: str
    """The class that gives its colour: `active`, `completed`, `retry`, `dead`, `stale`, `idle`."""
    amount: float


def nice_ceiling(value: float, *, parts: int = 1) -> int:
    """Return a round number that is not below a value, for the top of an axis that is divided into equal whole parts."""
    if value <= parts:
        return parts
    power = 10 ** (len(str(int(value))) - 1)
    return next(int(step * power) for step in _STEPS if step * power >= value and (step * power) % parts == 0)


def meter(shares: Sequence[Share], whole: float, label: str, style: str = "") -> Markup:
    """Return a bar that shares fill from the left."""
    rects: list[Markup] = []
    position = 0.0
    for share in shares:
        width = min(100 * share.amount / whole, 100 - position) if whole else 0.0
        rects.append(
            Markup('<rect class="{}" x="{:.2f}%" width="{:.2f}%" height="100%"/>').format(
                share.style, position, width
            )
        )
        position += width
    return Markup('<svg class="{}" role="img" aria-label="{}">{}</svg>').format(
        f"meter {style}".strip(), label, Markup("").join(rects)
    )


def sparkline(values: Sequence[float], label: str, style: str = "", *, is_bleeding: bool = False) -> Markup:
    """Return a small line without axes; a bleeding one fills the foot of its panel and has no dot at its end."""
    width, base, top = (200.0, 26.0, 3.0) if is_bleeding else (100.0, 22.0, 2.0)
    points = _points(values or [0, 0], width, base, top, max(values, default=0))
    line = _path(points)
    area = f"{line} L{width:g} {base:g} L0 {base:g} Z"
    classes = f"spark {'bleed ' if is_bleeding else ''}{style}".strip()
    stretched = Markup(' preserveAspectRatio="none"') if is_bleeding else ""
    box = "0 0 200 26" if is_bleeding else "0 0 104 24"
    x, y = points[-1]
    dot = (
        Markup("")
        if is_bleeding
        else Markup('<circle class="dot" cx="{:.1f}" cy="{:.1f}" r="2"/>').format(x, y)
    )
    return Markup(
        '<svg class="{}" viewBox="{}"{} role="img" aria-label="{}"><path class="area" d="{}"/><path class="line" d="{}"/>'
        "{}</svg>"
    ).format(classes, box, stretched, label, area, line, dot)


def plot_area(
    values: Sequence[float],
    ceiling: float,
    height: int,
    label: str,
    style: str = "",
    extra: Markup | None = None,
) -> Markup:
    """Return a filled line over a grid of two lines; `extra` lies between its area and its line."""
    grid = f"M0 0H{WIDTH}M0 {height // 2}H{WIDTH}"
    area, line = area_paths(values, ceiling, height)
    suffix = f" {style}" if style else ""
    return Markup(
        '<svg viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}"><path class="grid" d="{}"/>'
        '<path class="area{}" d="{}"/>{}<path class="line{}" d="{}"/><path class="base" d="M0 {}H{}"/></svg>'
    ).format(
        WIDTH, height, label, grid, suffix, area, extra or "", suffix, line, height, WIDTH,
    )  # fmt: skip


def area_paths(values: Sequence[float], ceiling: float, height: int) -> tuple[str, str]:
    """Return the path of the area below the values and the path of their line."""
    line = _path(_points(values or [0, 0], WIDTH, height, 0, ceiling))
    return f"{line} L{WIDTH} {height} L0 {height} Z", line


def bars(
    lower: Sequence[float],
    upper: Sequence[float],
    ceiling: float,
    height: int,
    label: str,
    *,
    upper_style: str = "bar-retry",
) -> Markup:
    """Return stacked bars, one for each step: what died below, attempts that failed above, or what ended well."""
    step = WIDTH / max(len(lower), 1)
    rects: list[Markup] = []
    for index, (dead, rest) in enumerate(zip(lower, upper, strict=True)):
        x, width = index * step + step * 0.15, step * 0.7
        low, high = height * dead / ceiling, height * rest / ceiling
        for style, top, size in (("bar-dead", height - low, low), (upper_style, height - low - high, high)):
            if size > 0:
                rects.append(
                    Markup('<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
                        style, x, top, width, size
                    )
                )
    return Markup(
        '<svg class="low" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}"><path class="grid" '
        'd="M0 0H{}"/>{}<path class="base" d="M0 {}H{}"/></svg>'
    ).format(WIDTH, height, label, WIDTH, Markup("").join(rects), height, WIDTH)


def time_labels(start: datetime, end: datetime, count: int, *, seconds: bool = False) -> list[str]:
    """Return labels for the foot of a plot, evenly from its start to its end."""
    shape = "%H:%M:%S" if seconds else "%H:%M"
    step = (end - start) / (count - 1)
    return [format(start + step * index, shape) for index in range(count)]


def _points(
    values: Sequence[float], width: float, base: float, top: float, ceiling: float
) -> list[tuple[float, float]]:
    shown = list(values) if len(values) > 1 else [*values, *values]
    step = width / (len(shown) - 1)
    scale = (base - top) / ceiling if ceiling > 0 else 0.0
    return [(index * step, base - min(value, ceiling) * scale) for index, value in enumerate(shown)]


def _path(points: Sequence[tuple[float, float]]) -> str:
    first, *_ = points
    rest = (f"L{x:.1f} {y:.1f}" for _, (x, y) in pairwise(points))
    return " ".join([f"M{first[0]:.1f} {first[1]:.1f}", *rest])
