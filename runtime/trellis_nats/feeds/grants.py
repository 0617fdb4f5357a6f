"""The permissions that feeds need on the server. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from trellis_nats._calls.grants import check_grants, many_answers_grants
from trellis_nats.grants import Grant, Probe, StartCheck, publish, subscribe
from trellis_nats.runtime import Runtime
from trellis_nats.specs import FeedSpec

__all__ = ["open_grants", "serve_grants", "trace_subject"]


def serve_grants(runtime: Runtime, feed: FeedSpec, *, at_start: StartCheck) -> Iterator[Grant]:
    """To serve a feed."""
    yield subscribe(feed.subject, f"serve feed {feed.name}", at_start=at_start)
    yield from many_answers_grants(
        runtime, feed.subject, f"send the events of feed {feed.name}", at_start=at_start
    )
    yield from check_grants(runtime, at_start=at_start)
    # Without these, a subscriber of another runtime that is gone is noticed only at the next event.
    optional = StartCheck.SKIPPED if at_start is StartCheck.SKIPPED else StartCheck.OPTIONAL
    traces = trace_subject(runtime.contract.name, "*", "*")
    yield publish(traces, f"ask whether a subscriber of feed {feed.name} is still there", at_start=optional)
    yield subscribe(
        traces, f"learn whether a subscriber of feed {feed.name} is still there", at_start=optional
    )


def open_grants(feed: FeedSpec) -> Iterator[Grant]:
    """To open a feed. The start does not check it: a denied call raises its own error."""
    yield publish(feed.subject, f"open feed {feed.name}", probe=Probe.NONE, at_start=StartCheck.SKIPPED)


def trace_subject(service: str, instance: str, feed: str) -> str:
    """Return the subject on which a server reports to whom it would deliver a frame."""
    return f"trellis.feed_traces.{service}.{instance}.{feed}"
