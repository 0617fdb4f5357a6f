"""`[tool.trellis-gen]` of pyproject.toml: the contracts of a project, and the folders of their packages."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from trellis_codegen.cli.comparing.settings import Settings, is_list, is_table, make_settings
from trellis_codegen.cli.findings import Findings
from trellis_codegen.cli.targets import OtherSource, Target
from trellis_codegen.cli.warning_ignores import WarningIgnore, find_ignore_problems, make_ignores
from trellis_codegen.problems import Pointer, Problem, did_you_mean
from trellis_codegen.rule_ids import Rule

__all__ = ["FILE_NAME", "Configuration", "ConfigurationInvalid", "find_configuration", "locate_in_toml"]

FILE_NAME = "pyproject.toml"
_TABLE = ("tool", "trellis-gen")
_KEYS: dict[str, type] = {"manifest": str, "out": str, "package": str, "strict": bool}
_TOP_KEYS = frozenset(["breaking", "contracts", "names", "validate", "with"])
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*(?:\.[A-Za-z][A-Za-z0-9_]*)*")
_PLACE = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9_.-]*@v[0-9]+)?(?:/[^/]*)+")
_KINDS = {str: "a string", bool: "true or false"}


class Configuration(NamedTuple):
    """The table of one project."""

    file: Path
    shown_file: str
    """The file as messages show it, relative to the current folder."""
    targets: tuple[Target, ...]
    names: dict[str, str]
    """Python names that the project states, by the place in a contract."""
    others: tuple[OtherSource, ...]
    """Where the contracts are that those of the project use."""
    breaking: Settings
    """What `trellis-gen breaking` compares with, and ignores."""
    ignores: tuple[WarningIgnore, ...]
    """The warnings that the project accepts."""
    text: str
    """The text of the file, for excerpts."""


class ConfigurationInvalid(Exception):
    """The table has errors. Carries all of them."""

    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        super().__init__("; ".join(problem.what for problem in findings.problems))


def find_configuration(start: Path) -> Configuration | None:
    """Return the configuration of the nearest pyproject.toml, in `start` or above, that has the table; None without one.

    Raises:
        ConfigurationInvalid: the file is not TOML, or the table has errors.
    """
    for folder in (start.absolute(), *start.absolute().parents):
        file = folder / FILE_NAME
        try:
            data = file.read_bytes()
        except (FileNotFoundError, NotADirectoryError, PermissionError, IsADirectoryError):
            continue
        if b"trellis-gen" in data:
            found = _read(file, data.decode("utf-8", errors="replace"))
            if found is not None:
                return found
    return None


def _read(file: Path, text: str) -> Configuration | None:
    import tomllib  # noqa: PLC0415 - 2 ms that only a project needs

    shown = os.path.relpath(file).replace(os.sep, "/")
    try:
        document: object = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationInvalid(
            Findings(file=shown, text=text, problems=(_make_syntax_problem(str(error)),))
        ) from error
    table = document
    for name in _TABLE:
        table = table.get(name) if is_table(table) else None
    if table is None:
        return None
    problems = [*_find_problems(table)]
    if problems:
        found = sorted(
            (locate_in_toml(text, problem) for problem in problems),
            key=lambda problem: (problem.line or 0, problem.column or 0),
        )
        raise ConfigurationInvalid(Findings(file=shown, text=text, problems=tuple(found)))
    entries = table.get("contracts") if is_table(table) else None
    entries = entries if is_list(entries) else []
    names = table.get("names") if is_table(table) else None
    others = table.get("with") if is_table(table) else None
    here = Path(os.path.relpath(file.parent))
    return Configuration(
        file=file,
        shown_file=shown,
        targets=tuple(_make_target(here, entry) for entry in entries if is_table(entry)),
        names={place: str(name) for place, name in names.items()} if is_table(names) else {},
        others=tuple(OtherSource(str(other), here) for other in others) if is_list(others) else (),
        breaking=_make_settings(table.get("breaking") if is_table(table) else None),
        ignores=make_ignores(table.get("validate") if is_table(table) else None, (*_TABLE, "validate")),
        text=text,
    )


def _make_settings(table: object) -> Settings:
    return make_settings(table) if is_table(table) else Settings()


def _make_target(here: Path, entry: dict[str, object]) -> Target:
    package = entry.get("package")
    return Target(
        manifest=here / str(entry["manifest"]),
        out=here / str(entry.get("out", "")),
        package=package if isinstance(package, str) else None,
        strict=entry.get("strict") is True,
    )


def _find_problems(table: object) -> Iterator[Problem]:
    if not is_table(table):
        yield Problem(rule=Rule.CONFIGURATION, pointer=_TABLE, what="expected a table")
        return
    for name in table.keys() - _TOP_KEYS:
        hint = did_you_mean(name, sorted(_TOP_KEYS))
        if name in _KEYS:
            hint = f'move "{name}" into a [[tool.trellis-gen.contracts]]'
        yield Problem(
            rule=Rule.CONFIGURATION, pointer=(*_TABLE, name), what="unknown key", hint=hint, on_key=True
        )
    yield from _find_name_problems(table.get("names", {}))
    others = table.get("with", [])
    if not is_list(others) or not all(isinstance(other, str) and other for other in others):
        what = "expected a list of manifests, folders and packages"
        yield Problem(rule=Rule.CONFIGURATION, pointer=(*_TABLE, "with"), what=what, on_key=True)
    if "validate" in table:
        yield from find_ignore_problems(table["validate"], (*_TABLE, "validate"))
    if "breaking" in table:
        from trellis_codegen.cli.comparing.ignores import find_setting_problems  # noqa: PLC0415 - only then

        today = datetime.now(UTC).date()
        yield from find_setting_problems(table["breaking"], (*_TABLE, "breaking"), today=today)
    entries = table.get("contracts", [] if table.keys() & {"breaking", "names", "validate", "with"} else None)
    if not is_list(entries):
        what = 'missing key "contracts"' if entries is None else "expected a list of tables"
        hint = "write a [[tool.trellis-gen.contracts]] for each contract"
        yield Problem(
            rule=Rule.CONFIGURATION, pointer=(*_TABLE, "contracts"), what=what, hint=hint, on_key=True
        )
        return
    for index, entry in enumerate(entries):
        yield from _find_entry_problems(entry, (*_TABLE, "contracts", index))


def _find_name_problems(names: object) -> Iterator[Problem]:
    place = (*_TABLE, "names")
    if not is_table(names):
        yield Problem(rule=Rule.CONFIGURATION, pointer=place, what="expected a table of names", on_key=True)
        return
    for key, name in names.items():
        if not _PLACE.fullmatch(key):
            what = "expected a JSON pointer, such as /schemas/Thing/properties/@id"
            yield Problem(rule=Rule.CONFIGURATION, pointer=(*place, key), what=what, on_key=True)
        elif not isinstance(name, str) or not _NAME.fullmatch(name):
            what = "expected a Python name of ASCII letters, digits and underscores"
            yield Problem(rule=Rule.CONFIGURATION, pointer=(*place, key), what=what, on_key=True)


def _find_entry_problems(entry: object, place: Pointer) -> Iterator[Problem]:
    if not is_table(entry):
        yield Problem(rule=Rule.CONFIGURATION, pointer=place, what="expected a table")
        return
    unknown = sorted(entry.keys() - _KEYS.keys())
    if "manifest" not in entry:
        yield Problem(
            rule=Rule.CONFIGURATION,
            pointer=place,
            what='missing key "manifest"',
            hint='name the contract: manifest = "path/to/manifest.json"',
        )
    for name in unknown:
        yield Problem(
            rule=Rule.CONFIGURATION,
            pointer=(*place, name),
            what="unknown key",
            hint=did_you_mean(name, _KEYS),
            on_key=True,
        )
    for name, kind in _KEYS.items():
        value = entry.get(name)
        if name in entry and (not isinstance(value, kind) or value == ""):
            yield Problem(
                rule=Rule.CONFIGURATION, pointer=(*place, name), what=f"expected {_KINDS[kind]}", on_key=True
            )


def locate_in_toml(text: str, problem: Problem) -> Problem:
    """Return a problem with the line and column of its place in a text of TOML."""
    from trellis_codegen.cli.toml_places import find_place  # noqa: PLC0415 - only a problem needs it

    line, column = find_place(text, problem.pointer)
    return replace(problem, line=line, column=column)


def _make_syntax_problem(message: str) -> Problem:
    match = re.search(r" \(at (?:line (\d+), column (\d+)|end of document)\)$", message)
    line, column = (int(match[1]), int(match[2])) if match and match[1] else (1, 1)
    what = message[: match.start()] if match else message
    return Problem(
        rule=Rule.CONFIGURATION,
        pointer=(),
        what=f"not TOML: {what[:1].lower()}{what[1:]}",
        line=line,
        column=column,
    )
