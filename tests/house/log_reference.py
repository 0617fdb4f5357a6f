"""Writes docs/reference/logs.md from the sources: `python -m tests.house.log_reference`, part of `make generate`.

The events and their meaning come from `LogEvent`, levels and fields from the calls that log them.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Final

from trellis_nats._support import log_events
from trellis_nats._support.log_events import LogEvent

from tests.house.sources import ROOT

__all__ = ["PAGE", "log_calls", "members", "reference_page", "sources"]

PAGE: Final = ROOT / "docs/reference/logs.md"
PACKAGES: Final = (ROOT / "runtime/trellis_nats", ROOT / "admin/trellis_admin")
"""Those that log these events."""

_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_VARIABLE: Final = ""
"""Stands for the events of a call that gets its event from a variable: those that its module names elsewhere."""
_METHODS: Final = {**{level.lower(): level for level in _LEVELS}, "exception": "ERROR"}
_OF_VARIABLES: Final = {"CONSUMER_READY": {"INFO", "DEBUG"}, "CONSUMER_STOPPED": {"INFO", "DEBUG"}}
"""The levels of events whose call has both, event and level, from variables; of the others there it is WARNING."""
_INTRODUCTION: Final = """\
# Log events

The runtime logs with the standard library's `logging`, to loggers below `trellis_nats`. Every record has an `event_name` and
the fields that are known, as attributes of the record (`extra=`), so that structlog and JSON formatters receive them. The texts
may change between releases; the names below and the fields do not. The [guide](../guides/health.md#the-log) says which events
matter for a worker. In a test, `trellis_nats.testing.LogSignals` waits for an event. `make generate` writes this page from the
code.

What happens to every message while something fails is logged at most once per second and kind; the records in between are at
DEBUG.

"""


@dataclass(slots=True)
class _Uses:
    levels: set[str] = field(default_factory=set[str])
    fields: set[str] = field(default_factory=set[str])


def sources() -> list[Path]:
    """Return the modules that may log."""
    return sorted(path for package in PACKAGES for path in package.rglob("*.py"))


def members() -> dict[str, tuple[str, str]]:
    """Return the section and the meaning of each event, in the order of `LogEvent`."""
    source = Path(log_events.__file__).read_text(encoding="utf-8")
    lines = source.splitlines()
    body = next(
        node.body
        for node in ast.parse(source).body
        if isinstance(node, ast.ClassDef) and node.name == "LogEvent"
    )
    found: dict[str, tuple[str, str]] = {}
    for assignment, text in pairwise(body):
        match assignment, text:
            case ast.Assign(targets=[ast.Name(id=name)]), ast.Expr(value=ast.Constant(value=str(meaning))):
                above = [line for line in lines[: assignment.lineno] if line.strip().startswith("# ---")]
                found[name] = (above[-1].strip("# -"), " ".join(meaning.split()))
            case _:
                pass
    return found


def log_calls(tree: ast.AST) -> Iterator[ast.Call]:
    """Yield the calls that log something: by a logger, by a throttle, or with a bounded traceback."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        match node.func:
            case ast.Attribute(attr="write", value=owner):
                if "throttle" in ast.unparse(owner):
                    yield node
            case ast.Attribute(attr=method, value=owner) if method in _METHODS or method == "log":
                if ast.unparse(owner).rpartition(".")[2] in {"_log", "log", "_logger", "logger"}:
                    yield node
            case ast.Name(id="log_exception"):
                yield node
            case _:
                pass


def reference_page() -> str:
    """Return the text of the page."""
    uses = _uses()
    lines: list[str] = []
    section = ""
    for name, (where, meaning) in members().items():
        if where != section:
            section = where
            lines += (
                ["", f"## {section[0].upper()}{section[1:]}", ""]
                if lines
                else [f"## {section[0].upper()}{section[1:]}", ""]
            )
            lines += ["| event | level | fields | meaning |", "|---|---|---|---|"]
        use = uses[name]
        levels = ", ".join(level for level in _LEVELS if level in use.levels)
        fields = ", ".join(f"`{each}`" for each in _field_order() if each in use.fields)
        lines.append(f"| `{LogEvent[name]}` | {levels} | {fields} | {meaning} |")
    return _INTRODUCTION + "\n".join(lines) + "\n\n" + _fields_table()


def _uses() -> defaultdict[str, _Uses]:
    uses: defaultdict[str, _Uses] = defaultdict(_Uses)
    for path in sources():
        text = path.read_text(encoding="utf-8")
        if "LogEvent" not in text:
            continue
        tree = ast.parse(text)
        helpers = _helpers(tree)
        own: defaultdict[str, _Uses] = defaultdict(_Uses)
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                _collect(function, helpers, own)
        variable = own.pop(_VARIABLE, _Uses())
        for event in _events_in(tree):
            use = own.get(event, variable)
            uses[event].levels |= use.levels if use is not variable else _OF_VARIABLES.get(event, {"WARNING"})
            uses[event].fields |= use.fields
    return uses


def _collect(
    function: ast.FunctionDef | ast.AsyncFunctionDef, helpers: Mapping[str, set[str]], uses: dict[str, _Uses]
) -> None:
    """Note the levels and fields of the events that a function logs."""
    assigned = sorted(
        (
            (node.lineno, target.id, node.value)
            for node in ast.walk(function)
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        ),
        key=lambda assignment: assignment[0],
    )
    for call in log_calls(function):
        extra = next((keyword.value for keyword in call.keywords if keyword.arg == "extra"), None)
        if isinstance(extra, ast.Name):
            before = [value for line, name, value in assigned if name == extra.id and line < call.lineno]
            extra = before[-1] if before else None
        if extra is None:
            continue
        fields, levels = _fields_of(extra, helpers), _levels_of(call) or _levels_in(function)
        for event in _events_in(extra) or {_VARIABLE}:
            uses[event].levels |= levels
            uses[event].fields |= fields


def _helpers(tree: ast.AST) -> dict[str, set[str]]:
    """Return the fields that a module's own functions pass to `log_fields`, by the function's name."""
    return {
        function.name: _fields_of(function, {})
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef) and "log_fields(" in ast.unparse(function)
    }


