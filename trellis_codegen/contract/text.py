"""Bytes → a JSON value, or the problem that prevents it.

Stricter than `json.loads`: no duplicate names, no `NaN`, no number that overflows, no half characters, and bounded in
size and depth, so that a hostile file costs neither time nor memory.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import NoReturn

from pydantic import JsonValue

from trellis_codegen.contract.limits import MAX_NUMBER_LENGTH, MAX_SIZE_BYTES
from trellis_codegen.contract.positions import Positions, find_position, locate
from trellis_codegen.problems import Pointer, Problem, ProblemsFound
from trellis_codegen.rule_ids import Rule

__all__ = ["MAX_DEPTH", "MAX_SIZE_BYTES", "decode", "parse"]

MAX_DEPTH = 160
"""Objects and arrays may be nested this deep."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_NUMBER = re.compile(r'"(?:[^"\\]|\\.)*"|-?(?:Infinity|NaN|[0-9][-+.eE0-9]*)')
_SHOWN_DIGITS = 20
_WHITE_SPACE = " \t\r\n"
_ENDS = {
    "}": "illegal trailing comma before end of object",
    "]": "illegal trailing comma before end of array",
}


def decode(data: bytes) -> str:
    """Return the text of a file.

    Raises:
        ProblemsFound: it is too large, starts with a byte order mark, or is not UTF-8.
    """
    if len(data) > MAX_SIZE_BYTES:
        _refuse(Rule.FILE_TOO_LARGE, f"the file is larger than {MAX_SIZE_BYTES:,} bytes")
    if data.startswith(_BYTE_ORDER_MARK):
        _refuse(
            Rule.BYTE_ORDER_MARK,
            "the file starts with a byte order mark",
            hint="save it as UTF-8 without one",
        )
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8")
        _refuse(
            Rule.NOT_UTF_8, f"byte 0x{data[error.start]:02x} is not UTF-8", text=before, offset=len(before)
        )


def parse(text: str) -> JsonValue:
    """Return the value of a JSON text.

    Raises:
        ProblemsFound: it is not JSON, or JSON that parsers read differently.
    """
    duplicates: list[str] = []

    def members(pairs: list[tuple[str, JsonValue]]) -> JsonValue:
        result = dict(pairs)
        if len(result) < len(pairs):
            duplicates.extend(name for name, _ in pairs)
        return result

    _check_numbers(text)
    try:
        value: JsonValue = json.loads(text, object_pairs_hook=members, parse_int=_integer)
    except json.JSONDecodeError as error:
        _refuse_comma_at_the_end(text, error.pos)
        _refuse(Rule.NOT_JSON, _plain(error.msg), text=text, offset=error.pos)
    except RecursionError:
        _refuse(Rule.TOO_DEEP, f"nested more than {MAX_DEPTH} levels deep")
    problems = list(_deep_or_broken(value, ()))
    if problems:
        raise ProblemsFound(locate(problems[:1], text))
    if duplicates:
        raise ProblemsFound(_duplicates(text))
    return value


def _check_numbers(text: str) -> None:
    """Reject numbers that JSON does not have, before any of them is computed."""
    for match in _NUMBER.finditer(text):
        number = match.group()
        if number.startswith('"'):
            continue
        if number.endswith(("Infinity", "NaN")):
            _refuse(Rule.NOT_JSON, f"{number} is not JSON", text=text, offset=match.start())
        if _is_too_large(number):
            _refuse(
                Rule.NUMBER_TOO_LARGE,
                f"the number {number[:_SHOWN_DIGITS]}… is too large",
                text=text,
                offset=match.start(),
            )


def _is_too_large(number: str) -> bool:
    if len(number) > MAX_NUMBER_LENGTH:
        return True
    try:
        return math.isinf(float(number))
    except ValueError:
        return False


def _integer(number: str) -> int | float:
    """Keep the sign of `-0`, as the reference implementation does."""
    return -0.0 if number == "-0" else int(number)


def _deep_or_broken(value: JsonValue, pointer: Pointer) -> Iterator[Problem]:
    if len(pointer) > MAX_DEPTH:
        yield Problem(pointer=pointer, rule=Rule.TOO_DEEP, what=f"nested more than {MAX_DEPTH} levels deep")
    elif isinstance(value, str) and _is_broken(value):
        yield Problem(
            pointer=pointer,
            rule=Rule.LONE_SURROGATE,
            what="the text contains a lone surrogate: half of a character",
        )
    elif isinstance(value, dict):
        for name, each in value.items():
            if _is_broken(name):
                yield Problem(
                    pointer=pointer,
                    rule=Rule.LONE_SURROGATE,
                    what="a name contains a lone surrogate: half of a character",
                )
            yield from _deep_or_broken(each, (*pointer, name))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _deep_or_broken(each, (*pointer, index))


def _is_broken(text: str) -> bool:
    return not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text)


def _duplicates(text: str) -> list[Problem]:
    found: list[Problem] = []
    for pointer, offset in Positions(text).duplicates:
        position = find_position(text, offset)
        what = f'duplicate name "{pointer[-1]}"'
        found.append(
            Problem(
                pointer=pointer,
                rule=Rule.DUPLICATE_NAME,
                what=what,
                line=position.line,
                column=position.column,
            )
        )
    return found


def _refuse_comma_at_the_end(text: str, offset: int) -> None:
    """Report a trailing comma at its own position, as the parser of Python 3.13 does; older ones point behind it."""
    before, end = text[:offset].rstrip(_WHITE_SPACE), text[offset : offset + 1]
    if before.endswith(",") and end in _ENDS:
        _refuse(Rule.NOT_JSON, f"not JSON: {_ENDS[end]}", text=text, offset=len(before) - 1)


def _plain(message: str) -> str:
    words = message.removesuffix(" starting at").removesuffix(" at")
    return f"not JSON: {words[0].lower()}{words[1:]}"


def _refuse(rule: Rule, what: str, *, hint: str | None = None, text: str = "", offset: int = 0) -> NoReturn:
    position = find_position(text, offset)
    raise ProblemsFound(
        [Problem(pointer=(), rule=rule, what=what, hint=hint, line=position.line, column=position.column)]
    )
