"""Converts the plain values of a command line without pydantic.

typer converts values by means of pydantic, even those that are not given, and importing pydantic takes longer than a run with
nothing to do. Plain values are converted here, by their type. Any other value, and every mistake, is left to typer.

Nothing but time depends on this: a release of typer in which it has no effect converts every value as its own do now.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, cast, get_args

from typer.core import TyperCommand, TyperGroup

__all__ = ["PlainCommand", "PlainGroup"]

_Process: TypeAlias = Callable[[Any, Any], Any]


# Any: typer keeps the types of contexts and parameters private.
class PlainCommand(TyperCommand):
    """A command whose plain values are converted here."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the arguments and options of the command."""
        return _convert_plain_values(super().get_params(ctx))


class PlainGroup(TyperGroup):
    """A group of commands whose plain values are converted here."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the options of the group."""
        return _convert_plain_values(super().get_params(ctx))


def _convert_plain_values(parameters: list[Any]) -> list[Any]:
    for parameter in parameters:
        if hasattr(parameter, "process_value") and "process_value" not in vars(parameter):
            parameter.process_value = partial(_process_value, parameter, parameter.process_value)
    return parameters


def _process_value(parameter: Any, process_value: _Process, ctx: Any, value: Any) -> Any:
    """Return what the command gets for a value of the command line, as typer's method of this name does."""
    try:
        converted = _convert(parameter, value)
    except ValueError:
        return process_value(ctx, value)
    if parameter.required and not converted:
        return process_value(ctx, value)
    return converted if parameter.callback is None else parameter.callback(ctx, parameter, converted)


def _convert(parameter: Any, value: object) -> object:
    """Return a plain value converted; None, or an empty tuple of several, for one that is not given.

    Raises:
        ValueError: it is not plain, or a mistake.
    """
    is_multiple = parameter.multiple or parameter.nargs != 1
    if value is None:
        return () if is_multiple else None
    annotation: object = getattr(getattr(parameter, "type_descriptor", None), "annotation", None)
    if isinstance(value, str):
        return _convert_text(annotation, value)
    if is_multiple and isinstance(value, list | tuple):
        (item_annotation,) = get_args(annotation)
        return [_convert_text(item_annotation, str(item)) for item in cast("Iterable[object]", value)]
    raise ValueError(value)


def _convert_text(annotation: object, text: str) -> object:
    if annotation is str:
        return text
    if isinstance(annotation, type):
        kind = cast("type[object]", annotation)
        if issubclass(kind, StrEnum | Path):
            return kind(text)
    raise ValueError(annotation)
