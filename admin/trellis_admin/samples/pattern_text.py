"""Writes a short text that a pattern may match. A candidate: the caller checks it with the pattern itself. Pure."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from pydantic_core import SchemaError, SchemaValidator, ValidationError, core_schema

__all__ = ["matches_pattern", "may_match", "write_text"]

_REPEAT: Final = re.compile(r"([*+?])\??|\{([0-9]+)(?:,([0-9]*))?\}\??")
_CLASSES: Final = {"d": "0", "w": "a", "s": " ", "D": "a", "W": "-", "S": "a", "n": "\n", "t": "\t"}
_NOTHING: Final = frozenset("bBAzZ")
_OUTSIDE: Final = "aA0-_ .:/@"
"""The first of these that a negated class does not name."""
_LONGEST: Final = 1_000


def write_text(pattern: str) -> str:
    """Return a text for a pattern in the syntax of Rust: the first branch, and each repeat as short as it may be."""
    return _Writer(pattern).write()[:_LONGEST]


def matches_pattern(pattern: str, text: str) -> bool:
    """Return whether a generated model finds the pattern in a text."""
    return _compile(pattern) is not None and may_match(pattern, text)


def may_match(pattern: str, text: str) -> bool:
    """Return whether the pattern is found in a text; True for a pattern that cannot be compiled."""
    compiled = _compile(pattern)
    if compiled is None:
        return True
    try:
        compiled.validate_python(text)
    except ValidationError:
        return False
    return True


@lru_cache(maxsize=1_000)
def _compile(pattern: str) -> SchemaValidator | None:
    try:
        return SchemaValidator(core_schema.str_schema(pattern=pattern))
    except SchemaError:
        return None


class _Writer:
    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0

    def write(self) -> str:
        """Write up to the end of a group; its first branch counts."""
        first: str | None = None
        text = ""
        while self._at < len(self._pattern) and (sign := self._pattern[self._at]) != ")":
            if sign == "|":
                first = text if first is None else first
                text, self._at = "", self._at + 1
                continue
            text += self._repeat(self._atom())
        return text if first is None else first

    def _repeat(self, text: str) -> str:
        found = _REPEAT.match(self._pattern, self._at)
        if found is None:
            return text
        self._at = found.end()
        if found[1]:
            return text if found[1] == "+" else ""
        return text * min(int(found[2]), _LONGEST)

    def _atom(self) -> str:
        sign = self._pattern[self._at]
        self._at += 1
        match sign:
            case "^" | "$":
                return ""
            case ".":
                return "a"
            case "(":
                head = re.compile(r"\?(?::|P?<\w+>|[a-z-]+[:)])").match(self._pattern, self._at)
                self._at = self._at if head is None else head.end()
                if head is not None and head[0].endswith(")"):
                    return ""  # flags alone
                text = self.write()
                self._at += 1
                return text
            case "[":
                return self._class()
            case "\\":
                return self._escape()
            case _:
                return sign

    def _escape(self) -> str:
        sign = self._pattern[self._at : self._at + 1]
        self._at += 1
        if sign in _NOTHING:
            return ""
        if sign in {"p", "P"}:
            self._at = max(self._pattern.find("}", self._at) + 1, self._at + 1)
            return "a"
        return _CLASSES.get(sign, sign)

    def _class(self) -> str:
        is_negated = self._pattern.startswith("^", self._at)
        self._at += is_negated
        named, start = "", self._at
        while self._at < len(self._pattern) and (self._pattern[self._at] != "]" or self._at == start):
            sign = self._pattern[self._at]
            self._at += 1
            named += self._escape() if sign == "\\" else sign
        self._at += 1
        if is_negated and named:
            return next((sign for sign in _OUTSIDE if not re.match(f"[{re.escape(named)}]", sign)), "")
        return named[:1] or _OUTSIDE[0]
