"""The command line: `python -m trellis_nats.run MODULE:FUNCTION --processes N`.

The group starts each of its processes with its own command line, so that they have the same interpreter options, and an
environment variable that makes them one of the group.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import re
import sys
import threading
from typing import Final

from trellis_nats._support.process_group import is_in_group
from trellis_nats.run.group import ProcessGroup
from trellis_nats.run.one_process import run_target
from trellis_nats.run.process_slot import LINK

__all__ = ["main"]

_TARGET: Final = re.compile(r"[^\s:/]+(?<!\.py):[^\s:/]+")
"""The name of a module, not of its file, and that of a function."""
_EPILOG: Final = """\
The module is found as by `python -m`: in the current folder, or installed. The function takes no arguments, and runs until a
signal, as `service.run()` does; an `async def` runs on an event loop. Each process has its number, from 1, in the environment variable TRELLIS_PROCESS.

SIGTERM and SIGINT go to all processes, which end as `service.run()` does; a second one ends their grace periods, a third
one kills them. Options.health_listen is the address of the whole group. A process that ends is started again.

Exit codes: 0 stopped by a signal; 1 a process did not end well after it, or the group could not run; 2 the command line is
wrong, or names no function that can run."""


def main() -> None:
    """Run the group, or one process of it."""
    parser = argparse.ArgumentParser(
        prog="python -m trellis_nats.run",
        description="Run a service in several processes on this machine.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("target", metavar="MODULE:FUNCTION", help="what each process calls")
    parser.add_argument("--processes", type=int, required=True, metavar="N", help="how many processes")
    parser.add_argument(
        "--kill-after",
        type=float,
        metavar="SECONDS",
        help="kill processes that still run so long after the first signal; longer than Options.shutdown_grace (default: never)",
    )
    arguments = parser.parse_args()
    module, _, function = arguments.target.partition(":")
    if not _TARGET.fullmatch(arguments.target):
        parser.error(f'"{arguments.target}" is not MODULE:FUNCTION, as in main:main')
    if arguments.processes < 1:
        parser.error(f"--processes must be at least 1, got {arguments.processes}")
    if arguments.kill_after is not None and not 0 < arguments.kill_after <= threading.TIMEOUT_MAX:
        most = f"{threading.TIMEOUT_MAX:g}"
        parser.error(f"--kill-after must be more than 0 and at most {most}, got {arguments.kill_after:g}")
    if is_in_group():
        parser.error(f"{arguments.target} is this command itself, not the function of a program")
    link = os.environ.pop(LINK, None)
    if link is not None:
        run_target(module, function, link=int(link), kill_after=arguments.kill_after)
        return
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    command = (sys.executable, *sys.orig_argv[1:])
    group = ProcessGroup(command, arguments.processes, kill_after=arguments.kill_after)
    sys.exit(asyncio.run(group.run()))


if __name__ == "__main__":
    main()
