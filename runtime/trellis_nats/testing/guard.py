"""Ends a child process when this process dies, even by SIGKILL."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

__all__ = ["Guard"]

_SCRIPT: Final = 'read -r _; kill -9 "$1" 2>/dev/null; rm -rf "$2"'
"""Reads from a pipe whose only writer is this process: end of file means that this process is gone."""


class Guard:
    """A shell that waits for this process to die, then kills another process and removes its directory."""

    def __init__(self, pid: int, directory: Path) -> None:
        self._shell = subprocess.Popen(  # noqa: S603 - a fixed script
            ["/bin/sh", "-c", _SCRIPT, "guard", str(pid), str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def dismiss(self) -> None:
        """End the shell without any effect."""
        self._shell.kill()
        self._shell.wait()
        if self._shell.stdin is not None:
            self._shell.stdin.close()
