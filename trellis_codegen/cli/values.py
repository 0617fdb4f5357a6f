"""Converts the values of a command line without pydantic.

typer converts every value by means of pydantic, even one that is not given, and importing pydantic takes longer than a run
with nothing to do. What these converters return is what typer's would return, so nothing but time depends on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

__all__ = ["Command", "Group"]


class Command(TyperCommand):
    """A command that gets values converted here."""

    def get_params(self, ctx: Any) -> list[Any]:  # Any: typer keeps these types private
        """Return the arguments and options of the command."""
        return _convert_by_type(super().get_params(ctx))


class Group(TyperGroup):
    """A group of commands that gets values converted here."""

    def get_params(self, ctx: Any) -> list[Any]:  # Any: as above
        """Return the options of the group."""
        return _convert_by_type(super().get_params(ctx))


def _convert_by_type(parameters: list[Any]) -> list[Any]:
    """Let each parameter convert a value by calling the parameter's type."""
    for parameter in parameters:
        # typer keeps here the converter that it makes for the first value.
        vars(parameter)["_runtime_param"] = _Converter()
    return parameters


class _Converter:
    """Has the one method of typer's converters that typer calls."""

    def coerce(
        self, value: str | Sequence[str] | None, param: TyperArgument | TyperOption, ctx: typer.Context
    ) -> object:
        """Return the value that a command gets; None for one that is not given.

        Raises:
            BadParameter: the value is not one of the parameter's choices.
        """
        if value is None:
            return None
        kind = param.type_descriptor.annotation
        try:
            if isinstance(value, str):
                return kind(value)
            item_kind = get_args(kind)[0]
            return [item_kind(item) for item in value]
        except ValueError:
            choices = ", ".join(param.type_descriptor.choices or ())
            raise typer.BadParameter(f'"{value}" is not one of {choices}', ctx=ctx, param=param) from None
