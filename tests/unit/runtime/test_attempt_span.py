"""The previous attempts that spans link to."""

from types import SimpleNamespace
from typing import cast

import pytest
from trellis_nats.context import new_context
from trellis_nats.jobs.model.outcome import Ending, Raised, Released, settle
from trellis_nats.jobs.work import attempt_span
from trellis_nats.jobs.work.attempt_counts import AttemptCounts
from trellis_nats.jobs.work.attempt_span import AttemptSpans
from trellis_nats.jobs.work.work_item import WorkItem
from trellis_nats.metrics.registry import MetricsRegistry

from tests.support.spans import links_of, record_spans


def item(job_id: str) -> WorkItem:
    """What the spans read of one."""
    identity = SimpleNamespace(context=new_context())
    event, message = SimpleNamespace(not_before=None), SimpleNamespace(stored_nanoseconds=0)
    return cast(
        "WorkItem",
        SimpleNamespace(job_id=job_id, max_attempts=3, identity=identity, event=event, message=message),
    )


def attempt(spans: AttemptSpans, job_id: str, ending: Ending, tries: int = 1) -> None:
    working = item(job_id)
    with spans.start(working, tries) as span:
        spans.settle(span, working, settle(ending, tries=tries, max_attempts=3, backoff=()))


def test_the_attempts_of_the_newest_jobs_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempt_span, "_REMEMBERED_MAX", 2)
    with record_spans() as recorded:
        spans = AttemptSpans("pack", AttemptCounts("pack", MetricsRegistry()))
        for job_id in ("old", "new", "newest"):
            attempt(spans, job_id, Raised("no"))
        for job_id in ("old", "new", "newest"):
            attempt(spans, job_id, Raised("no"), tries=3)

    links = [set(links_of(span)) for span in recorded.named("process pack")[3:]]
    assert links == [{"creation"}, {"creation", "previous_attempt"}, {"creation", "previous_attempt"}]


def test_an_attempt_after_the_end_of_a_job_has_no_previous_one() -> None:
    """An operator retried it."""
    with record_spans() as recorded:
        spans = AttemptSpans("pack", AttemptCounts("pack", MetricsRegistry()))
        attempt(spans, "job", Released())
        attempt(spans, "job", Raised("no"), tries=3)
        attempt(spans, "job", Raised("no"))

    links = [set(links_of(span)) for span in recorded.named("process pack")]
    assert links == [{"creation"}, {"creation", "previous_attempt"}, {"creation"}]


def test_without_a_provider_nothing_is_remembered() -> None:
    spans = AttemptSpans("pack", AttemptCounts("pack", MetricsRegistry()))
    attempt(spans, "job", Raised("no"))

    with record_spans() as recorded:
        attempt(spans, "job", Raised("no"), tries=2)

    assert set(links_of(recorded.one("process pack"))) == {"creation"}
