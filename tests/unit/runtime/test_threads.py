"""Plain functions in threads of their own always have an outcome."""

import asyncio

import pytest
from trellis_nats._support.threads import run_in_thread


class Silent(BaseException):
    """An error whose text cannot be read."""

    def __str__(self) -> str:
        raise ValueError


async def test_an_error_without_a_text_is_an_outcome() -> None:
    def fail(_: None) -> None:
        raise Silent

    with pytest.raises(RuntimeError, match="Silent: the error's text cannot be read"):
        async with asyncio.timeout(5):
            await run_in_thread(fail, None, name="test")
