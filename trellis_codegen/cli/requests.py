"""What the user asked `trellis-gen facade` for; and the short way to know it.

typer takes 60 ms to load and loads pydantic to read an option, which is more than it takes to see that a package is
fresh. So the plain forms of the command are read here; everything else, `--help` and mistakes among it, is typer's.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from trellis_codegen.cli.findings import Format
from trellis_codegen.cli.targets import Choices

__all__ = ["Mode", "Request", "plain_request"]

_COMPLETION = "_TRELLIS_GEN_COMPLETE"
_FLAGS = {
    "--check": "check",
    "--dry-run": "dry_run",
    "--json": "json",
    "--no-strict": "no_strict",
    "--quiet": "quiet",
    "--strict": "strict",
    "-q": "quiet",
}
_VALUES = {"--format", "--out", "--package"}


class Mode(Enum):
    """What to do with a package that differs from what is on disk."""

    WRITE = auto()
    CHECK = auto()
    """Show the difference; any is a fault."""
    PREVIEW = auto()
    """Name the files that would be written or deleted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One run of `trellis-gen facade`."""

    choices: Choices
    mode: Mode = Mode.WRITE
    form: Format = Format.TEXT
    quiet: bool = False


def plain_request(arguments: Sequence[str]) -> Request | None:
    """Return what a plain command line asks for, or None when reading it takes more than is done here."""
    if arguments[:1] != ["facade"] or _COMPLETION in os.environ:
        return None
    found = [*_parts(arguments[1:])]
    given = dict(found)
    if None in given or len(given) < len(found) or {"strict", "no_strict"} <= given.keys():
        return None
    if {"check", "dry_run"} <= given.keys() or {"json", "--format"} <= given.keys():
        return None
    form = "json" if "json" in given else given.get("--format", "text")
    if form not in [*Format]:
        return None
    choices = Choices(
        manifest=_path(given.get("manifest")),
        out=_path(given.get("--out")),
        package=given.get("--package"),
        strict=True if "strict" in given else False if "no_strict" in given else None,
    )
    mode = Mode.CHECK if "check" in given else Mode.PREVIEW if "dry_run" in given else Mode.WRITE
    return Request(choices=choices, mode=mode, form=Format(form), quiet="quiet" in given)


def _parts(arguments: Sequence[str]) -> Iterator[tuple[str | None, str]]:
    """Yield what each argument is and its value; None for one that is not understood."""
    rest = iter(arguments)
    for argument in rest:
        name, equals, value = argument.partition("=")
        if argument in _FLAGS:
            yield _FLAGS[argument], ""
        elif name in _VALUES and equals:
            yield name, value
        elif argument in _VALUES:
            following = next(rest, "-")
            yield (None if following.startswith("-") else argument), following
        else:
            yield (None if argument.startswith("-") else "manifest"), argument


def _path(value: str | None) -> Path | None:
    return None if value is None else Path(value)
