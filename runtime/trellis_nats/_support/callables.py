"""What is known about a user's function before it is called."""

from __future__ import annotations

import inspect

__all__ = ["describe_callable", "find_parameter_problem", "is_coroutine_function"]


def is_coroutine_function(function: object) -> bool:
    """Return whether a function is an `async def`, or an object that is called as one."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def describe_callable(function: object) -> str:
    """Return the name of a function, or the representation of another object."""
    name = getattr(function, "__qualname__", None)
    return f'"{name.replace("<locals>.", "")}"' if isinstance(name, str) else f"{function!r:.100}"


def find_parameter_problem(function: object, *names: str) -> str | None:
    """Return what a function must take, and why it does not; None if it does, or if that is not known."""
    if not callable(function):
        return None
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some functions that are written in C do not say
        return None
    try:
        signature.bind(*names)
    except TypeError as error:
        return f"must take ({', '.join(names)}): {error}"
    return None
