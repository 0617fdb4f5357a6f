r"""Patterns of JSON Schema → patterns of pydantic. The first are ECMA-262 expressions, the second those of Rust's `regex`.

Both have the same syntax for most things, but not the same meaning: in ECMA-262 `\d` is a digit of ASCII, `.` is not a line end,
and `[[a]&&b]` has no operators. What has another meaning is written out, and what Rust does not have is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NoReturn

from pydantic_core import SchemaError, SchemaValidator, core_schema

__all__ = ["PatternRefused", "matches", "translate_pattern"]

_ANY = "(?s:.)"
_NOTHING = r"[^\x{0}-\x{10FFFF}]"
_NO_LINE_END = r"[^\n\r\x{2028}\x{2029}]"
_WORD_EDGES = {"b": r"(?-u:\b)", "B": r"(?-u:\B)"}
# Rust's own white space has U+0085 and lacks U+FEFF. `--` is its set difference.
_SETS = {
    "d": "[0-9]",
    "D": "[^0-9]",
    "w": "[0-9A-Za-z_]",
    "W": "[^0-9A-Za-z_]",
    "s": r"[\s\x{FEFF}--\x{85}]",
    "S": r"[^\s\x{FEFF}--\x{85}]",
}
_FLAT_SETS = frozenset([_SETS["d"], _SETS["w"]])
"""Sets that a class can hold without their brackets."""
_SPECIAL, _SPECIAL_IN_CLASS = r"\.+*?()|[]{}^$", r"\[]^-&~"
_CONTROLS = {"t": 0x09, "n": 0x0A, "v": 0x0B, "f": 0x0C, "r": 0x0D}
_CODE_POINT = re.compile(r"c([A-Za-z])|x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|u\{([0-9A-Fa-f]{1,6})\}")
_LOW_SURROGATE = re.compile(r"\\u(D[C-F][0-9A-F]{2})", re.IGNORECASE)
_PROPERTY = re.compile(r"[pP]\{[A-Za-z_]+(=[A-Za-z0-9_]+)?\}|[pP]\{[A-Za-z0-9_]+\}")
_REPEAT = re.compile(r"\{([0-9]+)(?:(,)([0-9]*))?\}")
_GROUP = re.compile(r"\(\?(?::|<(?P<name>[A-Za-z_$][\w$]*)>)")
_LAST_CODE_POINT = 0x10FFFF
_HIGH_SURROGATES, _SURROGATES = range(0xD800, 0xDC00), range(0xD800, 0xE000)

Item = int | str
"""A part of a class: a code point, or a set in Rust's syntax."""


class PatternRefused(Exception):
    """A pattern is not an ECMA-262 expression, or Rust has nothing that means the same. The reason is the message."""


@lru_cache(maxsize=4096)
def translate_pattern(pattern: str) -> str:
    r"""Return the Rust expression that matches what an ECMA-262 expression, read with its flag `u`, matches.

    Escapes and braces that only the flag forbids are read as they are without it: `\-`, a lone `{`.

    Raises:
        PatternRefused: there is none.
    """
    result = _Translation(pattern).run()
    try:
        _compile(result)
    except SchemaError as error:
        raise PatternRefused(_explain(str(error))) from None
    return result


def matches(pattern: str, text: str) -> bool:
    """Return whether a pattern matches somewhere in a text, as the generated models check it.

    Raises:
        PatternRefused: the pattern can't be used.
    """
    return _compile(translate_pattern(pattern)).isinstance_python(text)


def _compile(translated: str) -> SchemaValidator:
    return SchemaValidator(core_schema.str_schema(pattern=translated))


def _explain(message: str) -> str:
    if "size limit" in message:
        return "it is too large: its repeats multiply"
    return message.rpartition("error: ")[2].splitlines()[0] if "error: " in message else "it is not valid"


