"""The base class and the field types of the contract format, and what a member says about itself."""

from __future__ import annotations

from typing import Annotated, Any, Final, TypeAlias

from pydantic import AliasGenerator, BaseModel, ConfigDict, Field, JsonValue
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticUndefined

__all__ = [
    "NO_DOCS",
    "Count",
    "Docs",
    "Natural",
    "Part",
    "Pointer",
    "SchemaRef",
    "Text",
    "Version",
    "member",
]

Text: TypeAlias = Annotated[str, Field(min_length=1)]
"""A text that is not empty."""
Version: TypeAlias = Annotated[str, Field(pattern=r"^v[0-9]+$")]
"""`v1`, `v2`, …"""
Count: TypeAlias = Annotated[int, Field(ge=1)]
"""At least one."""
Natural: TypeAlias = Annotated[int, Field(ge=0)]
"""Zero or more."""
Pointer: TypeAlias = Annotated[str, Field(pattern=r"^/")]
"""A JSON pointer to a member."""

NO_DOCS: Final = "the docstring names what it documents"
"""What it means to leave out `docs`."""


def member(
    description: str,
    *,
    default: JsonValue = None,
    absent: str | None = None,
    example: JsonValue = None,
    python: str = "",
    alias: str | None = None,
    min_length: int | None = None,
) -> Any:
    """Return a member with what the reference says about it.

    A member with neither `default` nor `absent` is required. `absent` says in words what it means to leave it out. `example` is
    a value; for objects by name it is the name of one. `python` is empty where the object says it.
    """
    facts: dict[str, JsonValue] = {"python": python}
    if example is not None:
        facts["examples"] = [example]
    if default is not None:
        facts["default"] = default
    if absent is not None:
        facts["absent"] = absent
    is_required = default is None and absent is None
    return Field(
        default=PydanticUndefined if is_required else None,
        description=description,
        alias=alias,
        min_length=min_length,
        json_schema_extra=facts,
    )


class Part(BaseModel):
    """An object of the format: camelCase on the wire, no coercion, frozen."""

    model_config = ConfigDict(
        alias_generator=AliasGenerator(alias=to_camel),
        extra="forbid",
        frozen=True,
        strict=True,
        validate_by_name=False,
    )


class SchemaRef(Part):
    """A reference to an entry of `schemas`."""

    schema_name: str = member("The name of the schema.", alias="schema", example="Order", min_length=1)


class Docs(Part):
    """Documentation for people. It becomes the docstring in Python, and is not part of the digest."""

    summary: Text | None = member(
        "One sentence.",
        absent="the docstring has `markdown` alone",
        example="What it is, in one sentence.",
        python="the first paragraph of the docstring",
    )
    markdown: Text = member(
        "The explanation, in Markdown.",
        example="All that its users need to know, with *Markdown*.",
        python="the docstring, after `summary`",
    )
