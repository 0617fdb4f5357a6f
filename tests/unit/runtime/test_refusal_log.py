"""The log of refused callers: a line a second, in which a noisy one hides no other."""

import asyncio
import logging

import pytest
from trellis_nats._calls import refusal_log
from trellis_nats._calls.refusal_log import RefusalLog
from trellis_nats._support.log_events import log_fields
from trellis_nats.testing import LogEvent, LogSignals

LOG = logging.getLogger("trellis_nats._calls.refusal_log.test")
FIELDS = log_fields(LogEvent.CALL_REFUSED)


def refuse(log: RefusalLog, caller: str, *, is_known: bool = True) -> None:
    log.write("%s is not admitted", caller, refusal=f"{caller} (reason)", is_known=is_known, extra=FIELDS)


async def test_a_noisy_caller_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusal_log, "_EVERY", 0.05)
    log = RefusalLog(LOG, 'rpc "A.B"', FIELDS)
    with LogSignals(logging.WARNING) as signals:
        for _ in range(100):
            refuse(log, "noisy")
        refuse(log, "quiet")
        for number in range(1000):  # made up
            refuse(log, f"stranger {number}", is_known=False)
        refuse(log, "late")
        await signals.wait_for(LogEvent.CALL_REFUSED, count=2)
        lines = [record.getMessage() for record in signals.of(LogEvent.CALL_REFUSED)]
    first, second = lines
    assert first == "noisy is not admitted"
    assert second.startswith(
        'rpc "A.B": 1,101 more requests were not admitted: 99 of noisy (reason); 1 of quiet (reason); '
    )
    assert "; 1 of late (reason); 1 of stranger 0 (reason); " in second
    assert second.endswith("; 1 of stranger 4 (reason); 995 of others")


async def test_a_refusal_long_after_the_last_one_is_logged_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusal_log, "_EVERY", 0)
    log = RefusalLog(LOG, 'rpc "A.B"', FIELDS)
    with LogSignals(logging.WARNING) as signals:
        refuse(log, "first")
        for _ in range(3):  # the timer has run
            await asyncio.sleep(0)
        refuse(log, "second")
        lines = [record.getMessage() for record in signals.of(LogEvent.CALL_REFUSED)]
    assert lines == ["first is not admitted", "second is not admitted"]