@dataclass(slots=True)
class _Translation:
    """Reads an expression from left to right."""

    text: str
    at: int = 0
    written: list[str] = field(default_factory=list[str])
    depth: int = 0
    names: set[str] = field(default_factory=set[str])
    is_repeatable: bool = False
    """Whether what was written last may be repeated."""

    def run(self) -> str:
        while self.at < len(self.text):
            self._read()
        if self.depth:
            self._refuse('a "(" is not closed')
        return "".join(self.written)

    def _read(self) -> None:
        character = self._take()
        match character:
            case "\\":
                self._read_escape()
            case "[":
                self._write(self._read_class())
            case "(":
                self._open_group()
            case ")":
                if not self.depth:
                    self._refuse('a ")" was never opened')
                self.depth -= 1
                self._write(")")
            case "|" | "^" | "$":
                self._write(character, is_repeatable=False)
            case ".":
                self._write(_NO_LINE_END)
            case "*" | "+" | "?":
                self._repeat(character)
            case "{":
                self._read_brace()
            case _:
                self._write(_write_point(ord(character)))

    def _write(self, text: str, *, is_repeatable: bool = True) -> None:
        self.written.append(text)
        self.is_repeatable = is_repeatable

    def _open_group(self) -> None:
        self.depth += 1
        self.at -= 1
        if not self.text.startswith("(?", self.at):
            self.at += 1
            self._write("(", is_repeatable=False)
            return
        opening = _GROUP.match(self.text, self.at)
        if opening is None:
            self._refuse_group()
        name = opening["name"]
        if name in self.names:
            self._refuse(f'two groups have the name "{name}"')
        self.names |= {name} if name else set()
        self.at = opening.end()
        self._write("(?:", is_repeatable=False)

    def _refuse_group(self) -> NoReturn:
        if self.text.startswith(("(?=", "(?!", "(?<=", "(?<!"), self.at):
            self._refuse("look-around is not supported")
        if self.text.startswith("(?P", self.at):
            self._refuse('"(?P" is Python\'s syntax; patterns are ECMA-262 expressions')
        start = self.text[self.at : self.at + 4]
        self._refuse(
            f'"{start}" is not the start of a group; patterns are ECMA-262 expressions without flags'
        )

    def _repeat(self, repeat: str) -> None:
        if not self.is_repeatable:
            self._refuse(f'there is nothing to repeat before "{repeat}"')
        lazy = "?" if self.text.startswith("?", self.at) else ""
        self.at += len(lazy)
        self._write(repeat + lazy, is_repeatable=False)

    def _read_brace(self) -> None:
        repeat = _REPEAT.match(self.text, self.at - 1)
        if repeat is None:
            if self.text.startswith(",", self.at):
                self._refuse('"{,n}" is not a repeat; write "{0,n}"')
            self._write(r"\{")
            return
        low, comma, high = repeat.groups()
        if comma and high and int(high) < int(low):
            self._refuse(f'the limits of "{repeat[0]}" are out of order')
        self.at = repeat.end()
        self._repeat(repeat[0])

    def _read_escape(self) -> None:
        letter = self.text[self.at : self.at + 1]
        if letter in _WORD_EDGES:
            self.at += 1
            self._write(_WORD_EDGES[letter], is_repeatable=False)
        elif letter == "k" or (letter.isdecimal() and letter != "0"):
            self._refuse("back-references are not supported")
        else:
            item = self._read_item()
            self._write(item if isinstance(item, str) else _write_point(item))

    def _read_class(self) -> str:
        """Read a class, from behind its `[` to its `]`."""
        is_negated = self.text.startswith("^", self.at)
        self.at += is_negated
        parts: list[str] = []
        while not self.text.startswith("]", self.at):
            first = self._read_class_item()
            if not self.text.startswith("-", self.at) or self.text.startswith("-]", self.at):
                parts.append(_write_item(first))
                continue
            self.at += 1
            last = self._read_class_item()
            if isinstance(first, str) or isinstance(last, str):
                parts += [_write_item(first), r"\-", _write_item(last)]
                continue
            if first > last:
                self._refuse(f'the range "{chr(first)}-{chr(last)}" is out of order')
            parts.append(f"{_write_item(first)}-{_write_item(last)}")
        self.at += 1
        if not parts:
            return _ANY if is_negated else _NOTHING
        return f"[{'^' * is_negated}{''.join(parts)}]"

    def _read_class_item(self) -> Item:
        character = self._take('a "[" is not closed')
        if character != "\\":
            return ord(character)
        if self.text.startswith("b", self.at):
            self.at += 1
            return 0x08
        return self._read_item()

    def _read_item(self) -> Item:
        """Read what stands for a character or a set, from behind its backslash."""
        if found := _PROPERTY.match(self.text, self.at):
            self.at = found.end()
            return f"\\{found[0]}"
        if found := _CODE_POINT.match(self.text, self.at):
            self.at = found.end()
            return self._find_point(found)
        letter = self._take('nothing follows the last "\\"')
        if letter in _SETS:
            return _SETS[letter]
        if letter in _CONTROLS:
            return _CONTROLS[letter]
        if letter == "0" and not self.text[self.at : self.at + 1].isdecimal():
            return 0
        if letter.isascii() and letter.isalnum():
            self._refuse(f'"\\{letter}" is not an escape of ECMA-262')
        return ord(letter)

    def _find_point(self, found: re.Match[str]) -> int:
        control, byte, unit, braced = found.groups()
        if control:
            return ord(control) % 32
        point = int(byte or unit or braced, 16)
        if unit and point in _HIGH_SURROGATES and (low := _LOW_SURROGATE.match(self.text, self.at)):
            self.at = low.end()
            return 0x10000 + ((point - 0xD800) << 10) + (int(low[1], 16) - 0xDC00)
        if point in _SURROGATES or point > _LAST_CODE_POINT:
            self._refuse(f'"\\{found[0]}" is not a character')
        return point

    def _take(self, otherwise: str = "") -> str:
        if self.at >= len(self.text):
            self._refuse(otherwise)
        self.at += 1
        return self.text[self.at - 1]

    def _refuse(self, reason: str) -> NoReturn:
        raise PatternRefused(reason)


def _write_item(item: Item) -> str:
    """Write a part of a class."""
    if isinstance(item, int):
        return _write_point(item, _SPECIAL_IN_CLASS)
    return item[1:-1] if item in _FLAT_SETS else item


def _write_point(point: int, special: str = _SPECIAL) -> str:
    """Write a character so that it means itself."""
    character = chr(point)
    if character in special:
        return f"\\{character}"
    return character if character.isprintable() else f"\\x{{{point:X}}}"
