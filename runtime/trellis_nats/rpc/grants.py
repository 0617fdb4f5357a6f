"""The permissions that RPCs need on the server. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from trellis_nats._calls.grants import check_grants
from trellis_nats.grants import Grant, Probe, StartCheck, answer, publish, subscribe
from trellis_nats.runtime import Runtime
from trellis_nats.specs import RpcSpec

__all__ = ["call_grants", "serve_grants"]


def serve_grants(runtime: Runtime, rpc: RpcSpec, *, at_start: StartCheck) -> Iterator[Grant]:
    """To serve a procedure."""
    yield subscribe(rpc.subject, f"serve rpc {rpc.name}", at_start=at_start)
    # A process cannot send itself a request there: its replicas would answer.
    yield answer(rpc.subject, f"answer calls of rpc {rpc.name}", probe=Probe.NONE, at_start=at_start)
    yield from check_grants(runtime, at_start=at_start)


def call_grants(rpc: RpcSpec) -> Iterator[Grant]:
    """To call a procedure. The start does not check it: a denied call raises its own error."""
    yield publish(rpc.subject, f"call rpc {rpc.name}", probe=Probe.NONE, at_start=StartCheck.SKIPPED)
