"""Finds members of the format by what people write: a path with or without names, a JSON pointer, a bare name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from trellis_codegen.contract.reference import ANY_NAME, Member, list_sections, walk_members, write_path

__all__ = ["describe_member", "find_members", "list_paths"]

_STEP = "\0"
"""Separates the steps of a path: names may have dots and slashes."""
_LONGEST_EXAMPLE = 200
_ONE_STEP = f"[^{_STEP}]+"
"""What matches a name in a JSON pointer."""
_ANY_TEXT = ".+?"
"""What matches a name in a path with dots, which may have dots itself."""


def find_members(text: str) -> list[Member]:
    """Return the members that a text means: one for a path or a pointer, for a bare name or the end of a path all that have it.

    `jobs.ackWaitMs`, `jobs.<name>.ackWaitMs`, `jobs.reserve-inventory.ackWaitMs` and `/jobs/reserve-inventory/ackWaitMs` are the
    same member. `/jobs/reserve-inventory` is the member `jobs`, and `keyConcurrency.key` is `jobs.keyConcurrency.key`.
    """
    members = [*walk_members()]
    if text.startswith("/"):
        steps = [step.replace("~1", "/").replace("~0", "~") for step in text.split("/")[1:]]
        matching = [
            member for member in members if _make_pattern(member, _ONE_STEP).fullmatch(_STEP.join(steps))
        ]
    else:
        joined = text.replace(".", _STEP)
        matching = [member for member in members if _make_pattern(member, _ANY_TEXT).fullmatch(joined)]
    if matching:
        # `jobs.docs` is the documentation of any queue, not a queue that is called docs.
        return [max(matching, key=lambda member: len(member.path))]
    end = tuple(text.split("."))
    bare = {
        (member.description, member.python): member
        for member in reversed(members)
        if _drop_names(member)[-len(end) :] == end
    }
    return [*reversed(bare.values())]


def _make_pattern(member: Member, name: str) -> re.Pattern[str]:
    """Return what matches the places of a member: a name may be left out, and so may the positions in lists."""
    index = rf"(?:{_STEP}\d+)?"
    steps = [
        f"(?:{_STEP}{name})?" if step == ANY_NAME else f"{_STEP}{re.escape(step)}{index}"
        for step in member.path
    ]
    entry = ""
    if member.is_by_name:
        is_pointer = name != _ANY_TEXT
        inside = rf"{_STEP}.+" if member.object_name is None else ""
        entry = f"(?:{_STEP}(?:{name if is_pointer else '<.*>'})(?:{inside})?)?"
    return re.compile("".join([*steps, entry]).removeprefix(_STEP), re.DOTALL)


def list_paths() -> list[str]:
    """Return every path without the names of the author's choice, and every bare name, for suggestions."""
    members = [*walk_members()]
    return [".".join(_drop_names(member)) for member in members] + [member.name for member in members]


def _drop_names(member: Member) -> tuple[str, ...]:
    """Return the path of a member without the names of the author's choice."""
    return tuple(step for step in member.path if step != ANY_NAME)


def describe_member(member: Member) -> Iterator[str]:
    """Yield what is known about a member, as lines of text."""
    yield f"{write_path(member.path)}: {member.kind}{', required' if member.is_required else ''}"
    yield f"  {member.description}"
    for title, text in (("if absent:", member.absent), ("in Python:", member.python)):
        if text:
            yield f"  {title} {text}"
    section = next((each for each in list_sections() if each.object_name == member.object_name), None)
    if section is None or not section.members:
        example = json.dumps(member.example, ensure_ascii=False)
        if len(example) <= _LONGEST_EXAMPLE:
            yield f"  example:   {json.dumps(member.name)}: {example}"
        return
    yield "  members:"
    width = max(len(inner.name) for inner in section.members)
    for inner in section.members:
        yield f"    {inner.name:<{width}}  {inner.description}"
