"""`[tool.trellis-gen.validate]`: the warnings that a project accepts, each with a reason. Errors cannot be ignored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from typing import Final, NamedTuple

from trellis_codegen.cli.comparing.settings import is_list, is_table, read_date
from trellis_codegen.cli.findings import Findings
from trellis_codegen.contract.fingerprint import summarize_manifest
from trellis_codegen.problems import Pointer, Problem, Severity, did_you_mean, json_pointer
from trellis_codegen.rule_ids import Rule

__all__ = ["WarningIgnore", "WarningIgnores", "find_ignore_problems", "make_ignores"]

_TEXTS: Final = ("rule", "where", "reason")
_SHORTEST_REASON: Final = 10


class WarningIgnore(NamedTuple):
    """One entry."""

    place: Pointer
    """Where it stands in pyproject.toml."""
    rule: str
    where: str | None
    """The id of a contract if it is meant for that one alone, then a JSON pointer: it counts there and inside. None: everywhere."""
    until: date | None
    """The last day. None: no last day."""

    def matches(self, problem: Problem, contract_id: str) -> bool:
        """Return whether it is about a warning of a contract."""
        wanted_id, slash, pointer = (self.where or "").partition("/")
        found = json_pointer(problem.pointer)
        return (
            problem.severity is Severity.WARNING
            and problem.rule == self.rule
            and wanted_id in ("", contract_id)
            and (not slash or f"{found}/".startswith(f"/{pointer}/"))
        )


class WarningIgnores:
    """The entries of a project, and which of them ignored something in this run."""

    __slots__ = ("entries", "ignored", "today", "used")

    def __init__(self, entries: tuple[WarningIgnore, ...] = (), today: date = date.min) -> None:
        self.entries = entries
        self.today = today
        self.used: set[WarningIgnore] = set()
        self.ignored = 0
        """How many warnings were ignored."""

    def apply(self, findings: Findings) -> Findings:
        """Return the findings without the warnings that are ignored today."""
        if not self.entries or not findings.problems:
            return findings
        summary = summarize_manifest(findings.text.encode(errors="replace"))
        contract_id = summary.contract_id if summary else ""
        kept = [kept for problem in findings.problems if (kept := self._keep(problem, contract_id))]
        return findings._replace(problems=tuple(kept))

    def _keep(self, problem: Problem, contract_id: str) -> Problem | None:
        matching = [entry for entry in self.entries if entry.matches(problem, contract_id)]
        self.used.update(matching)
        if any(entry.until is None or self.today <= entry.until for entry in matching):
            self.ignored += 1
            return None
        if matching:
            return replace(problem, what=f"{problem.what}; the ignore expired on {matching[0].until}")
        return problem

    def find_unused(self) -> Iterator[Problem]:
        """Yield a warning for each entry that ignored nothing in this run."""
        for entry in self.entries:
            if entry not in self.used:
                where = f" at {entry.where}" if entry.where else ""
                yield Problem(
                    pointer=entry.place,
                    rule=Rule.UNUSED_IGNORE,
                    what=f'there is no warning "{entry.rule}"{where}',
                    hint="remove the entry",
                    severity=Severity.WARNING,
                )


def make_ignores(table: object, place: Pointer) -> tuple[WarningIgnore, ...]:
    """Return the entries of a table without problems."""
    entries = table.get("ignore") if is_table(table) else None
    return tuple(
        WarningIgnore(
            place=(*place, "ignore", index),
            rule=str(entry["rule"]),
            where=str(entry["where"]) if "where" in entry else None,
            until=read_date(entry.get("until")),
        )
        for index, entry in enumerate(entries if is_list(entries) else [])
        if is_table(entry)
    )


def find_ignore_problems(table: object, place: Pointer) -> Iterator[Problem]:
    """Yield what is wrong with the table."""
    entries = table.get("ignore", list[object]()) if is_table(table) else None
    if not is_table(table) or not is_list(entries):
        hint = "write a [[tool.trellis-gen.validate.ignore]] for each warning"
        yield _make_problem(place, "expected a list of tables", hint)
        return
    for name in sorted(table.keys() - {"ignore"}):
        yield _make_problem((*place, name), "unknown key", did_you_mean(name, ["ignore"]))
    for index, entry in enumerate(entries):
        yield from _find_entry_problems(entry, (*place, "ignore", index))


def _find_entry_problems(entry: object, place: Pointer) -> Iterator[Problem]:
    from trellis_codegen.contract.rule_texts import RULE_TEXTS  # noqa: PLC0415 - only then

    if not is_table(entry):
        yield _make_problem(place, "expected a table")
        return
    for name in sorted(entry.keys() - {*_TEXTS, "until"}):
        yield _make_problem((*place, name), "unknown key", did_you_mean(name, [*_TEXTS, "until"]))
    rule, where, reason = (entry.get(name) for name in _TEXTS)
    ignorable = [known for known, text in RULE_TEXTS.items() if text.is_warning]
    if rule is None:
        yield _make_problem(place, 'missing key "rule"')
    elif rule not in ignorable:
        what = (
            f'there is no rule "{rule}"'
            if rule not in [*Rule]
            else f'"{rule}" is an error, and errors cannot be ignored'
        )
        yield _make_problem(
            (*place, "rule"), what, did_you_mean(str(rule), ignorable) if rule not in [*Rule] else None
        )
    if where is not None and not (isinstance(where, str) and "/" in where):
        what = "expected a JSON pointer, such as /schemas/Thing, after the id of a contract if it is meant for one alone"
        yield _make_problem((*place, "where"), what)
    if not isinstance(reason, str) or len(reason.strip()) < _SHORTEST_REASON:
        yield _make_problem(
            (*place, "reason"), f"expected a reason of at least {_SHORTEST_REASON} characters"
        )
    if "until" in entry and read_date(entry["until"]) is None:
        yield _make_problem((*place, "until"), 'expected a date: until = "2026-12-31"')


def _make_problem(pointer: Pointer, what: str, hint: str | None = None) -> Problem:
    return Problem(pointer=pointer, rule=Rule.CONFIGURATION, what=what, hint=hint, on_key=True)
