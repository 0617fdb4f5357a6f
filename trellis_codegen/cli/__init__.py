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
        from trellis_codegen.cli.guard import guarded  # noqa: PLC0415 - Ctrl-C while we load is Ctrl-C too

        sys.exit(guarded(_run))
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)


def _run() -> object:
    from trellis_codegen.cli.requests import plain_request  # noqa: PLC0415 - as in main

    request = plain_request(sys.argv[1:])
    if request is not None:
        from trellis_codegen.cli.facade import run  # noqa: PLC0415 - as in main

        return run(request)
    from trellis_codegen.cli.application import application  # noqa: PLC0415 - typer is slow to load

    return application()
