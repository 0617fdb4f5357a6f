"""What the audit log stores, and what its filter means."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trellis_admin.audit_log import (
    Action,
    AuditFilterProblem,
    AuditRecord,
    Kind,
    Outcome,
    Phase,
    clean_text,
    parse_audit_filter,
)

NOW = datetime(2026, 11, 29, 14, 0, tzinfo=UTC)


def record(**changes: object) -> AuditRecord:
    values: dict[str, object] = {
        "id": "01M8KTSYJ4MNPZX45HY43KWJRP",
        "kind": Kind.BULK,
        "action": Action.REPLAY,
        "actor": "oncall-eu",
        "source": "console",
        "target": {"filter": "state:dead queue:charge-payment", "at": 48_211_906, "count": 2_914},
        "reason": "gateway is back, INC-2287",
        "at": NOW,
    }
    return AuditRecord(**{**values, **changes})  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] - a test builds it from parts


def test_a_record_is_read_as_it_was_written() -> None:
    before = record()
    after = before.ended(Outcome(Phase.DONE, "316 completed", NOW + timedelta(seconds=3), {"sent": 318}))

    assert AuditRecord.parse(before.encode()) == before
    assert AuditRecord.parse(after.encode()) == after
    assert (before.id, before.subject) == (
        after.id,
        "trellis.audit.bulk.replay.01M8KTSYJ4MNPZX45HY43KWJRP.began",
    )
    assert after.subject.endswith(".done")


@given(st.text(), st.text(), st.dictionaries(st.text(), st.text() | st.lists(st.text()), max_size=60))
def test_any_text_is_stored_in_a_bounded_record(
    actor: str, reason: str, target: dict[str, str | list[str]]
) -> None:
    data = record(actor=actor, reason=reason * 50, target=target).encode()

    read = AuditRecord.parse(data)
    assert read is not None
    assert len(data) < 600_000
    assert read.reason.isprintable()
    assert read.actor.isprintable()


def test_a_reason_loses_what_moves_a_cursor_or_turns_text_around() -> None:
    assert clean_text("gone\x1b[2J\r\nnow\u202e2x") == "gone [2J  now 2x"
    assert clean_text("a" * 20, 10) == "aaaaaaaaaa …"
    assert clean_text("\n\n") == ""


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"id": 1}',
        b"\xff",
        json.dumps({"id": "a", "kind": "planet"}).encode(),
        b"[" * 100_000,
    ],
)
def test_what_is_not_a_record_is_not_read(data: bytes) -> None:
    assert AuditRecord.parse(data) is None


def test_a_filter_is_read() -> None:
    found = parse_audit_filter('actor:oncall-eu,anna action:replay kind:bulk since:7d "gateway is"', NOW)

    assert found.actors == ("oncall-eu", "anna")
    assert found.since == NOW - timedelta(days=7)
    assert found.subjects == ["trellis.audit.bulk.replay.*.began", "trellis.audit.bulk.replay.*.denied"]
    assert found.matches(record())
    assert not found.matches(record(actor="bob"))
    assert not found.matches(record(reason="other"))
    assert not found.matches(record(at=NOW - timedelta(days=8)))


def test_a_filter_for_refusals_reads_only_those() -> None:
    found = parse_audit_filter("outcome:refused,denied", NOW)

    assert found.subjects == ["trellis.audit.*.*.*.refused", "trellis.audit.*.*.*.denied"]
    assert found.wants(Outcome(Phase.DENIED))
    assert not found.wants(Outcome(Phase.DONE))
    assert not found.wants(None)
    assert parse_audit_filter("outcome:running", NOW).wants(None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("actr:anna", "did you mean actor?"),
        ("action:replai", "did you mean replay?"),
        ("outcome:began", "one of"),
        ("since:yesterday", "since:7d"),
        ("since:9999-99-99", "since:7d"),
        ("since:999999w", "since:7d"),
        ("actor:", "actor:oncall-eu"),
        ('"open', "quote"),
    ],
)
def test_a_filter_that_cannot_be_read_is_explained(text: str, said: str) -> None:
    with pytest.raises(AuditFilterProblem, match=said.replace("?", r"\?")):
        parse_audit_filter(text, NOW)
