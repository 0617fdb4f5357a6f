"""The exit codes of `trellis`."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["ExitCode"]


class ExitCode(IntEnum):
    """How a command ended."""

    OK = 0
    """Nothing is left to do, or to be said against a contract."""
    LEFT = 1
    """`plan`: something differs, or a removed queue holds jobs. `apply`: something could not be applied. `audit`: the contract refuses something that is stored, or lacks a queue that holds jobs. `doctor`: something is wrong. `jobs watch`: the job did not complete."""
    USAGE = 2
    """An argument or an option is wrong, or a package cannot be read."""
    SERVER = 3
    """The server cannot be reached, or refuses what the command needs."""
    INVALID = 3
    """A manifest has errors: as for SERVER, the question could not be answered."""
    NOT_FOUND = 4
    """There is no such job, key, bulk action or caller."""
    REFUSED = 5
    """An action was not done: another writer was first, the state does not allow it, or it was not confirmed."""
    INTERRUPTED = 130
    """Ctrl-C."""
    CLOSED_PIPE = 141
    """The reader of the output went away, as `head` does: as other programs end on SIGPIPE."""
