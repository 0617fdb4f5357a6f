"""What RPC, events and buckets need, and every connection. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from trellis_nats.binding import BucketBinding
from trellis_nats.grants import Grant, Probe, api, publish, subscribe
from trellis_nats.specs import EventSpec, RpcSpec

__all__ = ["bucket", "calling", "connecting", "hearing", "probing", "publishing", "serving", "trace_subject"]


def connecting(inbox: str) -> Iterator[Grant]:
    """Be answered."""
    yield subscribe(f"{inbox}.>", "be answered")


def serving(rpc: RpcSpec) -> Iterator[Grant]:
    """Serve a procedure. The right to answer is not a subject, but `allow_responses`."""
    yield subscribe(rpc.subject, f"serve rpc {rpc.name}")


def calling(rpc: RpcSpec) -> Iterator[Grant]:
    """Call a procedure."""
    yield publish(rpc.subject, f"call rpc {rpc.name}", probe=Probe.TRACED, is_needed=False)


def publishing(event: EventSpec) -> Iterator[Grant]:
    """Publish an event."""
    yield publish(event.filter, f"publish event {event.name}", probe=Probe.TRACED)


def hearing(event: EventSpec) -> Iterator[Grant]:
    """Listen to an event."""
    yield subscribe(event.filter, f"listen to event {event.name}", is_needed=False)


def bucket(bound: BucketBinding, *, is_needed: bool = True) -> Iterator[Grant]:
    """Read and write a bucket."""
    name = bound.bucket
    yield publish(f"$KV.{name}.>", f"write to bucket {name}", probe=Probe.REFUSED, is_needed=is_needed)
    yield api(f"STREAM.MSG.GET.KV_{name}", f"read bucket {name}", is_needed=is_needed)
    yield api(f"DIRECT.GET.KV_{name}.$KV.{name}.>", f"see that bucket {name} exists", is_needed=is_needed)


def probing(service: str) -> Iterator[Grant]:
    """See at the start what may be published, where real listeners would hear the question."""
    yield publish(trace_subject(service), "see what may be published, unheard", is_needed=False)


def trace_subject(service: str) -> str:
    """Return where a server reports what became of a traced message. Nobody listens there."""
    return f"trellis.probes.{service}"
