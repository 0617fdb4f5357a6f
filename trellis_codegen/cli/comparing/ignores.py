"""Breaks that a project accepts, each once, visibly, with a reason and a date."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Final

from trellis_codegen.breaking.explaining import list_rules
from trellis_codegen.breaking.findings import Finding, Ignored
from trellis_codegen.cli.comparing.settings import TEXTS, Ignore, is_list, is_table, read_date
from trellis_codegen.problems import Pointer, Problem, did_you_mean
from trellis_codegen.rule_ids import Rule

__all__ = ["apply_ignores", "find_setting_problems"]

_LONGEST: Final = timedelta(days=180)
_SHORTEST_REASON: Final = 10
_KEYS: Final = (*TEXTS, "until")


def apply_ignores(
    findings: Sequence[Finding], ignores: Sequence[Ignore], *, digest: str, today: date
) -> tuple[list[Finding], set[Ignore]]:
    """Return the findings, with those marked that are ignored today, and the entries that match any."""
    used: set[Ignore] = set()
    marked: list[Finding] = []
    for finding in findings:
        matching = [ignore for ignore in ignores if _matches(ignore, finding, digest)]
        used |= {*matching}
        valid = [ignore for ignore in matching if today <= ignore.until]
        if valid:
            ignored = Ignored(valid[0].reason, valid[0].until.isoformat())
            marked.append(replace(finding, ignored=ignored))
        elif matching:
            expired = f"{finding.message}; the ignore expired on {matching[0].until.isoformat()}"
            marked.append(replace(finding, message=expired))
        else:
            marked.append(finding)
    return marked, used


def _matches(ignore: Ignore, finding: Finding, digest: str) -> bool:
    return (
        finding.rule == ignore.rule
        and ignore.surface in (None, finding.surface)
        and ignore.path in (None, finding.path)
        and ignore.digest in (None, digest)
    )


def find_setting_problems(table: object, place: Pointer, *, today: date) -> Iterator[Problem]:
    """Yield what is wrong with the table."""
    if not is_table(table):
        yield Problem(rule=Rule.CONFIGURATION, pointer=place, what="expected a table", on_key=True)
        return
    for name in table.keys() - {"against", "ignore"}:
        hint = did_you_mean(name, ["against", "ignore"])
        yield Problem(
            rule=Rule.CONFIGURATION, pointer=(*place, name), what="unknown key", hint=hint, on_key=True
        )
    if "against" in table and not (isinstance(table["against"], str) and table["against"]):
        what = "expected a file, or git: and a revision"
        yield Problem(rule=Rule.CONFIGURATION, pointer=(*place, "against"), what=what, on_key=True)
    entries = table.get("ignore", list[object]())
    if not is_list(entries):
        hint = "write a [[tool.trellis-gen.breaking.ignore]] for each"
        yield Problem(
            rule=Rule.CONFIGURATION,
            pointer=(*place, "ignore"),
            what="expected a list of tables",
            hint=hint,
            on_key=True,
        )
        return
    for index, entry in enumerate(entries):
        yield from _find_entry_problems(entry, (*place, "ignore", index), today=today)


def _find_entry_problems(entry: object, place: Pointer, *, today: date) -> Iterator[Problem]:
    if not is_table(entry):
        yield Problem(rule=Rule.CONFIGURATION, pointer=place, what="expected a table")
        return
    for name in sorted(entry.keys() - {*_KEYS}):
        hint = did_you_mean(name, _KEYS)
        yield Problem(
            rule=Rule.CONFIGURATION, pointer=(*place, name), what="unknown key", hint=hint, on_key=True
        )
    for name in TEXTS:
        if name in entry and not isinstance(entry[name], str):
            yield Problem(
                rule=Rule.CONFIGURATION, pointer=(*place, name), what="expected a string", on_key=True
            )
    rule = entry.get("rule")
    rules = list_rules()
    if not isinstance(rule, str) or rule not in rules:
        what = 'missing key "rule"' if rule is None else f'there is no rule "{rule}"'
        hint = did_you_mean(rule, rules) if isinstance(rule, str) else "name one rule, in full"
        yield Problem(rule=Rule.CONFIGURATION, pointer=(*place, "rule"), what=what, hint=hint, on_key=True)
    reason = entry.get("reason")
    if not isinstance(reason, str) or len(reason.strip()) < _SHORTEST_REASON:
        what = f"expected a reason of at least {_SHORTEST_REASON} characters"
        yield Problem(rule=Rule.CONFIGURATION, pointer=(*place, "reason"), what=what, on_key=True)
    until = read_date(entry.get("until"))
    if until is None:
        yield Problem(
            rule=Rule.CONFIGURATION,
            pointer=(*place, "until"),
            what='expected a date: until = "2026-12-31"',
            on_key=True,
        )
    elif until > today + _LONGEST:
        what = f"a change is ignored for at most {_LONGEST.days} days: until {today + _LONGEST}"
        yield Problem(rule=Rule.CONFIGURATION, pointer=(*place, "until"), what=what, on_key=True)
