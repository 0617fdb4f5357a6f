"""Leaves values of a command line unconverted where no code uses them, so that help and completion import no pydantic.

typer converts a value by means of pydantic, even one that is not given.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

__all__ = ["convert_only_what_is_used"]


# Any: typer keeps the types of commands, parameters and contexts private.
def convert_only_what_is_used(command: Any) -> None:
    """Convert only values that are given, and none while a shell completes, for a command and those below it.

    Without effect in a release of typer that converts values in another way.
    """
    command.get_params = partial(_get_params, command.get_params)
    for subcommand in getattr(command, "commands", {}).values():
        convert_only_what_is_used(subcommand)


def _get_params(get_params: Callable[[Any], list[Any]], ctx: Any) -> list[Any]:
    parameters = get_params(ctx)
    for parameter in parameters:
        if hasattr(parameter, "process_value") and "process_value" not in vars(parameter):
            parameter.process_value = partial(_process_value, parameter, parameter.process_value)
    return parameters


def _process_value(parameter: Any, process_value: Callable[[Any, Any], Any], ctx: Any, value: Any) -> Any:
    is_single = not parameter.multiple and parameter.nargs == 1
    if ctx.resilient_parsing or (value is None and is_single and not parameter.required):
        return value
    return process_value(ctx, value)
