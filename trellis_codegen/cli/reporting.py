"""What the generator says: problems like a compiler, one line each, on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from trellis_codegen.cli.exits import ExitCode
from trellis_codegen.problems import Problem, Severity, place

__all__ = ["ExitCode", "problem_text", "report_drift", "report_problems", "report_refusal"]


def report_problems(source: str, problems: Iterable[Problem], *, written: bool) -> None:
    """Print problems, and how many of them are errors unless the package was written all the same."""
    problems = list(problems)
    for problem in problems:
        _say(problem_text(source, problem))
    if not written:
        count = sum(problem.severity is Severity.ERROR for problem in problems)
        _say(f"{count} problem{'s' * (count != 1)}; nothing was written")


def report_drift(package: str, count: int) -> None:
    """Print how many files of a package would change, and what to do."""
    files = "1 file differs" if count == 1 else f"{count} files differ"
    _say(f"{package}: {files}; run the same command without --check to write")


def report_refusal(message: str) -> None:
    """Print why nothing could be done."""
    _say(f"error: {message}")


def problem_text(source: str, problem: Problem) -> str:
    """Return a problem as a compiler would print it: `file:line:column: error: place: what`, and a hint below."""
    where = place(problem.pointer)
    position = "" if problem.line is None else f":{problem.line}:{problem.column}"
    what = f"{where}: {problem.what}" if where else problem.what
    hint = f"\n    hint: {problem.hint}" if problem.hint else ""
    return _printable(f"{source}{position}: {problem.severity}: {what}") + _printable_lines(hint)


def _printable(text: str) -> str:
    """Spell out what could move the cursor or start a line of its own."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def _printable_lines(text: str) -> str:
    return "\n".join(_printable(line) for line in text.split("\n"))


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
