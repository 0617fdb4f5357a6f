"""The command line and the Python interface for operators of Trellis services."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trellis_admin.operator import Operator, connect

__all__ = ["Operator", "connect"]


def __getattr__(name: str) -> object:
    """Import what operators use when it is used: a command's `--help` needs none of it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from trellis_admin import operator  # noqa: PLC0415 - see above

    return getattr(operator, name)
