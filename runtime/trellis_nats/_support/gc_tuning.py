"""Python's garbage collector, set by a program that asks for it."""

from __future__ import annotations

import gc

__all__ = ["tune_gc"]


def tune_gc(*, freeze: bool, threshold: int | None) -> None:
    """Set the collector of this process.

    Args:
        freeze: collect once, and from then on leave out every object that exists now.
        threshold: how many more objects are created than freed before the collector runs; None: leave it.
    """
    if threshold is not None:
        gc.set_threshold(threshold, *gc.get_threshold()[1:])
    if freeze:
        gc.collect()
        gc.freeze()
