"""The base class of generated models."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler
from pydantic_core import CoreSchema
from typing_extensions import override

from trellis_nats._support.union_labels import label_unions

__all__ = ["Model"]


class Model(BaseModel):
    """A value of a contract's schema: frozen, and as strict as JSON Schema.

    `"2"` is not the integer 2. Fields are passed by their Python name or by their wire name, and serialised under the
    wire name. Unknown members are ignored, so that contracts can evolve; a schema with
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
        # JSON has no NaN and no infinity.
        allow_inf_nan=False,
        # Validators are built at first use, so that importing a package is cheap.
        defer_build=True,
    )

    @classmethod
    @override
    def __pydantic_init_subclass__(cls, **options: object) -> None:
        """Let an adapter of the class be built with the options of the code that makes it, such as those of FastAPI.

        The class itself is not built here: that was decided before.
        """
        super().__pydantic_init_subclass__(**options)
        cls.model_config = {**cls.model_config, "defer_build": False}

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[BaseModel], handler: GetCoreSchemaHandler, /
    ) -> CoreSchema:
        """Return the core schema of the class, with names for the members of unions."""
        schema = handler(source)
        label_unions(handler.resolve_ref_schema(schema), handler)
        return schema

    def model_dump(self, *, exclude_unset: bool = True, **options: Any) -> dict[str, Any]:  # pyright: ignore[reportExplicitAny, reportAny] - pydantic's own signature
        """Return the value as a dictionary, by wire names, without fields that were never set.

        The other options are those of pydantic's `BaseModel.model_dump`.
        """
        return super().model_dump(exclude_unset=exclude_unset, **options)

    def model_dump_json(self, *, exclude_unset: bool = True, **options: Any) -> str:  # pyright: ignore[reportExplicitAny, reportAny] - likewise
        """Return the value as JSON text, by wire names, without fields that were never set.

        The other options are those of pydantic's `BaseModel.model_dump_json`.
        """
        return super().model_dump_json(exclude_unset=exclude_unset, **options)
