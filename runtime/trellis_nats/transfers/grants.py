"""The permissions that transfers need on the server. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from trellis_nats._calls.grants import check_grants, many_answers_grants
from trellis_nats.grants import Grant, Probe, StartCheck, publish, subscribe
from trellis_nats.runtime import Runtime
from trellis_nats.transfers.grant import transfer_subject

__all__ = ["download_grants", "serve_download_grants", "serve_upload_grants", "upload_grants"]


def serve_download_grants(runtime: Runtime, name: str, *, at_start: StartCheck) -> Iterator[Grant]:
    """To send the objects that a procedure returns."""
    subject = transfer_subject("receive", runtime.own_token, "*")
    yield subscribe(subject, f"receive the requests for downloads of rpc {name}", at_start=at_start)
    yield from many_answers_grants(runtime, subject, f"send the downloads of rpc {name}", at_start=at_start)
    yield from check_grants(runtime, at_start=at_start)


def download_grants(name: str) -> Iterator[Grant]:
    """To download what a procedure returns. Services in other languages have tokens of their own in the subject."""
    subject = transfer_subject("receive", "*", "*")
    purpose = f"download what rpc {name} returns"
    yield publish(subject, purpose, probe=Probe.NONE, at_start=StartCheck.SKIPPED)


def serve_upload_grants(runtime: Runtime, name: str, *, at_start: StartCheck) -> Iterator[Grant]:
    """To receive what the callers of an operation upload. Each chunk has one answer."""
    subject = transfer_subject("send", runtime.own_token, "*")
    yield subscribe(subject, f"receive the uploads for operation {name}", at_start=at_start)


def upload_grants(name: str) -> Iterator[Grant]:
    """To upload what an operation needs. Services in other languages have tokens of their own in the subject."""
    subject = transfer_subject("send", "*", "*")
    yield publish(subject, f"upload for operation {name}", probe=Probe.NONE, at_start=StartCheck.SKIPPED)
