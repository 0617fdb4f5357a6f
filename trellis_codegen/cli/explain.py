"""`trellis-gen explain`: what a member of a manifest, a rule or an error of the runtime means."""

from __future__ import annotations

import json
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, cast

from trellis_codegen.breaking.explaining import explain_rule, list_rules
from trellis_codegen.cli.exits import ExitCode
from trellis_codegen.cli.reporter import Reporter
from trellis_codegen.contract.lookup import describe_member, find_members, list_paths
from trellis_codegen.contract.other_words import find_advice, find_own_word
from trellis_codegen.contract.reference import list_sections
from trellis_codegen.contract.rule_explaining import explain_manifest_rule
from trellis_codegen.problems import did_you_mean
from trellis_codegen.rule_ids import Rule

__all__ = ["ERROR_TEXTS", "explain_subject", "run"]

ERROR_TEXTS: Final = Path(__file__).with_name("error_texts.json")
"""What each error of the runtime means, and its remedy: written from the classes by `make generate`."""
_WIDTH: Final = 100
_CHECK: Final = re.compile(r"[a-z]+(-[a-z]+)+")
"""How `trellis doctor` names its checks, and `validate` its rules."""


def run(names: Sequence[str]) -> ExitCode:
    """Print what members, rules or errors mean; without a name, everything that can be explained."""
    reporter = Reporter()
    if not names:
        _print(reporter, _list_subjects())
        return ExitCode.OK
    code, printed = ExitCode.OK, 0
    for name in names:
        lines = explain_subject(name)
        if lines:
            _print(reporter, ["", *lines] if printed else lines)
            printed += 1
        else:
            reporter.report_refusal(f'there is no member, no rule and no error "{name}"; {_suggest(name)}')
            code = ExitCode.USAGE
    return code


def explain_subject(name: str) -> list[str]:
    """Return what is known about a member, a rule or an error of the runtime; nothing if there is none."""
    found = [line for member in find_members(name) for line in describe_member(member)]
    if found:
        return found
    rule = explain_manifest_rule(name) or explain_rule(name)
    return [rule] if rule is not None else [*_explain_error(name)]


def _explain_error(name: str) -> Iterator[str]:
    found = _read_errors().get(name.rpartition(".")[2])
    if found is not None:
        yield f"{name.rpartition('.')[2]}: error of trellis-nats"
        yield from (f"  {line}".rstrip() for line in found["meaning"].split("\n"))
        yield f"  remedy:  {found['remedy']}"


def _read_errors() -> dict[str, dict[str, str]]:
    return cast("dict[str, dict[str, str]]", json.loads(ERROR_TEXTS.read_bytes()))


def _suggest(name: str) -> str:
    parent, dot, word = name.rpartition(".")
    paths = list_paths()
    own = find_own_word(word, (path.rpartition(".")[2] for path in paths if path.startswith(parent)))
    if own is not None:
        return (
            f"other systems have that word, and a contract has {own}: trellis-gen explain {parent}{dot}{own}"
        )
    if (advice := find_advice(word)) is not None:
        return f"other systems have that word: {advice}"
    if _CHECK.fullmatch(name):
        checks, hint = (
            "the checks of `trellis doctor` are listed in docs/reference/cli.md",
            did_you_mean(name, Rule),
        )
        return f"{hint} If not: {checks}" if hint else checks
    hint = did_you_mean(name, [*paths, *Rule, *list_rules(), *_read_errors()])
    return (
        hint or 'name a member such as "jobs.ackWaitMs", the id of a rule, or an error such as "JobNotFound"'
    )


def _list_subjects() -> Iterator[str]:
    yield "Members, by their path or their name:"
    for section in list_sections():
        yield from _list_words(section.title, (member.name for member in section.members))
    yield "Rules of trellis-gen validate:"
    yield from _list_words("", Rule)
    yield "Rules of trellis-gen breaking: trellis-gen breaking --list"
    yield "Errors of trellis-nats:"
    yield from _list_words("", _read_errors())


def _list_words(title: str, words: Iterable[str]) -> list[str]:
    text = f"{title}: {' '.join(words)}" if title else " ".join(words)
    return textwrap.wrap(text, _WIDTH, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)


def _print(reporter: Reporter, lines: Iterable[str]) -> None:
    """Print lines; on a terminal without the backticks of Markdown."""
    is_plain = sys.stdout.isatty()
    reporter.print_result(line.replace("`", "") if is_plain else line for line in lines)
