"""The record of an operation changes step by step, and keeps what it does not know."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from trellis_nats.operations.model import changes
from trellis_nats.operations.model.record import OperationRecord
from trellis_nats.operations.model.states import OperationState

AT = datetime(2026, 11, 29, 14, 4, 25, 172000, tzinfo=UTC)
NEW = changes.create_record(
    "01M8",
    service="wire",
    operation="Wire.Process",
    owner="",
    runner="r1",
    value={"a": None},
    context={},
    at=AT,
)
BEGUN = changes.begin(NEW, at=AT)
REPORTED = changes.set_progress(BEGUN, {"step": 1}, at=AT)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (NEW, BEGUN, "started"),
        (BEGUN, REPORTED, "progress"),
        (REPORTED, changes.set_progress(REPORTED, {"step": 1}, at=AT), "progress"),
        (REPORTED, changes.begin(REPORTED, at=AT), "started"),  # it runs again
        (REPORTED, changes.end(REPORTED, OperationState.COMPLETED, at=AT, output=None), "completed"),
        (NEW, changes.end(NEW, OperationState.FAILED, at=AT, error={}), "failed"),
        (BEGUN, changes.end(BEGUN, OperationState.CANCELLED, at=AT), "cancelled"),
        (None, BEGUN, "started"),
        (None, REPORTED, "progress"),
    ],
)
def test_what_happened_follows_from_two_records(
    before: OperationRecord | None, after: OperationRecord, expected: str
) -> None:
    assert changes.derive_type(before, after) == expected


def test_an_event_counts_and_a_signal_does_not() -> None:
    signalled = changes.add_signal(REPORTED, "poke", {"by": "me"}, at=AT, request_id="q1")

    assert [each.sequence for each in (NEW, BEGUN, REPORTED, signalled)] == [0, 1, 2, 2]
    assert [each.snapshot.revision for each in (NEW, BEGUN, REPORTED, signalled)] == [1, 2, 3, 3]
    assert (signalled.signal_sequence, signalled.signals[0].input) == (1, {"by": "me"})


def test_the_end_drops_what_running_needs_and_keeps_what_is_not_known() -> None:
    document = {**json.loads(REPORTED.encode()), "ofAnotherRuntime": {"kept": None}}
    record = OperationRecord.parse(json.dumps(document).encode())
    assert record is not None

    ended = json.loads(changes.end(record, OperationState.COMPLETED, at=AT, output={"b": None}).encode())

    assert "execution" not in ended
    assert ended["ofAnotherRuntime"] == {"kept": None}
    assert ended["snapshot"]["output"] == {"b": None}
    assert ended["snapshot"]["progress"] == {"step": 1}


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"sequence":0,"snapshot":{"state":"odd"}}', b"\xff"])
def test_what_is_not_a_record_is_not_read(data: bytes) -> None:
    assert OperationRecord.parse(data) is None
