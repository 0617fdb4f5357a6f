"""The command line of the generator: one verb, one module.

Whatever happens, a run ends with an exit code and a sentence, never with a traceback.
"""

from __future__ import annotations

import sys

from trellis_codegen.cli.exits import ExitCode

__all__ = ["main"]


def main() -> None:
    """Run `trellis-gen`."""
    try:
        from trellis_codegen.cli import guard  # noqa: PLC0415 - Ctrl-C while typer loads is Ctrl-C too
        from trellis_codegen.cli.application import application  # noqa: PLC0415 - likewise

        sys.exit(guard.guarded(application))
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
