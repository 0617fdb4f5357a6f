"""The last gate of every Python file: laid out by black, and parsed back."""

from __future__ import annotations

import ast
import multiprocessing
import os
import signal
import sys
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from typing import Final

from black import format_str
from black.mode import Mode, TargetVersion
from black.parsing import InvalidInput

__all__ = ["format_file", "format_files"]

_MODE = Mode(target_versions={TargetVersion.PY311}, line_length=110)
_MANY_CHARACTERS: Final = 60_000
"""From here on several processes are quicker: black takes about a second for so much, starting them a few hundredths."""
_PROCESSES_MAX: Final = 4


def format_files(files: Mapping[str, str]) -> dict[str, str]:
    """Return every file laid out; large packages on several processors. The result is the same.

    Raises:
        RuntimeError: as `formatted`.
    """
    processes = min(os.cpu_count() or 1, _PROCESSES_MAX)
    large = sum(map(len, files.values())) >= _MANY_CHARACTERS
    # A fork starts with black already loaded; elsewhere than on Linux it is not safe, and a spawn not quick.
    if not large or processes == 1 or sys.platform != "linux":
        return {name: format_file(name, text) for name, text in files.items()}
    with ProcessPoolExecutor(
        processes, mp_context=multiprocessing.get_context("fork"), initializer=_leave_signals_to_the_parent
    ) as pool:
        chunk = max(1, len(files) // (processes * 4))
        return dict(zip(files, pool.map(format_file, files, files.values(), chunksize=chunk), strict=True))


def format_file(name: str, text: str) -> str:
    """Return the text of the file `name`, laid out.

    Raises:
        RuntimeError: it is not Python; a bug of the templates, never the contract's fault.
    """
    try:
        result = format_str(text, mode=_MODE)
        ast.parse(result, filename=name)
    except (InvalidInput, SyntaxError) as error:
        raise RuntimeError(f"{name} would not be Python: {error}\n{text}") from error
    return result


def _leave_signals_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
