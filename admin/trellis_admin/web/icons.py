"""The icons, and the sprite of a page: only what the page uses."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import Final

from markupsafe import Markup

__all__ = ["draw_icon", "draw_sprite"]

_SYMBOL: Final = re.compile(r'<symbol id="i-([\w-]+)".*</symbol>')
_PATTERNS: Final = (
    '<defs><pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<line class="hatch-line" x1="0" y1="0" x2="0" y2="6"/></pattern>'
    '<pattern id="hatch-stale" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<line class="hatch-stale-line" x1="0" y1="0" x2="0" y2="5"/></pattern></defs>'
)
"""The hatchings of charts; a fill finds them only in the page itself."""


@cache
def _symbols() -> dict[str, str]:
    text = (files("trellis_admin.web") / "icons.svg").read_text("utf-8")
    return {found[1]: found[0] for found in _SYMBOL.finditer(text)}


def draw_icon(name: str, style: str = "", label: str = "") -> Markup:
    """Return an icon of the sprite.

    Args:
        name: its name without `i-`.
        style: classes in addition to `i`.
        label: what it means, where no word next to it says so.

    Raises:
        KeyError: there is no such icon.
    """
    if name not in _symbols():
        raise KeyError(f"there is no icon {name}")
    classes = f"i {style}".strip()
    meaning = Markup('role="img" aria-label="{}"').format(label) if label else Markup('aria-hidden="true"')
    return Markup('<svg class="{}" {}><use href="#i-{}"/></svg>').format(classes, meaning, name)


def draw_sprite(names: Iterable[str]) -> Markup:
    """Return the hidden element that holds the icons with these names."""
    symbols = "".join(_symbols()[name] for name in sorted(set(names)))
    return Markup('<svg class="sprite" aria-hidden="true" focusable="false">{}{}</svg>').format(
        Markup(symbols),  # noqa: S704 - our own file
        Markup(_PATTERNS),  # noqa: S704 - likewise
    )
