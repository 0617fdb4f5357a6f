"""The last step for every Python file: black formats it, and it is parsed once more."""

from __future__ import annotations

import ast
import gc
import multiprocessing
import os
import re
import signal
import sys
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from typing import Final

from black import format_str
from black.mode import Mode, TargetVersion
from black.parsing import InvalidInput

from trellis_codegen.render.filters import LINE_LENGTH

__all__ = ["format_file", "format_files"]

_MODE = Mode(target_versions={TargetVersion.PY311}, line_length=LINE_LENGTH)
_MANY_CHARACTERS: Final = 60_000
"""With more, several processes are faster: black takes about a second for this much, starting processes a few hundredths."""
_PROCESSES_MAX: Final = 4
_ITEM = r"""(?:"[^"\\\n]*"|-?[0-9]+(?:\.[0-9]+)?|None|True|False)"""
_LONG_LIST: Final = re.compile(rf"(?<=[\[(]){_ITEM}(?:, {_ITEM}){{200,}},?(?=[\])])")
"""The constants of a large enumeration; black takes seconds for some thousands of them."""
_ITEMS: Final = re.compile(_ITEM)


def format_files(files: Mapping[str, str]) -> dict[str, str]:
    """Return every file formatted; large packages use several processes, with the same result.

    Raises:
        RuntimeError: as `formatted`.
    """
    processes = min(os.cpu_count() or 1, _PROCESSES_MAX)
    large = sum(map(len, files.values())) >= _MANY_CHARACTERS
    # A fork starts with black already loaded. It is not safe outside Linux, and spawning is slow.
    if not large or processes == 1 or sys.platform != "linux":
        return {name: format_file(name, text) for name, text in files.items()}
    with ProcessPoolExecutor(
        processes, mp_context=multiprocessing.get_context("fork"), initializer=_prepare_process
    ) as pool:
        chunk = max(1, len(files) // (processes * 4))
        return dict(zip(files, pool.map(format_file, files, files.values(), chunksize=chunk), strict=True))


def format_file(name: str, text: str) -> str:
    """Return the text of the file `name`, formatted.

    Raises:
        RuntimeError: it is not Python; a bug of the templates, not of the contract.
    """
    try:
        result = _format_long_lists(text) or format_str(text, mode=_MODE)
        ast.parse(result, filename=name)
    except (InvalidInput, SyntaxError) as error:
        raise RuntimeError(f"{name} would not be Python: {error}\n{text}") from error
    return result


def _format_long_lists(text: str) -> str | None:
    """Return a text with long lists of constants, formatted: black sees two names in place of each.

    None if the text has no such list, or has one where black would not write each constant on a line of its own.
    """
    lists = _LONG_LIST.findall(text)
    if not lists:
        return None
    numbers = iter(range(len(lists)))
    result = format_str(
        _LONG_LIST.sub(lambda _: f"_long_list, _long_list_{next(numbers)},", text), mode=_MODE
    )
    for number, items in enumerate(lists):
        place = re.compile(rf"^( *)_long_list,\n *_long_list_{number},$", re.MULTILINE)
        if (found := place.search(result)) is None:
            return None
        lines = "\n".join(f"{found[1]}{item}," for item in _ITEMS.findall(items))
        result = result[: found.start()] + lines + result[found.end() :]
    return result


def _prepare_process() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends the run
    gc.freeze()  # a collection would visit, and so copy, all that the parent has
