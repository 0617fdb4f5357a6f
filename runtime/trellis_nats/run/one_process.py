"""What runs in one process of a group: the function of the program."""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Final, cast

from trellis_nats._support.process_group import join_group, tell_group
from trellis_nats.errors import CannotConnect, ConfigurationError, PermissionsMissing, ProvisioningError

__all__ = ["LOADED", "NOT_FOUND", "FunctionNotFound", "find_function", "run_target"]

LOADED: Final = "loaded"
"""What a process tells its group when it has found the function."""
NOT_FOUND: Final = 2
"""The exit code of a process that did not find the function."""
_START_ERRORS: Final = (CannotConnect, ConfigurationError, PermissionsMissing, ProvisioningError)
"""What a program that does not fit its surroundings raises: the text says everything, a traceback nothing more."""


def run_target(module: str, function: str, *, link: int, kill_after: float | None) -> None:
    """Join the group and call the function; run a coroutine that it returns.

    Raises:
        SystemExit: the function was not found, or it raised an error that says what a person must do.
    """
    join_group(link, kill_after=kill_after)
    try:
        target = find_function(module, function)
    except FunctionNotFound as error:
        sys.stderr.write(f"python -m trellis_nats.run: {error}\n")
        sys.exit(NOT_FOUND)
    tell_group(LOADED)
    try:
        result = target()
        if inspect.iscoroutine(result):
            asyncio.run(result)
    except _START_ERRORS as error:
        sys.exit("\n".join((f"{type(error).__name__}: {error}", *getattr(error, "__notes__", ()))))


class FunctionNotFound(Exception):
    """There is no such module, or nothing in it that can be called without arguments."""


def find_function(module: str, function: str) -> Callable[[], object]:
    """Import a module, and return a function of it.

    Raises:
        FunctionNotFound: see there. What the import of an existing module raises is not changed.
    """
    if module.startswith("."):
        raise FunctionNotFound(f'the module "{module}" must have its full name, without a leading dot')
    try:
        found = import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        raise FunctionNotFound(
            f"there is no module {error.name}, neither in {Path.cwd()} nor installed in {sys.prefix}"
        ) from None
    target: object = getattr(found, function, None)
    if target is None:
        file = getattr(found, "__file__", None)  # absent for a folder, and for a module of the interpreter
        where = "" if file is None else f" ({file})"
        raise FunctionNotFound(f"module {module}{where} has no function {function}")
    if not callable(target):
        raise FunctionNotFound(f"{module}:{function} is a {type(target).__name__}, not a function")
    program = cast("Callable[[], object]", target)
    try:
        inspect.signature(program).bind()
    except TypeError as error:
        raise FunctionNotFound(f"{module}:{function} must take no arguments: {error}") from None
    return program
