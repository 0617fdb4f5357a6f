"""Turns whatever can end a run into an exit code and a sentence."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path

from trellis_codegen.cli.exits import ExitCode

__all__ = ["guarded"]

_OUR_FOLDER = Path(__file__).parent.parent


def guarded(run: Callable[[], object]) -> int:
    """Run a command, and return its exit code: what it returned, or how it came to end."""
    _prepare_streams()
    try:
        code = _code_of(run)
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        _silence()
        return ExitCode.UNHEARD
    except OSError as error:
        return _give_up(ExitCode.REFUSED, error.strerror or str(error), error.filename)
    return code


def _code_of(run: Callable[[], object]) -> int:
    try:
        code = run()
    except SystemExit as end:
        code = end.code
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001 - the last line of defence: a bug is reported in a sentence
        return _give_up(ExitCode.BROKEN, _bug(error), None)
    return code if isinstance(code, int) else ExitCode.FINE


def _prepare_streams() -> None:
    """Make both streams such that writing text to them can't fail for a letter, or for their having been closed."""
    for name in ("stdout", "stderr"):
        stream: object = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - open as long as we run
        elif isinstance(stream, io.TextIOWrapper):
            # A terminal that lacks a letter gets its code, not a traceback.
            stream.reconfigure(errors="backslashreplace")


def _bug(error: Exception) -> str:
    import traceback  # noqa: PLC0415 - 10 ms that only a bug needs

    places = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).is_relative_to(_OUR_FOLDER)
    ]
    place = ""
    if places:
        name = Path(places[-1].filename).relative_to(_OUR_FOLDER).as_posix()
        place = f" in {name}:{places[-1].lineno}"
    what = " ".join(str(error).split())[:200]
    return f"{type(error).__name__}{place}: {what}; this is a bug of trellis-gen: please report it with the contract"


def _give_up(code: ExitCode, what: str, filename: object) -> ExitCode:
    where = f"{filename}: " if filename else ""
    if code is ExitCode.REFUSED:
        what = what.lower()
    try:
        sys.stderr.write(f"error: {where}{what}\n")
        sys.stderr.flush()
        sys.stdout.flush()
    except OSError:
        _silence()
    return code


def _silence() -> None:
    """Send what is still buffered nowhere, so that the interpreter has nothing to complain about when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
