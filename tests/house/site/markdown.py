"""What a page says about itself, and the links in it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

__all__ = ["anchors_of", "description_of", "is_external", "links_of", "replace_links", "title_of"]

_CODE: Final = re.compile(r"^(```+|~~~+).*?^\1[`~]*$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
_LINK: Final = re.compile(r"(?<=\]\()([^()\s]+)(?=\))")
_HEADING: Final = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)
_LINKED: Final = re.compile(r"!?\[(\[*[^]]*\]*)\]\([^)]*\)")
_STATED_ANCHOR: Final = re.compile(r"""<\w+ (?:id|name)=["']([^"']+)["']""")


def title_of(text: str) -> str:
    """Return the first heading, without markup.

    Raises:
        ValueError: the page has no heading.
    """
    heading = _HEADING.search(_without_code_blocks(text))
    if heading is None:
        raise ValueError("a page has no heading")
    return _without_markup(heading[1])


def description_of(text: str) -> str:
    """Return the first sentence of the first paragraph, without markup; empty if there is none.

    A paragraph that begins in lower case continues a block of code, and is passed over.
    """
    for paragraph in re.split(r"\n\s*\n", _without_code_blocks(text)):
        line = " ".join(paragraph.split()).removeprefix("**Context.** ").removeprefix("**Decision.** ")
        if line and line[0] not in "#|<!-" and not line[0].islower():
            sentence = re.match(r"(.+?[.:])(?: |$)", _without_markup(line))
            return (sentence[1] if sentence else _without_markup(line)).rstrip(":.") + "."
    return ""


def anchors_of(text: str) -> set[str]:
    """Return the anchors of the headings as GitHub makes them, and those that the page states in HTML."""
    found: set[str] = set(_STATED_ANCHOR.findall(text))
    for heading in _HEADING.findall(_without_code_blocks(text)):
        words = re.sub(r"[^\w\- ]", "", _without_markup(heading).lower()).replace(" ", "-")
        number = 0
        anchor = words
        while anchor in found:
            number += 1
            anchor = f"{words}-{number}"
        found.add(anchor)
    return found


def links_of(text: str) -> list[str]:
    """Return the targets of the links and images outside code."""
    found: list[str] = []

    def note(target: str) -> str:
        found.append(target)
        return target

    replace_links(text, note)
    return found


def replace_links(text: str, replacement: Callable[[str], str]) -> str:
    """Return the text with the target of each link outside code replaced."""
    parts: list[str] = []
    end = 0
    for code in _CODE.finditer(text):
        # A link whose text is code begins before the code and ends after it.
        parts += [text[end : code.start()], code[0]]
        end = code.end()
    parts.append(text[end:])
    masked = "".join(part if index % 2 == 0 else "\x00" * len(part) for index, part in enumerate(parts))
    whole = "".join(parts)
    made: list[str] = []
    end = 0
    for link in _LINK.finditer(masked):
        made += [whole[end : link.start()], replacement(link[1])]
        end = link.end()
    return "".join([*made, whole[end:]])


def is_external(target: str) -> bool:
    """Return whether a link leads to another site."""
    return re.match(r"[a-z]+:", target) is not None


def _without_code_blocks(text: str) -> str:
    return re.sub(r"^(```+|~~~+).*?^\1[`~]*$", "", text, flags=re.MULTILINE | re.DOTALL)


def _without_markup(text: str) -> str:
    return _LINKED.sub(r"\1", re.sub(r"[`*]", "", text)).strip()
