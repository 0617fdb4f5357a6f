"""What runs in one process of a group: the function of the program."""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
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
        _say(str(error))
        sys.exit(NOT_FOUND)
    tell_group(LOADED)
    try:
        result = target()
        if inspect.iscoroutine(result):
            asyncio.run(result)
    except _START_ERRORS as error:
        sys.exit("\n".join((f"{type(error).__name__}: {error}", *getattr(error, "__notes__", ()))))


class FunctionNotFound(Exception):
    """There is no such module, or no function in it that a process can run."""


def find_function(module: str, function: str) -> Callable[[], object]:
    """Import a module, and return a function of it.

    Raises:
        FunctionNotFound: see there. What the import of an existing module raises is not changed; a line before says which.
    """
    name = f"{module}:{function}"
    if module.startswith("."):
        raise FunctionNotFound(f'the module "{module}" must have its full name, without a leading dot')
    found = _import(module)
    if not hasattr(found, function):
        file = getattr(found, "__file__", None)  # absent for a folder, and for a module of the interpreter
        where = "" if file is None else f" ({file})"
        raise FunctionNotFound(f"module {module}{where} has no function {function}")
    target: object = getattr(found, function)
    if (kind := _kind_that_runs_nothing(target)) is not None:
        raise FunctionNotFound(f"{name} is {kind}; name a function that runs the service, as in main:main")
    program = cast("Callable[[], object]", target)
    try:
        inspect.signature(program).bind()
    except TypeError as error:
        raise FunctionNotFound(f"{name} must take no arguments: {error}") from None
    except ValueError:
        raise FunctionNotFound(
            f"{name} is compiled, and does not say which arguments it takes; name a function that calls it"
        ) from None
    return program


def _import(module: str) -> ModuleType:
    try:
        return import_module(module)
    except SystemExit as error:
        _say(f"module {module} exits while it is imported: {error!r}")
        raise
    except Exception as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is not None and f"{module}.".startswith(f"{missing}."):
            raise FunctionNotFound(
                f"there is no module {missing}, neither in {Path.cwd()} nor installed in {sys.prefix}"
            ) from None
        _say(f"the import of module {module} failed")
        raise


def _kind_that_runs_nothing(target: object) -> str | None:
    if inspect.isclass(target):
        return "a class"
    if inspect.isasyncgenfunction(target) or inspect.isgeneratorfunction(target):
        return "a generator function, as it has a `yield`"
    if inspect.iscoroutine(target):
        return "a coroutine, the result of a call"
    return None if callable(target) else f"of the type {type(target).__name__}"


def _say(text: str) -> None:
    sys.stderr.write(f"python -m trellis_nats.run: {text}\n")
