"""Output for people: a problem as compilers print it, and what happened to a package in one line."""

from __future__ import annotations

from collections.abc import Iterable

from trellis_codegen.cli.excerpts import cut_excerpt, escape_unprintable
from trellis_codegen.cli.findings import FileChange, Findings, PackageState
from trellis_codegen.problems import Problem, Severity, json_pointer, place

__all__ = [
    "describe_changes",
    "describe_unchecked",
    "format_diff_line",
    "format_drift",
    "format_excerpt",
    "format_plan",
    "format_problem",
    "paint",
    "summarize",
]

_POINTER_WIDTH = 160
_NAMES_SHOWN = 6
_RESET = "\x1b[0m"
_DIFF = {"-": "\x1b[31m", "+": "\x1b[32m"}
_COLOURS = {Severity.ERROR: "\x1b[1;31m", Severity.WARNING: "\x1b[1;33m"}


def format_problem(findings: Findings, problem: Problem, *, colour: bool) -> str:
    """Return a problem: `file:line:column: error[rule]: place: what`, an excerpt, and the hint if there is one."""
    where = place(problem.pointer)
    position = "" if problem.line is None else f":{problem.line}:{problem.column}"
    what = f"{where}: {problem.what}" if where else problem.what
    severity = paint(f"{problem.severity}[{problem.rule}]", problem.severity, colour=colour)
    lines = [f"{escape_unprintable(findings.file + position)}: {severity}: {escape_unprintable(what)}"]
    lines += format_excerpt(findings, problem, colour=colour)
    if problem.hint:
        lines += [f"    hint: {escape_unprintable(problem.hint)}"]
    return "\n".join(lines)


def describe_unchecked(findings: Findings) -> str:
    """Return in one line which parts of a document were not checked by the rules."""
    if () in findings.unchecked:
        return f"{escape_unprintable(findings.file)}: nothing else was checked; correct the errors above, and run the command again"
    places = [escape_unprintable(place(pointer)) for pointer in findings.unchecked]
    shown, rest = places[:_NAMES_SHOWN], len(places) - _NAMES_SHOWN
    more = f" and {rest} more" if rest > 0 else ""
    verb, whose = ("was", "its") if len(places) == 1 else ("were", "their")
    return (
        f"{escape_unprintable(findings.file)}: {', '.join(shown)}{more} {verb} not checked further, because of {whose} errors; correct "
        "them, and run the command again"
    )


def format_diff_line(line: str, *, colour: bool) -> str:
    """Return a line of a unified diff, removed lines in red and added ones in green; nothing in it moves the cursor."""
    shown = "".join(
        character if character.isprintable() or character == "\t" else escape_unprintable(character)
        for character in line
    )
    paint = _DIFF.get(line[:1]) if colour and not line.startswith(("---", "+++")) else None
    return f"{paint}{shown}{_RESET}" if paint else shown


def format_drift(state: PackageState) -> str:
    """Return how many files of a package differ, which of them were edited, and what to do."""
    folder, count = escape_unprintable(state.folder), len(state.changes)
    lines = [
        f"{folder}/{escape_unprintable(change.name)} was edited since it was generated"
        for change in state.changes
        if change.edited
    ]
    files = "1 file differs" if count == 1 else f"{count} files differ"
    return "\n".join([*lines, f"{folder}: {files}; run the same command without --check to write"])


def format_plan(state: PackageState) -> str:
    """Return what a run would do, a line for each file; empty if the package is up to date."""
    verbs = {"missing": "write", "changed": "rewrite", "stale": "delete"}
    lines = [
        f"{verbs[change.change]} {escape_unprintable(f'{state.folder}/{change.name}')}"
        for change in state.changes
    ]
    return "\n".join(lines)


def summarize(packages: Iterable[PackageState]) -> str:
    """Return in one line what a run wrote, and which packages are up to date; packages with drift are left out."""
    states = [*packages]
    written = [state for state in states if state.written]
    fresh = [state for state in states if not state.changes]
    if len(written) == 1 == len(states):
        return describe_changes(written[0])
    parts = [f"wrote {', '.join(_count_files(state) for state in written)}"] if written else []
    if len(fresh) == 1:
        parts += [f"{escape_unprintable(fresh[0].folder)} is up to date"]
    elif fresh:
        parts += [f"{len(fresh)} packages are up to date"]
    return "; ".join(parts)


def describe_changes(state: PackageState) -> str:
    """Return what was done to a package, with the names of the first files."""
    folder = escape_unprintable(state.folder)
    if not state.changes:
        return f"{folder} is up to date"
    deleted = [change for change in state.changes if change.change == "stale"]
    others = [change for change in state.changes if change.change != "stale"]
    written = [change for change in others if not change.name.startswith(".")] or others
    parts = [f"wrote {_list_names(written)}"] if written else []
    parts += [f"deleted {_list_names(deleted)}"] if deleted else []
    return f"{' and '.join(parts)} in {folder}"


def _count_files(state: PackageState) -> str:
    count = len(state.changes)
    return f"{count} file{'s' * (count != 1)} in {escape_unprintable(state.folder)}"


def _list_names(changes: list[FileChange]) -> str:
    names = [escape_unprintable(change.name) for change in changes]
    rest = len(names) - _NAMES_SHOWN
    return ", ".join(names) if rest <= 0 else f"{', '.join(names[:_NAMES_SHOWN])} and {rest} more"


def format_excerpt(findings: Findings, problem: Problem, *, colour: bool) -> list[str]:
    """Return the line of a problem, and a caret with its pointer below it; nothing without a position."""
    pointer = escape_unprintable(json_pointer(problem.pointer))
    pointer = pointer if len(pointer) <= _POINTER_WIDTH else f"{pointer[: _POINTER_WIDTH - 1]}…"
    found = None
    if problem.line is not None and problem.column is not None:
        found = cut_excerpt(findings.text, problem.line, problem.column)
    if found is None:
        return []
    margin = f"{problem.line:>5}"
    caret = paint(found.caret.strip(), problem.severity, colour=colour)
    indent = " " * (len(found.caret) - len(found.caret.lstrip()))
    return [f"{margin} | {found.line.rstrip()}", f"{' ' * len(margin)} | {indent}{caret} {pointer}".rstrip()]


def paint(text: str, severity: Severity, *, colour: bool) -> str:
    """Return a text in the colour of a severity."""
    return f"{_COLOURS[severity]}{text}{_RESET}" if colour else text
