"""The permissions that object stores need on the server. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from trellis_nats._nats.jetstream.object_names import chunk_subject, meta_subject, object_stream
from trellis_nats.binding import StoreBinding
from trellis_nats.grants import Grant, Probe, StartCheck, api, publish

__all__ = ["read_grants", "store_grants"]


def store_grants(bound: StoreBinding, *, at_start: StartCheck) -> Iterator[Grant]:
    """To read and write a store."""
    name = bound.name
    stream = object_stream(name)
    for subject in (chunk_subject(name), meta_subject(name)):
        yield publish(subject, f"write to store {name}", probe=Probe.WRONG_STREAM, at_start=at_start)
    yield api(f"STREAM.INFO.{stream}", f"verify that store {name} exists", at_start=at_start)
    yield api(f"STREAM.MSG.GET.{stream}", f"find the objects of store {name}", at_start=at_start)
    yield api(f"STREAM.PURGE.{stream}", f"remove objects of store {name}", at_start=at_start)
    yield from read_grants(bound)


def read_grants(bound: StoreBinding) -> Iterator[Grant]:
    """To read and list objects in pages. Control planes do not grant it; then each chunk takes a request of its own."""
    for request in ("CREATE.{}.>", "DELETE.{}.*", "MSG.NEXT.{}.*"):
        subject = f"CONSUMER.{request.format(object_stream(bound.name))}"
        yield api(subject, f"read the objects of store {bound.name} in pages", at_start=StartCheck.OPTIONAL)
