"""What decodes the bytes of others raises its own error, or none, whatever the bytes are."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trellis_nats import InvalidPayload, ObjectDamaged, RpcError
from trellis_nats._calls.error_codec import ErrorCodec
from trellis_nats._calls.incoming import read_call
from trellis_nats._nats.wire.headers import parse_headers
from trellis_nats._nats.wire.message import Message
from trellis_nats.clock import now
from trellis_nats.codec import Codec
from trellis_nats.events.envelope import read_event
from trellis_nats.feeds.frames import interpret_frame
from trellis_nats.jobs.keys.model.json_reader import InvalidRecord
from trellis_nats.jobs.keys.model.record import KeyRecord
from trellis_nats.jobs.model.event import LifecycleEvent
from trellis_nats.jobs.model.parked_job import ParkedJob
from trellis_nats.jobs.model.work_event import WorkEventReader
from trellis_nats.stores.meta import read_meta

from tests.faults.injection.forging import created
from tests.support.bad_input import BODIES, HEADERS, random_messages
from tests.support.orders import BusyError, CreateRequest, Moved, NotFoundError
from tests.support.payload_readers import OWN, reader_of
from tests.support.shop import Parcel

Decode = Callable[[bytes, Mapping[str, str]], object]

_ERRORS: Final = ErrorCodec("rpc", (NotFoundError, BusyError))
_REQUEST: Final = Codec[CreateRequest](CreateRequest, what="a request")
_MOVED: Final = Codec[Moved](Moved, what="an event")
_WORK: Final = WorkEventReader(reader_of(Codec[Parcel](Parcel, what="a payload")))
_NOW: Final = datetime(2026, 1, 1, tzinfo=UTC)

DECODERS: Final[Mapping[str, tuple[Decode, bytes]]] = {
    "request": (
        lambda data, _: _REQUEST.decode(data),
        b'{"customerId":"c","items":[{"productId":"p","quantity":1}]}',
    ),
    "call": (lambda data, headers: read_call(Message("s", data, headers, "r"), at=now()), b"{}"),
    "error": (
        lambda data, _: _ERRORS.decode(data),
        b'{"id":"1","type":"NotFoundError","message":"m","context":{},"resource":"r","resourceId":"i"}',
    ),
    "event": (
        lambda data, headers: read_event(_MOVED, Message("s", data, headers)),
        b'{"orderId":"o","region":"eu","header":{"id":"1","time":"2026-01-01T00:00:00Z"}}',
    ),
    "frame": (lambda data, headers: interpret_frame(Message("s", data, headers)), b"{}"),
    "job event": (lambda data, _: LifecycleEvent.parse(data), json.dumps(created("job")).encode()),
    "work message": (lambda data, _: _WORK.read(data, OWN), json.dumps(created("job")).encode()),
    "parked job": (
        lambda data, _: ParkedJob.parse(data),
        b'{"jobId":"j","eventType":"created","sequence":1}',
    ),
    "key record": (
        lambda data, _: KeyRecord.parse(data, service="s", queue="q", key_hash="h"),
        b'{"version":1,"service":"s","jobType":"q","keyHash":"h","slots":[],"waiting":[]}',
    ),
    "object record": (
        lambda data, _: read_meta("files", "key", data, stored=_NOW),
        b'{"name":"key","bucket":"b","nuid":"n","size":1,"chunks":1,"mtime":"2026-01-01T00:00:00Z"}',
    ),
}
ALLOWED: Final = (InvalidPayload, InvalidRecord, ObjectDamaged, RpcError)
EVERY: Final = pytest.mark.parametrize(("decode", "good"), DECODERS.values(), ids=list(DECODERS))


def attempt(decode: Decode, data: bytes, headers: bytes = b"") -> None:
    with suppress(*ALLOWED):
        decode(data, parse_headers(headers)[2])


@EVERY
def test_what_is_never_valid(decode: Decode, good: bytes) -> None:
    for data in BODIES.values():
        attempt(decode, data)
    for headers in HEADERS.values():
        attempt(decode, good, headers)


@EVERY
@given(seed=st.integers(0, 2**32))
def test_changes_of_what_is_valid(decode: Decode, good: bytes, seed: int) -> None:
    for bad in islice(random_messages(seed, good), 10):
        attempt(decode, bad.body, bad.headers)


@EVERY
@given(data=st.binary(max_size=300), headers=st.binary(max_size=100))
def test_any_bytes(decode: Decode, good: bytes, data: bytes, headers: bytes) -> None:
    attempt(decode, data, b"NATS/1.0\r\n" + headers)
    attempt(decode, good, b"NATS/1.0\r\n" + headers)
