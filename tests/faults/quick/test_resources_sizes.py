"""Messages larger than the server accepts: the caller gets an error, and nothing else is affected."""

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Final

import pytest
from trellis_nats import JobState, Maintenance, Options, PayloadTooLarge
from trellis_nats._nats.jetstream.api import call
from trellis_nats._nats.jetstream.streams import get_last_message
from trellis_nats.testing import NatsServer

from tests.faults.injection.press import TRIES, Press, PressJob, Sheet, pressing
from tests.support.eventually import eventually

LIMIT: Final = 64 * 1024
"""Bytes, of headers and data together."""
SOON: Final = timedelta(seconds=10)
KEPT: Final = 8 * 1024
"""Of an error's text, in bytes (trellis_nats.jobs.model.event_factory)."""
MARGIN: Final = 2 * 1024
"""More than the rest of an event, without its payload."""


@pytest.fixture
def narrow_server() -> Iterator[NatsServer]:
    with NatsServer(config=f"max_payload: {LIMIT}") as server:
        yield server


@pytest.fixture
async def press(narrow_server: NatsServer) -> AsyncIterator[Press]:
    options = Options(
        shutdown_grace=timedelta(0), maintenance=Maintenance(rescue_every=None, lost_after=timedelta(0))
    )
    async with Press.connect(narrow_server.url, options=options) as press:
        yield press


async def works_on(press: Press) -> None:
    """See that the connection lives and that no slot is held."""
    refs = [await press.jobs.press.create(Sheet(text="plain")) for _ in range(20)]
    for ref in refs:
        assert (await ref.result(timeout=SOON)).text == "done"


@pytest.mark.parametrize("size", [LIMIT - 512, LIMIT, LIMIT + 1, 4 * LIMIT])
async def test_a_payload_that_is_too_large_is_refused_before_it_is_sent(press: Press, size: int) -> None:
    async def odd(job: PressJob) -> Sheet:
        raise AssertionError("it was stored")

    await pressing(press, odd)
    with pytest.raises(PayloadTooLarge, match="exceeds the limit of 65024 bytes"):
        await press.jobs.press.create(Sheet(text="x" * size))
    with pytest.raises(PayloadTooLarge):
        await press.jobs.press.create_many([Sheet(text="plain"), Sheet(text="x" * size)])
    await works_on(press)


async def test_the_largest_payload_is_worked_and_found_again_when_its_message_is_lost(press: Press) -> None:
    """Neither the copy between the streams nor the one that the job rescuer writes may be too large for the server."""

    async def odd(job: PressJob) -> Sheet:
        return Sheet(text=str(len(job.payload.text)))

    text = "x" * await largest(press)
    lost = await press.jobs.press.create(Sheet(text=text))
    connection = press.jobs.runtime.connection

    async def has_come() -> bool:
        message = await get_last_message(connection, "JOBS_WORK", ">")
        return message is not None and lost.id.encode() in message.data

    await eventually(has_come)
    await call(connection, "STREAM.PURGE.JOBS_WORK")
    assert (await press.jobs.rescue_lost()).enqueued == 1
    await pressing(press, odd)
    worked = await press.jobs.press.create(Sheet(text=text))
    assert (await worked.result(timeout=SOON)).text == str(len(text))
    assert (await lost.result(timeout=SOON)).text == str(len(text))


async def test_reports_that_are_too_large_are_dropped_and_their_jobs_go_on(press: Press) -> None:
    async def odd(job: PressJob) -> Sheet:
        await job.progress(message="p" * LIMIT)
        await job.log("l" * LIMIT)
        await job.progress(message="small")
        return job.payload

    await pressing(press, odd)
    ref = await press.jobs.press.create(Sheet(text="odd"))
    snapshot = await ref.wait(timeout=SOON)
    assert (snapshot.state, snapshot.tries) == (JobState.COMPLETED, 1)
    assert snapshot.progress is not None
    assert snapshot.progress.message == "small"
    await works_on(press)


async def test_an_error_that_is_too_large_is_cut(press: Press) -> None:
    async def odd(job: PressJob) -> Sheet:
        raise RuntimeError("e" * 4 * LIMIT)

    await pressing(press, odd)
    ref = await press.jobs.press.create(Sheet(text="odd"))
    snapshot = await ref.wait(timeout=SOON)
    assert (snapshot.state, snapshot.tries) == (JobState.DEAD, TRIES)
    assert KEPT <= len((snapshot.last_error or "").encode()) <= KEPT + 8
    await works_on(press)


@pytest.mark.parametrize("size", [LIMIT - MARGIN, 1])
async def test_a_result_that_fits_is_stored(press: Press, size: int) -> None:
    async def odd(job: PressJob) -> Sheet:
        return Sheet(text="r" * size)

    await pressing(press, odd)
    ref = await press.jobs.press.create(Sheet(text="odd"))
    assert len((await ref.result(timeout=SOON)).text) == size
    await works_on(press)


@pytest.mark.parametrize("size", [LIMIT])
async def test_a_result_that_is_too_large_fails_its_job_and_frees_its_slot(press: Press, size: int) -> None:
    async def odd(job: PressJob) -> Sheet:
        return Sheet(text="r" * size)

    await pressing(press, odd)
    refs = [await press.jobs.press.create(Sheet(text="odd")) for _ in range(3)]
    for ref in refs:
        snapshot = await ref.wait(timeout=timedelta(seconds=1))
        assert (snapshot.state, snapshot.tries) == (JobState.FAILED, 1)
        assert "65024" in (snapshot.last_error or "")
    await works_on(press)


async def largest(press: Press) -> int:
    """Return how many characters a payload may have, by trying."""
    fits, too_many = LIMIT - MARGIN, LIMIT
    while too_many - fits > 1:
        size = (fits + too_many) // 2
        try:
            await (await press.jobs.press.create(Sheet(text="x" * size))).cancel("only to measure")
        except PayloadTooLarge:
            too_many = size
        else:
            fits = size
    return fits
