"""A job's creator names the record that it left, if the job is alone in it; its worker believes that for a minute."""

from datetime import timedelta

import pytest
from pydantic import JsonValue
from trellis_nats.jobs.keys.acquire import SlotRequest
from trellis_nats.jobs.keys.model.left_record import LeftRecord, left_line, left_record
from trellis_nats.jobs.keys.model.record import KeyRecord, QueueEntry

from tests.support.keyed_records import AT, entry, record, slot

NAME = "trellis-key-record"


def test_the_record_that_is_named_is_read_back() -> None:
    alone = record([], [entry("A")])._replace(takeovers=2)

    line = left_line(alone, 41, "A")

    name, _, value = line.decode().removesuffix("\r\n").partition(": ")
    assert left_record({name: value}, written=AT, at=AT + timedelta(seconds=60)) == LeftRecord(41, 2)


@pytest.mark.parametrize(
    "shared",
    [
        record([], [entry("A"), entry("B")]),
        record([slot("B")], [entry("A")]),
        record([], [entry("B")]),
        record([], []),
        record([], [entry("A", retry_at=AT)]),
        record([], [entry("A")])._replace(extra={"acceptedBySubmissionId": {}}),
        record([], [entry("A")._replace(extra={"submissionId": "A"})]),
    ],
    ids=["waits with another", "waits for another", "not in it", "empty", "delayed", "extended", "submitted"],
)
def test_a_record_with_more_than_the_new_job_is_not_named(shared: KeyRecord) -> None:
    assert left_line(shared, 41, "A") == b""


@pytest.mark.parametrize("value", ["", "41", "0 0", "-1 0", "41 0 0", "4\u0661 0", "1" * 20 + " 0", "41 0\n"])
def test_a_malformed_header_names_no_record(value: str) -> None:
    assert left_record({NAME: value}, written=AT, at=AT) is None


def test_the_header_of_an_older_event_does_not_count() -> None:
    """A bucket that was restored meanwhile assigns its revisions a second time."""
    late = AT + timedelta(seconds=61)

    assert left_record({NAME: "41 0"}, written=AT, at=late) is None
    assert left_record({NAME: "41 0"}, written=late, at=AT) is None, "the clocks differ too much to know"
    assert left_record({}, written=AT, at=AT) is None


def test_the_entry_in_a_left_record_names_the_request() -> None:
    context: JsonValue = {"requestId": "R", "traceId": "T", "traceparent": "P"}
    request = SlotRequest("A", "2026-11-02T10:00:00.000Z", 1, context, skips_queue=False, deadline=None)

    assert request.entry() == QueueEntry("A", "2026-11-02T10:00:00.000Z", "R", context)
