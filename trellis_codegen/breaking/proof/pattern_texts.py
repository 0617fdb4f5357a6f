"""Texts that a pattern may match: short ones, and some at the edges of its repeats and classes.

They are candidates: the caller checks them with the pattern itself, so what this misreads does no harm.
"""

from __future__ import annotations

import re
import string
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from pydantic_core import SchemaError, SchemaValidator, core_schema

__all__ = ["sample_pattern"]

_MOST: Final = 24
_LONGEST: Final = 8_192
"""Repeats inside repeats multiply; no text is longer than a few times this."""
_POOL: Final = (
    string.ascii_lowercase + string.digits + string.ascii_uppercase + "-_ ./:,@" + string.punctuation + "é\n"
)
_EDGE: Final = "(?-u:"
_ESCAPE: Final = re.compile(r"\\(?:x\{[0-9A-Fa-f]+\}|[pP]\{[^}]*\}|.)", re.DOTALL)
_REPEAT: Final = re.compile(r"(?:([*+?])|\{([0-9]+)(,?)([0-9]*)\})\??")
_BOUNDS: Final[dict[str, tuple[int, int | None]]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}


@lru_cache(maxsize=1024)
def _sample(pattern: str, counts: tuple[int, ...]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for count in counts:
        for choice in range(3):
            for text in _Sampler(pattern, count, choice).run():
                found[text] = None
    return tuple(found)[: _MOST * 4]


def sample_pattern(pattern: str, lengths: Iterable[int] = ()) -> tuple[str, ...]:
    """Return texts for a pattern in the syntax of Rust; some have repeats of the lengths asked for."""
    return _sample(pattern, tuple(dict.fromkeys([0, 1, 2, *lengths])))


@dataclass(slots=True)
class _Sampler:
    """Reads a pattern once, and repeats what may be repeated `count` times, as far as its bounds allow."""

    pattern: str
    count: int
    choice: int
    """Which of a class's characters is taken."""
    at: int = 0

    def run(self) -> list[str]:
        return self._read_branches()[:_MOST]

    def _read_branches(self) -> list[str]:
        """Read up to the end of a group; each of its branches adds texts."""
        branches: list[str] = []
        current = [""]
        while self.at < len(self.pattern) and self.pattern[self.at] != ")":
            if self.pattern[self.at] == "|":
                self.at += 1
                branches += current
                current = [""]
                continue
            parts = self._read_repeated()
            current = [left + right for left in current for right in parts][:_MOST]
        return [*branches, *current]

    def _read_repeated(self) -> list[str]:
        parts = self._read_atom()
        repeat = _REPEAT.match(self.pattern, self.at)
        if repeat is None:
            return parts
        self.at = repeat.end()
        sign, least, comma, most = repeat.groups()
        if sign:
            low, high = _BOUNDS[sign]
        else:
            low = int(least)
            high = int(most) if most else None if comma else low
        count = max(low, self.count if high is None else min(self.count, high))
        return [part * min(count, _LONGEST // max(1, len(part))) for part in parts][:_MOST]

    def _read_atom(self) -> list[str]:
        rest = self.pattern[self.at :]
        if rest.startswith(("^", "$")):
            self.at += 1
            return [""]
        if rest.startswith(_EDGE):
            self.at += rest.index(")") + 1
            return [""]
        if rest.startswith("(?s:.)"):
            self.at += 6
            return ["a"]
        if rest.startswith("("):
            self.at += 3 if rest.startswith("(?:") else 1
            inner = self._read_branches()
            self.at += 1
            return inner
        if rest.startswith("["):
            return [self._choose(self._read_class())]
        if escape := _ESCAPE.match(self.pattern, self.at):
            self.at = escape.end()
            plain = escape[0][1:]
            return [plain if len(plain) == 1 and not plain.isalnum() else self._choose(escape[0])]
        self.at += 1
        return [rest[0]]

    def _read_class(self) -> str:
        start, depth = self.at, 0
        while self.at < len(self.pattern):
            if escape := _ESCAPE.match(self.pattern, self.at):
                self.at = escape.end()
                continue
            character = self.pattern[self.at]
            self.at += 1
            depth += (character == "[") - (character == "]")
            if not depth:
                break
        return self.pattern[start : self.at]

    def _choose(self, text: str) -> str:
        members = _list_members(text)
        if not members:
            return ""
        return members[(0, len(members) // 2, -1)[self.choice]]


@lru_cache(maxsize=1024)
def _list_members(text: str) -> str:
    """Return the characters of the pool, and of the class itself, that a class has."""
    try:
        validator = SchemaValidator(core_schema.str_schema(pattern=rf"\A(?:{text})\z"))
    except SchemaError:
        return ""
    named = [
        chr(int(code, 16))
        for code in re.findall(r"\\x\{([0-9A-Fa-f]+)\}", text)
        if int(code, 16) <= sys.maxunicode
    ]
    return "".join(each for each in dict.fromkeys((*_POOL, *named)) if validator.isinstance_python(each))
