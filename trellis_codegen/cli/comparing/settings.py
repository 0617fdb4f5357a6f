"""`[tool.trellis-gen.breaking]`: what contracts are compared with, and which breaks the project accepts."""

from __future__ import annotations

from datetime import date
from typing import Final, NamedTuple, TypeGuard

__all__ = ["TEXTS", "Ignore", "Settings", "is_list", "is_table", "make_settings", "read_date"]

TEXTS: Final = ("rule", "surface", "path", "from", "reason")
"""The keys of an ignore that hold a string."""


class Ignore(NamedTuple):
    """One entry; what is None matches everything."""

    rule: str
    reason: str
    until: date
    surface: str | None = None
    path: str | None = None
    digest: str | None = None
    """The digest of OLD: then it holds for one step only."""


class Settings(NamedTuple):
    """`[tool.trellis-gen.breaking]`."""

    against: str | None = None
    """OLD, if the command line does not name it."""
    ignores: tuple[Ignore, ...] = ()


def make_settings(table: dict[str, object]) -> Settings:
    """Return the settings of a table without problems."""
    against, entries = table.get("against"), table.get("ignore")
    return Settings(
        against=against if isinstance(against, str) else None,
        ignores=tuple(_make_ignore(entry) for entry in entries if is_table(entry))
        if is_list(entries)
        else (),
    )


def _make_ignore(entry: dict[str, object]) -> Ignore:
    texts = {name: value for name in TEXTS if isinstance(value := entry.get(name), str)}
    until = read_date(entry.get("until"))
    return Ignore(
        rule=texts["rule"],
        reason=texts["reason"],
        until=until or date.min,
        surface=texts.get("surface"),
        path=texts.get("path"),
        digest=texts.get("from"),
    )


def read_date(value: object) -> date | None:
    """Return a date of TOML, or of a text; None if it is something else."""
    if type(value) is date:
        return value
    try:
        return date.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None


def is_table(value: object) -> TypeGuard[dict[str, object]]:
    """Return whether a value of TOML is a table."""
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[object]]:
    """Return whether a value of TOML is a list."""
    return isinstance(value, list)
