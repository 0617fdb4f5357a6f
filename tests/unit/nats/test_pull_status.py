"""The table of pull statuses, row by row, with the texts that servers send."""

from __future__ import annotations

import pytest
from trellis_nats._nats.jetstream.pull_status import Meaning, PullStatus, interpret_status
from trellis_nats._nats.wire.message import Message


def status(code: int, text: str, pending: str | None = None) -> Message:
    headers = {} if pending is None else {"Nats-Pending-Messages": pending}
    return Message("inbox", b"", headers, "", code, text)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (status(100, "Idle Heartbeat"), PullStatus(Meaning.ALIVE)),
        (status(404, "No Messages", "3"), PullStatus(Meaning.REQUEST_OVER, 3)),
        (status(408, "Request Timeout", "7"), PullStatus(Meaning.REQUEST_OVER, 7)),
        (status(409, "Batch Completed", "1"), PullStatus(Meaning.REQUEST_OVER, 1)),
        (status(408, "Request Timeout"), PullStatus(Meaning.REQUESTS_LOST)),
        (status(408, "Interest Expired", "7"), PullStatus(Meaning.REQUESTS_LOST)),
        (status(409, "Leadership Change", "7"), PullStatus(Meaning.REQUESTS_LOST)),
        (status(409, "Server Shutdown"), PullStatus(Meaning.REQUESTS_LOST)),
        (status(409, "Exceeded MaxWaiting"), PullStatus(Meaning.REQUESTS_LOST)),
        (status(409, "Consumer Deleted"), PullStatus(Meaning.GONE)),
        (status(503, ""), PullStatus(Meaning.NOT_READY)),
        (status(503, "No Responders Available For Request"), PullStatus(Meaning.NOT_READY)),
        (status(409, "Consumer is push based"), PullStatus(Meaning.REFUSED)),
        (status(409, "Exceeded MaxRequestBatch of 10"), PullStatus(Meaning.REFUSED)),
        (status(409, "Message Size Exceeds MaxBytes"), PullStatus(Meaning.REFUSED)),
        (status(400, "Bad Request - Priority Group missing"), PullStatus(Meaning.REFUSED)),
        (status(412, "Required Api Level"), PullStatus(Meaning.REFUSED)),
        (status(423, "Nats-Wrong-Pin-Id"), PullStatus(Meaning.REFUSED)),
        (status(499, "something new"), PullStatus(Meaning.REQUESTS_LOST)),
    ],
)
def test_each_status_has_its_meaning(message: Message, expected: PullStatus) -> None:
    assert interpret_status(message) == expected
