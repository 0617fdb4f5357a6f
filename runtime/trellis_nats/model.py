"""The base of generated models."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

__all__ = ["Model"]


class Model(BaseModel):
    """A value of a contract's schema: frozen, and as strict as JSON Schema is.

    `"2"` is not the integer 2. Fields are given by their Python name or by their wire name, and written under the
    wire name. Unknown members are ignored, because open objects are how contracts evolve; a schema with
    `additionalProperties: false` generates a class that forbids them. A field that was never set stays absent.
    """

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="ignore",
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        hide_input_in_errors=True,
        # `model_copy(update=…)` and `model_construct` check nothing; what goes out is checked all the same.
        revalidate_instances="always",
    )
