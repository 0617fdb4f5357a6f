"""Lays out a JSON text: white space changes and nothing else, so that its meaning and its digest stay.

An object or array that stands on one line stays there if the line has at most 100 characters; otherwise each member has a line
of its own, as those of the outermost value always have. So the author decides what is short, and a second run changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from trellis_codegen.contract.positions import find_lexemes

__all__ = ["lay_out"]

_WIDTH: Final = 100
_INDENT: Final = "  "
_ENDS: Final = {"{": "}", "[": "]"}


@dataclass(slots=True)
class _Value:
    """A value as it is written: a scalar's text, or the bracket of a container and what is in it."""

    text: str
    name: str = ""
    """The text of the name of a member, with its colon and a space."""
    inside: list[_Value] = field(default_factory=list["_Value"])
    is_on_one_line: bool = True
    width: int = 0
    """Of the value on one line, without its name."""

    @property
    def is_container(self) -> bool:
        return self.text in _ENDS


def lay_out(text: str) -> str:
    """Return a valid JSON text with two spaces for each level and a newline at the end; its line endings are kept."""
    newline = "\r\n" if "\r\n" in text else "\n"
    return newline.join(_write(_read(text), "", "", is_outermost=True)) + newline


def _read(text: str) -> _Value:
    """Read the values of a valid text, with the lexemes as they are written."""
    outermost = _Value("[")
    open_values = [outermost]
    name, expects_name, start = "", False, 0
    lines: list[int] = []
    line = 0
    for offset, lexeme in find_lexemes(text):
        line += text.count("\n", start, offset)
        start = offset
        if lexeme in "}]":
            closed = open_values.pop()
            closed.is_on_one_line = lines.pop() == line
            closed.width = _measure(closed)
            expects_name = False
        elif lexeme == ",":
            expects_name = open_values[-1].text == "{"
        elif expects_name:
            name, expects_name = f"{lexeme}: ", False
        elif lexeme != ":":
            value = _Value(lexeme, name, width=len(lexeme))
            open_values[-1].inside.append(value)
            name = ""
            if value.is_container:
                open_values.append(value)
                lines.append(line)
                expects_name = lexeme == "{"
    return outermost.inside[0]


def _measure(container: _Value) -> int:
    inside = container.inside
    return 2 + sum(len(value.name) + value.width for value in inside) + 2 * max(0, len(inside) - 1)


def _write(value: _Value, indent: str, comma: str, *, is_outermost: bool = False) -> Iterator[str]:
    """Yield the lines of a value."""
    width = len(indent) + len(value.name) + value.width + len(comma)
    is_short = value.is_on_one_line and width <= _WIDTH and not is_outermost
    if not value.inside or is_short:
        yield f"{indent}{value.name}{''.join(_write_inline(value))}{comma}"
        return
    yield f"{indent}{value.name}{value.text}"
    for number, member in enumerate(value.inside, start=1):
        yield from _write(member, indent + _INDENT, "," if number < len(value.inside) else "")
    yield f"{indent}{_ENDS[value.text]}{comma}"


def _write_inline(value: _Value) -> Iterator[str]:
    """Yield the parts of a value on one line, without its name."""
    yield value.text
    for number, member in enumerate(value.inside):
        yield f"{', ' if number else ''}{member.name}"
        yield from _write_inline(member)
    yield _ENDS.get(value.text, "")
