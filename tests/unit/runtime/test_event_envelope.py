"""The header in the body of an event."""

import json
from datetime import UTC, datetime

import pytest
from pydantic import JsonValue
from trellis_nats import InvalidPayload, Model
from trellis_nats._nats.wire.message import Message
from trellis_nats.codec import Codec
from trellis_nats.events.envelope import read_event, with_header

from tests.support.orders import Moved, Shipped

RECORDED = (
    b'{"orderId":"o1","customerId":"c1","shippedAt":"2026-11-23T10:50:48.000Z",'
    b'"header":{"id":"01M840F8XRY2RRC0YWGTCCJK7F","time":"2026-11-23T10:50:48.120Z"}}'
)
TIME = datetime(2026, 11, 23, 10, 50, 48, 120_000, tzinfo=UTC)


def message(data: bytes, headers: dict[str, str] | None = None) -> Message:
    return Message("events.v1.Orders.Shipped", data, headers or {})


def test_the_header_comes_last_and_replaces_another() -> None:
    body: dict[str, JsonValue] = {"header": {"id": "forged"}, "orderId": "o1"}

    assert json.dumps(with_header(body, event_id="01M8", time=TIME)) == (
        '{"orderId": "o1", "header": {"id": "01M8", "time": "2026-11-23T10:50:48.120Z"}}'
    )


def test_the_recorded_event_of_another_runtime_is_read() -> None:
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    received = read_event(
        Codec[Shipped](Shipped, what="event"), message(RECORDED, {"traceparent": traceparent})
    )

    assert received.event == Shipped(order_id="o1")
    assert (received.id, received.time) == ("01M840F8XRY2RRC0YWGTCCJK7F", TIME)
    assert received.subject == "events.v1.Orders.Shipped"
    assert received.context.traceparent == traceparent


def test_a_closed_schema_is_not_shown_the_header() -> None:
    data = b'{"orderId":"o1","region":"eu","header":{"id":"01M8","time":"2026-11-23T10:50:48.120Z"}}'

    received = read_event(Codec[Moved](Moved, what="event"), message(data))

    assert received.event == Moved(order_id="o1", region="eu")
    assert received.id == "01M8"


class Header(Model):
    id: str
    time: datetime


class Stamped(Model):
    header: Header


def test_a_schema_that_declares_the_header_gets_it() -> None:
    received = read_event(Codec[Stamped](Stamped, what="event"), message(RECORDED))

    assert received.event.header == Header(id="01M840F8XRY2RRC0YWGTCCJK7F", time=TIME)


def test_a_bare_event_has_the_id_of_its_message_if_any() -> None:
    codec = Codec[Shipped](Shipped, what="event")

    bare = read_event(codec, message(b'{"orderId":"o1"}'))
    marked = read_event(codec, message(b'{"orderId":"o1","header":7}', {"Nats-Msg-Id": "01M8"}))
    odd = read_event(codec, message(b'{"orderId":"o1","header":{"id":"01M8","time":"noon"}}'))

    assert (bare.id, bare.time) == (None, None)
    assert (marked.id, marked.time) == ("01M8", None)
    assert (odd.id, odd.time) == ("01M8", None)


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b'{"orderId":1}', b'{"orderId":"o1","region":"eu","more":1}']
)
def test_an_event_that_breaks_its_schema_is_invalid(data: bytes) -> None:
    with pytest.raises(InvalidPayload):
        read_event(Codec[Moved](Moved, what="event"), message(data))
