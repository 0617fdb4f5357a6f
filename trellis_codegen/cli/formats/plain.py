"""Problems for people: the first line as compilers print it, then the place, then the remedy."""

from __future__ import annotations

from trellis_codegen.cli.excerpts import excerpt, printable
from trellis_codegen.cli.findings import Findings, PackageState
from trellis_codegen.problems import Problem, Severity, json_pointer, place

__all__ = ["diff_line", "drift_text", "plan_text", "problem_text"]

_POINTER_WIDTH = 160
_RESET = "\x1b[0m"
_DIFF = {"-": "\x1b[31m", "+": "\x1b[32m"}
_COLOURS = {Severity.ERROR: "\x1b[1;31m", Severity.WARNING: "\x1b[1;33m"}


def problem_text(findings: Findings, problem: Problem, *, colour: bool) -> str:
    """Return a problem: `file:line:column: error: place: what`, an excerpt, and a hint if there is one."""
    where = place(problem.pointer)
    position = "" if problem.line is None else f":{problem.line}:{problem.column}"
    what = f"{where}: {problem.what}" if where else problem.what
    severity = _painted(problem.severity, problem.severity, colour=colour)
    lines = [f"{printable(findings.file + position)}: {severity}: {printable(what)}"]
    lines += _excerpt_lines(findings, problem, colour=colour)
    if problem.hint:
        lines += [f"    hint: {printable(problem.hint)}"]
    return "\n".join(lines)


def diff_line(line: str, *, colour: bool) -> str:
    """Return a line of a unified diff, what goes in red and what comes in green; nothing in it moves the cursor."""
    shown = "".join(each if each.isprintable() or each == "\t" else printable(each) for each in line)
    paint = _DIFF.get(line[:1]) if colour and not line.startswith(("---", "+++")) else None
    return f"{paint}{shown}{_RESET}" if paint else shown


def drift_text(state: PackageState) -> str:
    """Return how many files of a package differ, which of them were edited by hand, and what to do."""
    count = len(state.changes)
    lines = [f"{state.package}: {name} was edited by hand" for name in _edited(state)]
    files = "1 file differs" if count == 1 else f"{count} files differ"
    return "\n".join([*lines, f"{state.package}: {files}; run the same command without --check to write"])


def plan_text(state: PackageState) -> str:
    """Return what a run would do, a line for each file."""
    verbs = {"missing": "write", "changed": "rewrite", "stale": "delete"}
    lines = [f"{verbs[each.change]} {printable(f'{state.folder}/{each.name}')}" for each in state.changes]
    return "\n".join(lines or [f"nothing to write in {printable(state.folder)}"])


def _edited(state: PackageState) -> list[str]:
    return [each.name for each in state.changes if each.edited]


def _excerpt_lines(findings: Findings, problem: Problem, *, colour: bool) -> list[str]:
    pointer = printable(json_pointer(problem.pointer))
    pointer = pointer if len(pointer) <= _POINTER_WIDTH else f"{pointer[: _POINTER_WIDTH - 1]}…"
    found = None
    if problem.line is not None and problem.column is not None:
        found = excerpt(findings.text, problem.line, problem.column)
    if found is None:
        return []
    margin = f"{problem.line:>5}"
    caret = _painted(found.caret.strip(), problem.severity, colour=colour)
    indent = " " * (len(found.caret) - len(found.caret.lstrip()))
    return [f"{margin} | {found.line.rstrip()}", f"{' ' * len(margin)} | {indent}{caret} {pointer}".rstrip()]


def _painted(text: str, severity: Severity, *, colour: bool) -> str:
    return f"{_COLOURS[severity]}{text}{_RESET}" if colour else text
