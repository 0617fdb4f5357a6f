"""The base class and the field types of the contract format."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import AliasGenerator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

__all__ = ["Count", "Docs", "Natural", "Part", "Pointer", "SchemaRef", "Text", "Version"]

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
    """The name of an entry of `schemas`."""

    schema_name: str = Field(alias="schema", min_length=1)


class Docs(Part):
    """Documentation for people."""

    summary: Text | None = None
    markdown: Text
