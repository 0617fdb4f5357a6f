"""A write whose acknowledgement was lost is repeated until its outcome is known."""

import pytest
from trellis_nats._nats.jetstream.repeat_write import RepeatRefused, repeat_write
from trellis_nats._support.log_events import LogEvent
from trellis_nats.errors import ApiError, NotConnected, TransportError, WriteUnknown, WrongLastSequence
from trellis_nats.testing import LogSignals

LOST = WriteUnknown("no acknowledgement")
DOWN = NotConnected("no connection")
FULL = ApiError(request="publishing", code=503, err_code=10077, description="full")
NEWER = WrongLastSequence(request="publishing", code=400, err_code=10071, description="wrong last sequence")


class Stream:
    """Answers each write with the next of some outcomes."""

    def __init__(self, *outcomes: int | TransportError) -> None:
        self.outcomes = list(outcomes)

    async def write(self) -> int:
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, TransportError):
            raise outcome
        return outcome


@pytest.mark.parametrize(
    "outcomes", [(7,), (LOST, 7), (LOST, LOST, 7), (LOST, DOWN, 7), (LOST, FULL, 7)], ids=str
)
async def test_the_result_of_the_write_that_is_acknowledged_is_returned(
    outcomes: tuple[int | TransportError, ...],
) -> None:
    stream = Stream(*outcomes)

    assert await repeat_write(stream.write, what="it") == 7
    assert stream.outcomes == []


@pytest.mark.parametrize("outcome", [DOWN, FULL, NEWER], ids=str)
async def test_a_first_write_that_failed_for_certain_is_not_repeated(outcome: TransportError) -> None:
    with pytest.raises(type(outcome)) as raised:
        await repeat_write(Stream(outcome).write, what="it")

    assert raised.value is outcome


@pytest.mark.parametrize(
    "outcomes", [(LOST, LOST, LOST, 7), (LOST, DOWN, DOWN, 7), (LOST, FULL, LOST, 7)], ids=str
)
async def test_after_three_writes_the_outcome_stays_unknown(
    outcomes: tuple[int | TransportError, ...],
) -> None:
    stream = Stream(*outcomes)

    with pytest.raises(
        WriteUnknown, match="it may have been stored: none of 3 writes was acknowledged"
    ) as raised:
        await repeat_write(stream.write, what="it")

    assert not isinstance(raised.value, RepeatRefused)
    assert stream.outcomes == [7]


async def test_a_repeat_that_the_fence_refuses_ends_it() -> None:
    """The first write may be what is stored: only a read can tell."""
    stream = Stream(LOST, NEWER, 7)

    with pytest.raises(RepeatRefused):
        await repeat_write(stream.write, what="it")

    assert stream.outcomes == [7]


async def test_each_repeat_is_logged() -> None:
    with LogSignals() as signals:
        await repeat_write(Stream(LOST, LOST, 7).write, what="it", job_id="j1")

    assert len(signals.of(LogEvent.WRITE_REPEATED, job_id="j1")) == 2
