"""What an audit keeps of many values."""

from __future__ import annotations

from trellis_admin.audit import Kind, Subject
from trellis_admin.audit.failures import Failure
from trellis_admin.audit.readers import Refused


def test_examples_reasons_and_writers_are_limited_and_counts_are_not() -> None:
    subject = Subject(Kind.PAYLOAD, "pay")
    for number in range(1_000):
        refused = Refused((Failure("missing", f"/{number}", "Field required"),), None)
        subject.count(f"{number:043}", refused, str(number), is_dead=False)
    for _ in range(100):
        subject.count("", Refused((Failure("missing", "/0", "Field required"),), None), "j", is_dead=True)

    assert (subject.counted.total, subject.refused.dead) == (1_100, 100)
    assert len(subject.failures) <= 201
    assert len(subject.writers) <= 201
    assert sum(failure.counted.total for failure in subject.failures.values()) == 1_100
    assert sum(writer.values for writer in subject.writers.values()) == 1_100
    assert len(subject.failures["missing", "/0"].examples) == 10
