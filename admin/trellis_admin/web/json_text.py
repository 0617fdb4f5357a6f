"""Prints stored JSON for a page: digit by digit as it was sent, with secrets left out. Pure."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, cast

from markupsafe import Markup, escape

__all__ = ["SECRET", "print_editable", "print_json"]

SECRET: Final = "secret in the schema, stays hidden"  # noqa: S105 - the words in its place
_INDENT: Final = "  "
_SHORT: Final = 60
"""A list or an object that is not longer stays on one line."""

_TAG: Final = re.compile("<[^>]*>")

Place = tuple[str, ...]


class _Number(str):
    """The digits of a number as they are stored: no float, and no limit."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class _Object:
    members: list[tuple[str, object]]
    """As they are stored: in their order, and twice where a name is there twice."""


def print_json(stored: bytes, is_secret: Callable[[Place], bool] = lambda _: False) -> Markup:
    """Return stored JSON as mark-up for a `pre`. What cannot be read is shown as text.

    Args:
        stored: the bytes of the stream.
        is_secret: whether the value at a place stays hidden.
    """
    try:
        value: object = json.loads(
            stored,
            object_pairs_hook=_Object,
            parse_int=_Number,
            parse_float=_Number,
            parse_constant=_Number,
        )
        return Markup("").join(_print(value, (), "", is_secret))
    except (ValueError, RecursionError):
        return escape(stored.decode("utf-8", "replace"))


def print_editable(stored: bytes) -> str:
    """Return stored JSON as text for a field in which it is edited: with line breaks, and otherwise as it is stored."""
    # `striptags` would also replace every run of spaces, inside of strings too.
    return html.unescape(_TAG.sub("", str(print_json(stored))))


def _print(value: object, place: Place, indent: str, is_secret: Callable[[Place], bool]) -> Iterator[Markup]:
    if is_secret(place):
        yield Markup('<span class="r">{}</span>').format(SECRET)
        return
    match value:
        case _Object(members):
            pieces = [
                (Markup('<span class="k">{}</span>: ').format(_quote(name)), (*place, name), member)
                for name, member in members
            ]
            yield from _enclose("{}", pieces, indent, is_secret)
        case list():
            items = cast("list[object]", value)
            pieces = [(Markup(""), (*place, str(index)), item) for index, item in enumerate(items)]
            yield from _enclose("[]", pieces, indent, is_secret)
        case _Number():
            yield Markup('<span class="n">{}</span>').format(str(value))
        case str():
            yield Markup('<span class="s">{}</span>').format(_quote(value))
        case _:
            yield escape(json.dumps(value))


def _enclose(
    brackets: str,
    pieces: list[tuple[Markup, Place, object]],
    indent: str,
    is_secret: Callable[[Place], bool],
) -> Iterator[Markup]:
    inner = indent + _INDENT
    texts = [
        label + Markup("").join(_print(value, place, inner, is_secret)) for label, place, value in pieces
    ]
    is_short = bool(indent) and sum(len(text.striptags()) + 2 for text in texts) <= _SHORT
    if not texts:
        yield escape(brackets)
    elif is_short and not any("\n" in text for text in texts):
        inside = Markup(", ").join(texts)
        yield Markup("{} {} {}").format(brackets[0], inside, brackets[1])
    else:
        lines = Markup(",\n{}").format(inner).join(texts)
        yield Markup("{}\n{}{}\n{}{}").format(brackets[0], inner, lines, indent, brackets[1])


def _quote(text: str) -> str:
    # UTF-8 does not have lone surrogates, which JavaScript stores: they stay escaped.
    return json.dumps(text, ensure_ascii=False).encode(errors="backslashreplace").decode()
