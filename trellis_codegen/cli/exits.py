"""How a run ended, for scripts."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["ExitCode"]


class ExitCode(IntEnum):
    """How a run ended."""

    FINE = 0
    DRIFT = 1
    """`--check` found a difference."""
    USAGE = 2
    """The command line or the configuration names something that is not there."""
    INVALID = 3
    """The contract has errors."""
    REFUSED = 5
    """The output can't be written, or must not be."""
    BROKEN = 70
    """A bug of ours."""
    INTERRUPTED = 130
    """Ctrl-C."""
    UNHEARD = 141
    """Whoever read our output has gone, as in `trellis-gen … | head -1`."""
