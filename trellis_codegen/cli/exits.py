"""The exit codes, for scripts."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["ExitCode"]


class ExitCode(IntEnum):
    """How a run ended. Of several contracts, the greatest code decides."""

    OK = 0
    DRIFT = 1
    """`--check` found a difference, or `breaking` a change that breaks."""
    USAGE = 2
    """The command line or the configuration is wrong, or a file that it names cannot be read."""
    INVALID = 3
    """The contract has errors."""
    REFUSED = 5
    """The output cannot be written, or must not be overwritten."""
    INTERNAL_ERROR = 70
    """A bug in trellis-gen."""
    INTERRUPTED = 130
    """Ctrl-C."""
    BROKEN_PIPE = 141
    """The reader of the output closed it, as in `trellis-gen … | head -1`."""
