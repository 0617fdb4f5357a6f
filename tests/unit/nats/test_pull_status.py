"""The table of pull statuses, row by row, with the texts that servers send."""

from __future__ import annotations

import pytest
from trellis_nats._nats.jetstream.pull_status import Meaning, Verdict, judge
from trellis_nats._nats.wire.message import Message


def status(code: int, text: str, pending: str | None = None) -> Message:
    headers = {} if pending is None else {"Nats-Pending-Messages": pending}
    return Message("inbox", b"", headers, "", code, text)


@pytest.mark.parametrize(
    ("message", "verdict"),
    [
        (status(100, "Idle Heartbeat"), Verdict(Meaning.ALIVE)),
        (status(404, "No Messages", "3"), Verdict(Meaning.REQUEST_OVER, 3)),
        (status(408, "Request Timeout", "7"), Verdict(Meaning.REQUEST_OVER, 7)),
        (status(409, "Batch Completed", "1"), Verdict(Meaning.REQUEST_OVER, 1)),
        (status(408, "Request Timeout"), Verdict(Meaning.REQUESTS_LOST)),
        (status(408, "Interest Expired", "7"), Verdict(Meaning.REQUESTS_LOST)),
        (status(409, "Leadership Change", "7"), Verdict(Meaning.REQUESTS_LOST)),
        (status(409, "Server Shutdown"), Verdict(Meaning.REQUESTS_LOST)),
        (status(409, "Exceeded MaxWaiting"), Verdict(Meaning.REQUESTS_LOST)),
        (status(409, "Consumer Deleted"), Verdict(Meaning.GONE)),
        (status(503, ""), Verdict(Meaning.NOT_READY)),
        (status(503, "No Responders Available For Request"), Verdict(Meaning.NOT_READY)),
        (status(409, "Consumer is push based"), Verdict(Meaning.REFUSED)),
        (status(409, "Exceeded MaxRequestBatch of 10"), Verdict(Meaning.REFUSED)),
        (status(409, "Message Size Exceeds MaxBytes"), Verdict(Meaning.REFUSED)),
        (status(400, "Bad Request - Priority Group missing"), Verdict(Meaning.REFUSED)),
        (status(412, "Required Api Level"), Verdict(Meaning.REFUSED)),
        (status(423, "Nats-Wrong-Pin-Id"), Verdict(Meaning.REFUSED)),
        (status(499, "something new"), Verdict(Meaning.REQUESTS_LOST)),
    ],
)
def test_each_status_has_its_meaning(message: Message, verdict: Verdict) -> None:
    assert judge(message) == verdict
