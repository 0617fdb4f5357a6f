"""Turns every way in which a run can end into an exit code and a sentence."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path

from trellis_codegen.cli.exits import ExitCode

__all__ = ["run_guarded"]

_OUR_FOLDER = Path(__file__).parent.parent


def run_guarded(run: Callable[[], object]) -> int:
    """Run a command and return its exit code: the one it returned, or the one for the error that ended it."""
    _prepare_streams()
    try:
        code = _run_for_code(run)
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        _discard_output()
        return ExitCode.BROKEN_PIPE
    except OSError as error:
        return _fail(ExitCode.REFUSED, error.strerror or str(error), error.filename)
    return code


def _run_for_code(run: Callable[[], object]) -> int:
    try:
        code = run()
    except SystemExit as end:
        code = end.code
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001 - a bug is reported in a sentence too
        return _fail(ExitCode.INTERNAL_ERROR, _describe_bug(error), None)
    return code if isinstance(code, int) else ExitCode.OK


def _prepare_streams() -> None:
    """Make writing text to stdout and stderr safe: against characters they lack, and against closed streams."""
    for name in ("stdout", "stderr"):
        stream: object = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - open as long as we run
        elif isinstance(stream, io.TextIOWrapper):
            # A terminal that cannot show a character gets its escape, not a traceback.
            stream.reconfigure(errors="backslashreplace")


def _describe_bug(error: Exception) -> str:
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
    return f"{type(error).__name__}{place}: {what}; this is a bug in trellis-gen; please report it with the contract"


def _fail(code: ExitCode, what: str, filename: object) -> ExitCode:
    where = f"{filename}: " if filename else ""
    if code is ExitCode.REFUSED:
        what = what.lower()
    try:
        sys.stderr.write(f"error: {where}{what}\n")
        sys.stderr.flush()
        sys.stdout.flush()
    except OSError:
        _discard_output()
    return code


def _discard_output() -> None:
    """Discard what is still buffered, so that the interpreter does not fail to write it at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
