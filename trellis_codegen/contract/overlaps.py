"""Finds subjects that overlap, in time that grows with their number, not with its square."""

from __future__ import annotations

from typing import TypeAlias

from trellis_codegen.problems import Pointer

__all__ = ["WILDCARD", "Subjects"]

WILDCARD = "*"
"""A token that matches any one token."""

_Tokens: TypeAlias = tuple[str, ...]
_Mask: TypeAlias = tuple[bool, ...]
"""Which tokens of a subject are literal."""


class Subjects:
    """Subjects and their owners; a new one is compared with all before it."""

    def __init__(self) -> None:
        self._known: dict[_Mask, list[tuple[_Tokens, Pointer]]] = {}
        self._tables: dict[_Mask, dict[_Mask, dict[_Tokens, Pointer]]] = {}

    def add(self, subject: str, owner: Pointer) -> Pointer | None:
        """Add a subject, and return the owner of a subject that it overlaps, if there is one."""
        tokens = tuple(subject.split("."))
        mask = tuple(token != WILDCARD for token in tokens)
        found = None
        for other in self._known:
            if len(other) == len(mask) and found is None:
                common = tuple(a and b for a, b in zip(mask, other, strict=True))
                found = self._table(other, common).get(_projected(tokens, common))
        self._known.setdefault(mask, []).append((tokens, owner))
        for common, table in self._tables.get(mask, {}).items():
            table.setdefault(_projected(tokens, common), owner)
        return found

    def _table(self, mask: _Mask, common: _Mask) -> dict[_Tokens, Pointer]:
        """Return the subjects of one mask by the tokens that count: subjects of two masks meet where both are literal."""
        tables = self._tables.setdefault(mask, {})
        if common not in tables:
            tables[common] = {}
            for tokens, owner in self._known[mask]:
                tables[common].setdefault(_projected(tokens, common), owner)
        return tables[common]


def _projected(tokens: _Tokens, mask: _Mask) -> _Tokens:
    return tuple(token for token, counts in zip(tokens, mask, strict=True) if counts)
