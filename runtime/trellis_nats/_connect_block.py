"""What `connect` returns: a connection that exists only inside the block that opens it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from functools import wraps
from types import TracebackType
from typing import TYPE_CHECKING, Generic, NoReturn, ParamSpec, TypeVar

from typing_extensions import override

from trellis_nats.errors import BlockNotEntered

__all__ = ["open_in_async_with", "open_in_with"]

P = ParamSpec("P")
T = TypeVar("T")


class _Unentered:
    """Raises one error for all that is done with a block except entering it. Type checkers see nothing of this class."""

    def __init__(self, statement: str, call: str, variable: str) -> None:
        self._usage = (statement, call, variable)
        self._is_used = False

    def _use(self) -> None:
        if self._is_used:
            raise BlockNotEntered(*self._usage, is_second=True)
        self._is_used = True

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NoReturn:
            raise BlockNotEntered(*self._usage)

        def __await__(self) -> NoReturn:
            raise BlockNotEntered(*self._usage)


class _AsyncBlock(_Unentered, AbstractAsyncContextManager[T], Generic[T]):
    def __init__(self, block: AbstractAsyncContextManager[T], call: str, variable: str) -> None:
        super().__init__("async with", call, variable)
        self._block = block

    @override
    async def __aenter__(self) -> T:
        self._use()
        return await self._block.__aenter__()

    @override
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> bool | None:
        return await self._block.__aexit__(kind, error, at)

    if not TYPE_CHECKING:

        def __enter__(self) -> NoReturn:
            raise BlockNotEntered(*self._usage)

        def __exit__(self, *error: object) -> None:
            """Exist: Python looks for it before it enters."""


class _Block(_Unentered, AbstractContextManager[T], Generic[T]):
    def __init__(self, block: AbstractContextManager[T], call: str, variable: str) -> None:
        super().__init__("with", call, variable)
        self._block = block

    @override
    def __enter__(self) -> T:
        self._use()
        return self._block.__enter__()

    @override
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> bool | None:
        return self._block.__exit__(kind, error, at)

    if not TYPE_CHECKING:

        async def __aenter__(self) -> NoReturn:
            raise BlockNotEntered(*self._usage)

        async def __aexit__(self, *error: object) -> None:
            """Exist: Python looks for it before it enters."""


def open_in_async_with(
    variable: str,
) -> Callable[[Callable[P, AsyncGenerator[T]]], Callable[P, AbstractAsyncContextManager[T]]]:
    """Make an `async with` block of a generator, as `asynccontextmanager` does, which says how it is used where it is not.

    `variable` is the name of what the block gives, in the text of the error.
    """

    def decorate(function: Callable[P, AsyncGenerator[T]]) -> Callable[P, AbstractAsyncContextManager[T]]:
        build = asynccontextmanager(function)

        @wraps(function)
        def make_block(*args: P.args, **kwargs: P.kwargs) -> AbstractAsyncContextManager[T]:
            return _AsyncBlock(build(*args, **kwargs), _describe_call(function, args), variable)

        return make_block

    return decorate


def open_in_with(
    variable: str,
) -> Callable[[Callable[P, AbstractContextManager[T]]], Callable[P, AbstractContextManager[T]]]:
    """Let the `with` block that a function returns say how it is used where it is not; else as `open_in_async_with`."""

    def decorate(
        function: Callable[P, AbstractContextManager[T]],
    ) -> Callable[P, AbstractContextManager[T]]:
        @wraps(function)
        def make_block(*args: P.args, **kwargs: P.kwargs) -> AbstractContextManager[T]:
            return _Block(function(*args, **kwargs), _describe_call(function, args), variable)

        return make_block

    return decorate


def _describe_call(function: Callable[..., object], args: tuple[object, ...]) -> str:
    """Return `OrdersService.connect(…)` for a class method, and `trellis_admin.connect(…)` for a function."""
    owner = args[0].__name__ if args and isinstance(args[0], type) else function.__module__.partition(".")[0]
    return f"{owner}.{function.__name__}(…)"
