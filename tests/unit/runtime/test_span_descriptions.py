"""What spans are called and what they say."""

from datetime import timedelta
from importlib import import_module

import pytest
from trellis_nats._tracing import descriptions
from trellis_nats._tracing.descriptions import (
    SpanDescription,
    SpanKind,
    describe_attempt,
    describe_call,
    describe_creation,
    describe_event_handling,
    describe_publication,
    describe_reception,
    describe_serving,
)
from trellis_nats.jobs.model.outcome import (
    Cancelled,
    Completed,
    Ending,
    Failed,
    Raised,
    Released,
    SlotLost,
    Superseded,
    Withdrawn,
    settle,
)
from trellis_nats.jobs.work.attempt_span import describe_outcome

ALL = [
    describe_call("rpc", "Orders.Create"),
    describe_serving("feed", "Orders.Live"),
    describe_creation("pack"),
    describe_attempt("pack"),
    describe_publication("Orders.Shipped"),
    describe_event_handling("Orders.Shipped", "audit"),
    describe_reception("Orders.Shipped"),
]


def test_spans_are_named_by_their_operation_and_the_names_of_the_contract() -> None:
    assert [(span.name, span.kind) for span in ALL] == [
        ("Orders.Create", SpanKind.CLIENT),
        ("Orders.Live", SpanKind.SERVER),
        ("create pack", SpanKind.PRODUCER),
        ("process pack", SpanKind.CONSUMER),
        ("publish Orders.Shipped", SpanKind.PRODUCER),
        ("process Orders.Shipped", SpanKind.CONSUMER),
        ("receive Orders.Shipped", SpanKind.CLIENT),
    ]


@pytest.mark.parametrize("span", ALL, ids=lambda span: span.name)
def test_attributes_are_those_of_the_semantic_conventions_or_ours(span: SpanDescription) -> None:
    folder = "opentelemetry.semconv._incubating.attributes"
    modules = [
        import_module(f"{folder}.{name}_attributes") for name in ("messaging", "rpc", "error", "exception")
    ]
    known = {value for module in modules for value in vars(module).values() if isinstance(value, str)}
    constants = {
        value for name, value in vars(descriptions).items() if name.isupper() and isinstance(value, str)
    }

    assert "messaging.system" in known
    names = {*span.attributes, *constants}
    assert {name for name in names - known if not name.startswith("trellis.")} == set()


@pytest.mark.parametrize(
    ("span", "is_failed"),
    [(ALL[0], True), (ALL[1], False), (ALL[2], True), (ALL[3], False), (ALL[5], False)],
    ids=["call", "feed", "creation", "attempt", "event"],
)
def test_what_a_cancellation_means(span: SpanDescription, *, is_failed: bool) -> None:
    """A feed ends by it; an attempt is repeated elsewhere."""
    assert span.is_failed_by_cancellation is is_failed


@pytest.mark.parametrize(
    ("ending", "tries", "outcome"),
    [
        (Completed(), 1, "completed"),
        (Failed("no"), 1, "failed"),
        (Raised("no"), 1, "retry"),
        (Raised("no"), 3, "dead"),
        (Cancelled(), 1, "cancelled"),
        (Withdrawn("no"), 1, "cancelled"),
        (Released(), 1, "released"),
        (Released(timedelta(seconds=1)), 3, "released"),
        (Superseded(), 1, "superseded"),
        (SlotLost(), 1, "slot_lost"),
    ],
)
def test_each_ending_of_an_attempt_has_an_outcome(ending: Ending, tries: int, outcome: str) -> None:
    assert describe_outcome(settle(ending, tries=tries, max_attempts=3, backoff=())) == outcome
