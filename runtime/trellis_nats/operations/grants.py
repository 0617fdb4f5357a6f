"""The permissions that operations need on the server. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from trellis_nats._calls.grants import check_grants, many_answers_grants
from trellis_nats._nats.jetstream.kv import kv_stream, kv_subject
from trellis_nats.grants import Grant, Probe, StartCheck, api, publish, subscribe
from trellis_nats.runtime import Runtime
from trellis_nats.specs import OperationSpec

__all__ = ["call_grants", "create_grants", "purge_grant", "serve_grants", "store_grants"]


def store_grants(bucket: str, *, at_start: StartCheck) -> Iterator[Grant]:
    """To keep the operations of a service."""
    stream, keys = kv_stream(bucket), kv_subject(bucket)
    yield publish(keys, f"write to bucket {bucket}", probe=Probe.WRONG_STREAM, at_start=at_start)
    yield api(f"STREAM.MSG.GET.{stream}", f"read bucket {bucket}", at_start=at_start)
    yield api(f"DIRECT.GET.{stream}.{keys}", f"verify that bucket {bucket} exists", at_start=at_start)
    for request in ("CREATE.{}.>", "DELETE.{}.*", "MSG.NEXT.{}.*"):
        subject = f"CONSUMER.{request.format(stream)}"
        yield api(subject, f"follow the operations in bucket {bucket}", at_start=at_start)


def create_grants(bucket: str) -> Iterator[Grant]:
    """To create the bucket, where a control plane leaves that to the service. Connecting finds out, not the start."""
    for request in ("INFO", "CREATE"):
        yield api(
            f"STREAM.{request}.{kv_stream(bucket)}",
            f"create bucket {bucket} unless it exists",
            at_start=StartCheck.SKIPPED,
        )


def purge_grant(bucket: str, *, at_start: StartCheck) -> Grant:
    """To purge the operations that ended long enough ago. Without it they stay."""
    return api(
        f"STREAM.PURGE.{kv_stream(bucket)}", f"purge ended operations in bucket {bucket}", at_start=at_start
    )


def serve_grants(runtime: Runtime, operation: OperationSpec, *, at_start: StartCheck) -> Iterator[Grant]:
    """To serve an operation. A watch has many answers."""
    for subject in (operation.subject, operation.control_subject):
        yield subscribe(subject, f"serve operation {operation.name}", at_start=at_start)
    yield from many_answers_grants(
        runtime,
        operation.control_subject,
        f"answer the callers of operation {operation.name}",
        at_start=at_start,
    )
    yield from check_grants(runtime, at_start=at_start)


def call_grants(operation: OperationSpec) -> Iterator[Grant]:
    """To start and control an operation. The start does not check it: a denied call raises its own error."""
    for subject in (operation.subject, operation.control_subject):
        yield publish(
            subject, f"call operation {operation.name}", probe=Probe.NONE, at_start=StartCheck.SKIPPED
        )