def _fields_of(tree: ast.AST, helpers: Mapping[str, set[str]]) -> set[str]:
    found: set[str] = set()
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call):
            continue
        name = ast.unparse(call.func).rpartition(".")[2]
        if name == "log_fields":
            found |= {keyword.arg for keyword in call.keywords if keyword.arg}
        else:
            found |= helpers.get(name, set())
    return found


def _events_in(tree: ast.AST) -> set[str]:
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "LogEvent"
    }


def _levels_of(call: ast.Call) -> set[str]:
    """Return the levels that a call may log at; none if a variable holds the level."""
    if isinstance(call.func, ast.Attribute) and call.func.attr in _METHODS:
        return {_METHODS[call.func.attr]}
    return {level for argument in call.args[:2] for level in _levels_in(argument)}


def _levels_in(tree: ast.AST) -> set[str]:
    return {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr in _LEVELS}


def _field_order() -> list[str]:
    return [name for name in log_events.log_fields.__annotations__ if name not in {"event", "return"}]


def _fields_table() -> str:
    text = log_events.log_fields.__doc__ or ""
    entries = text.partition("Args:")[2].strip().splitlines()
    rows = [line.strip().partition(": ") for line in entries]
    lines = [f"| `{name}` | {meaning.rstrip('.')} |" for name, _, meaning in rows if name != "event"]
    head = ["## Fields", "", "| field | value |", "|---|---|", "| `event_name` | what the record reports |"]
    return "\n".join([*head, *lines]) + "\n"


if __name__ == "__main__":
    PAGE.write_text(reference_page(), encoding="utf-8")
