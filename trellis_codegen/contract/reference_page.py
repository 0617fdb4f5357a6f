"""The reference of the format as a page: `trellis-gen schema --markdown`, and docs/reference/manifest.md."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Final

from trellis_codegen.contract.reference import Member, Section, list_sections, write_path

__all__ = ["write_reference"]

_INTRODUCTION: Final = """\
# The manifest

A contract is one JSON file, a `trellis.contract.v1` manifest. This page has every member of it, with what it becomes in the generated package.
`trellis-gen explain jobs.ackWaitMs` prints one of them, `trellis-gen schema` writes the same as a JSON Schema for editors, and
`trellis-gen validate` checks a manifest.

- A member marked **required** must be there, any other may be left out. There is no `null`.
- A text is never empty. Durations are integers in milliseconds (`…Ms`) up to 292 years, in Python `timedelta`s; sizes are in bytes; other integers go up
  to 2^53-1.
- A schema reference is `{"schema": "Order"}`: the name of an entry of `schemas`. [Schemas](schemas.md) lists the keywords that the models enforce.
- `<name>` stands for a name of your choice. [Names](names.md) explains what it is called in Python.
- A member that the format does not have is a warning, with `--strict` an error.

The examples belong together: they are one contract. `make generate` writes this page from the models that read manifests.
"""


def write_reference() -> str:
    """Return the page."""
    sections = list_sections()
    anchors = {section.object_name: section.anchor for section in sections}
    lines = [line for section in sections for line in _write_section(section, anchors)]
    return "\n".join([_INTRODUCTION, *lines])


def _write_section(section: Section, anchors: Mapping[str, str]) -> Iterator[str]:
    yield f"## {section.title}"
    yield ""
    yield f"`{write_path(section.path)}`: {section.description}" if section.path else section.description
    yield ""
    yield "| member | type | if absent | meaning | in Python |"
    yield "|---|---|---|---|---|"
    yield from (_write_row(member, anchors) for member in section.members)
    yield ""
    if section.path:
        yield "```json"
        yield _write_example(section)
        yield "```"
        yield ""


def _write_row(member: Member, anchors: Mapping[str, str]) -> str:
    anchor = anchors.get(member.object_name or "-")
    kind = f"[{member.kind}](#{anchor})" if anchor else member.kind
    cells = (
        f"`{member.name}`",
        kind,
        "**required**" if member.is_required else member.absent,
        member.description,
        member.python,
    )
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _write_example(section: Section) -> str:
    """Return the object with its name, each member on a line of its own."""
    lines = [
        f"  {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}"
        for key, value in section.example.items()
    ]
    name = f"{json.dumps(section.example_name)}: " if section.example_name else ""
    return "\n".join([f"{name}{{", ",\n".join(lines), "}"])
