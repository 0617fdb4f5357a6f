"""The permissions that buckets need on the server. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from trellis_nats._nats.jetstream.kv import kv_stream, kv_subject
from trellis_nats.binding import BucketBinding
from trellis_nats.grants import Grant, Probe, StartCheck, api, publish

__all__ = ["bucket_grants"]


def bucket_grants(bound: BucketBinding, *, at_start: StartCheck) -> Iterator[Grant]:
    """To read and write a bucket."""
    name = bound.bucket
    stream, keys = kv_stream(name), kv_subject(name)
    yield publish(keys, f"write to bucket {name}", probe=Probe.WRONG_STREAM, at_start=at_start)
    yield api(f"STREAM.MSG.GET.{stream}", f"read bucket {name}", at_start=at_start)
    yield api(f"DIRECT.GET.{stream}.{keys}", f"verify that bucket {name} exists", at_start=at_start)
    for request in ("CREATE.{}.>", "DELETE.{}.*", "MSG.NEXT.{}.*"):
        subject = f"CONSUMER.{request.format(stream)}"
        yield api(subject, f"list and watch the keys of bucket {name}", at_start=StartCheck.OPTIONAL)
