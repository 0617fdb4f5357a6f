"""The handler of one surface that answers calls: registered once, before the service starts."""

from __future__ import annotations

from typing import Generic, TypeVar

from trellis_nats._calls.replies import SurfaceKind
from trellis_nats._support.callables import describe_callable, find_parameter_problem
from trellis_nats.errors import ConfigurationError, HandlerConflict
from trellis_nats.grants import StartCheck

__all__ = ["Registration"]

HandlerT = TypeVar("HandlerT")


class Registration(Generic[HandlerT]):
    """The handler of one surface, if it has one."""

    def __init__(self, surface: SurfaceKind, name: str) -> None:
        self._what = f'{surface} "{name}"'
        self._handler: HandlerT | None = None
        self._has_started = False

    @property
    def has_handler(self) -> bool:
        """Whether a handler is registered."""
        return self._handler is not None

    @property
    def at_start(self) -> StartCheck:
        """What the start does about the permissions to serve: without a handler nothing needs them."""
        return StartCheck.SKIPPED if self._handler is None else StartCheck.REQUIRED

    def require_open(self) -> None:
        """Check that a handler may be registered now.

        Raises:
            HandlerConflict: there is a handler, or the service has started.
        """
        if self._handler is not None:
            raise HandlerConflict(f"{self._what} already has a handler")
        if self._has_started:
            raise HandlerConflict(f"{self._what}: register its handler before the service starts")

    def register(
        self,
        handler: HandlerT,
        *,
        shown: object = None,
        is_usable: bool,
        expected: str,
        parameters: tuple[str, ...],
    ) -> None:
        """Register a handler that `require_open` allows.

        Raises:
            ConfigurationError: it is not usable, or does not take the parameters; the message says what is expected.
        """
        function: object = shown or handler
        if not is_usable:
            raise ConfigurationError(
                f"{self._what}: the handler {describe_callable(function)} must be {expected}"
            )
        problem = find_parameter_problem(function, *parameters)
        if problem is not None:
            raise ConfigurationError(f"{self._what}: the handler {describe_callable(function)} {problem}")
        self._handler = handler

    def begin(self, *, is_served: bool) -> HandlerT | None:
        """Note that the service starts, and return the handler.

        Raises:
            ConfigurationError: the surface is served already.
        """
        if is_served:
            raise ConfigurationError(f"{self._what} is already served")
        self._has_started = True
        return self._handler
