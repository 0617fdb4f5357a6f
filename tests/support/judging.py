"""The `jsonschema` library, typed: the judge of what a schema allows."""

from __future__ import annotations

import importlib
from typing import Protocol, cast

from pydantic import JsonValue

__all__ = ["Judge", "judge_of"]


class Judge(Protocol):
    """A validator of the library, as far as tests use it."""

    def is_valid(self, instance: JsonValue) -> bool:
        """Whether a value matches the schema."""
        ...


def judge_of(schema: JsonValue) -> Judge:
    """Return the judge of a schema, by the rules of draft 2020-12."""
    # The library comes without types.
    return cast("Judge", importlib.import_module("jsonschema").Draft202012Validator(schema))
