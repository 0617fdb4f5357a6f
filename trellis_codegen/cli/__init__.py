"""The command line of the generator: one command, one module.

Every run ends with an exit code and a sentence, never with a traceback.
"""

from __future__ import annotations

import gc
import sys
from typing import Final

from trellis_codegen.cli.exits import ExitCode

__all__ = ["main"]

_OBJECTS_PER_COLLECTION: Final = 50_000
"""Syntax trees are many objects that live long: with Python's 700, a large contract takes 7 % more processor time, and 7 MB less. No run with nothing to do reaches it."""


def main() -> None:
    """Run `trellis-gen`."""
    gc.set_threshold(_OBJECTS_PER_COLLECTION)
    try:
        from trellis_codegen.cli.guard import run_guarded  # noqa: PLC0415 - Ctrl-C during an import counts too

        sys.exit(run_guarded(_run))
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)


def _run() -> int:
    from trellis_codegen.cli.application import run_command  # noqa: PLC0415 - as in main

    return run_command(sys.argv[1:])
