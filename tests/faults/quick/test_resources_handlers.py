"""Handlers that end in odd ways: each is an outcome with its own words, and takes neither slot nor process along."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Final

import pytest
from trellis_nats import JobState
from trellis_nats.testing import NatsServer

from tests.faults.injection.press import TRIES, Press, PressJob, Sheet, pressing

SOON: Final = timedelta(seconds=10)
LONE: Final = "\ud800"
"""A lone surrogate, which no UTF-8 has."""


class Unheard(BaseException):
    """Not an Exception."""


class Speechless(Exception):
    """Whose text cannot be had."""

    def __str__(self) -> str:
        raise ValueError("no text")


async def deeper(job: PressJob) -> Sheet:
    return await deeper(job)


def raising(error: BaseException) -> Callable[[PressJob], Awaitable[Sheet]]:
    async def odd(job: PressJob) -> Sheet:
        raise error

    return odd


async def leaking(job: PressJob) -> Sheet:
    LEAKED.append(asyncio.create_task(asyncio.sleep(30), name="leaked"))
    return job.payload


async def logging_a_surrogate(job: PressJob) -> Sheet:
    await job.log(LONE)
    return job.payload


async def returning_a_surrogate(job: PressJob) -> Sheet:
    return Sheet.model_construct(text=LONE)


LEAKED: Final[list[asyncio.Task[None]]] = []
MISBEHAVIOURS: Final[Mapping[str, Callable[[PressJob], Awaitable[Sheet]]]] = {
    "recursion": deeper,
    "exit": raising(SystemExit(3)),
    "cancels itself": raising(asyncio.CancelledError()),
    "base exception": raising(Unheard("unheard of")),
    "generator exit": raising(GeneratorExit()),
    "speechless": raising(Speechless()),
    "surrogate in the error": raising(RuntimeError(LONE)),
    "leaks a task": leaking,
    "surrogate in the log": logging_a_surrogate,
    "surrogate in the result": returning_a_surrogate,
}


async def ends_as(server: NatsServer, misbehaviour: str) -> tuple[JobState, int, str]:
    """Run four jobs that misbehave, twice as many as there are slots, and see that others are worked after them."""
    async with Press.connect(server.url) as press:
        await pressing(press, MISBEHAVIOURS[misbehaviour])
        refs = [await press.jobs.press.create(Sheet(text=misbehaviour)) for _ in range(4)]
        plain = [await press.jobs.press.create(Sheet(text="plain")) for _ in range(10)]
        for ref in plain:
            assert (await ref.result(timeout=SOON)).text == "done"
        snapshots = [await ref.wait(timeout=SOON) for ref in refs]
    while LEAKED:
        LEAKED.pop().cancel()
    ends = {(each.state, each.tries, each.last_error or "") for each in snapshots}
    assert len(ends) == 1
    return ends.pop()


@pytest.mark.parametrize(
    ("misbehaviour", "words"),
    [
        ("recursion", "RecursionError: maximum recursion depth exceeded"),
        ("exit", "SystemExit: 3"),
        ("cancels itself", "the handler cancelled itself"),
        ("surrogate in the error", "RuntimeError: \ufffd"),
        ("base exception", "Unheard: unheard of"),
        ("generator exit", "GeneratorExit"),
        ("speechless", "Speechless"),
    ],
)
async def test_whatever_a_handler_raises_is_an_outcome_with_its_words(
    nats_server: NatsServer, misbehaviour: str, words: str
) -> None:
    state, tries, error = await ends_as(nats_server, misbehaviour)
    assert (state, tries) == (JobState.DEAD, TRIES)
    assert error.startswith(words)


@pytest.mark.parametrize("misbehaviour", ["leaks a task", "surrogate in the log"])
async def test_what_does_not_concern_the_result_does_not_change_it(
    nats_server: NatsServer, misbehaviour: str
) -> None:
    assert await ends_as(nats_server, misbehaviour) == (JobState.COMPLETED, 1, "")


async def test_a_result_that_no_json_can_hold_fails_its_job(nats_server: NatsServer) -> None:
    state, tries, _ = await ends_as(nats_server, "surrogate in the result")
    assert (state, tries) == (JobState.FAILED, 1)
