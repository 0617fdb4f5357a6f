"""A generated package runs: what it reads and writes is what its contract says."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from orders_participant import (
    CONTRACT,
    CreateOrderRequest,
    CreateOrderRequestItem,
    NotFoundError,
    Order,
    OrdersLiveEvent,
    ReserveInventoryPayload,
    ReserveInventoryPayloadItem,
    SyncTicketsPayload,
)
from orders_participant.jobs import ReserveInventoryQueue, SyncTicketsQueue
from pydantic import JsonValue, ValidationError
from trellis_nats import RUNTIME_API

from tests.support.generated import generated
from tests.unit.codegen.contracts import contract, rpc


def test_the_runtime_speaks_the_packages_interface() -> None:
    assert CONTRACT.runtime_api == RUNTIME_API
    assert CONTRACT.id == "orders-service@v1"


def test_the_items_of_a_request_are_those_of_a_payload() -> None:
    request = CreateOrderRequest.model_validate_json(
        '{"customerId": "c", "items": [{"productId": "p", "quantity": 2}]}'
    )

    payload = ReserveInventoryPayload(order_id="o", items=request.items)

    assert CreateOrderRequestItem is ReserveInventoryPayloadItem
    assert payload.model_dump_json() == '{"orderId":"o","items":[{"productId":"p","quantity":2.0}]}'


@pytest.mark.parametrize(
    "text",
    [
        '{"customerId": 1, "items": []}',
        '{"customerId": "c"}',
        '{"customerId": "c", "items": [{"productId": "p", "quantity": 0}]}',
        '{"customerId": "c", "items": [{"productId": "p", "quantity": "2"}]}',
    ],
)
def test_what_the_schema_forbids_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        CreateOrderRequest.model_validate_json(text)


def test_instants_are_aware_and_literals_are_checked() -> None:
    at = datetime(2026, 11, 23, tzinfo=UTC)

    assert Order(order_id="o", customer_id="c", status="pending", items=[], created_at=at).created_at == at
    with pytest.raises(ValidationError):
        Order.model_validate(
            {"orderId": "o", "customerId": "c", "status": "sent", "items": [], "createdAt": at}
        )
    with pytest.raises(ValidationError):
        SyncTicketsPayload.model_validate_json('{"origin": "o", "since": "2026-11-23T00:00:00"}')


def test_what_was_absent_stays_absent() -> None:
    assert SyncTicketsPayload(origin="o").model_dump_json(exclude_unset=True) == '{"origin":"o"}'


def test_what_may_be_absent_may_not_be_null() -> None:
    with pytest.raises(ValidationError, match="may be absent, but not null"):
        SyncTicketsPayload(origin="o", since=None)
    with pytest.raises(ValidationError, match="may be absent, but not null"):
        SyncTicketsPayload.model_validate_json('{"origin": "o", "since": null}')
    absent = SyncTicketsPayload(origin="o")
    assert (absent.since, absent.model_dump(), absent.model_dump_json()) == (
        None,
        {"origin": "o"},
        '{"origin":"o"}',
    )


def test_a_model_is_built_when_it_is_first_used() -> None:
    code = "import orders_participant as p; print(p.Order.__pydantic_complete__); p.Order.model_rebuild(); print(p.Order.__pydantic_complete__)"

    ended = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )

    assert ended.stdout.split() == ["False", "True"]


def test_a_union_of_one_is_its_member() -> None:
    event = OrdersLiveEvent.model_validate(
        {
            "name": "Orders.Shipped",
            "event": {"orderId": "o", "customerId": "c", "shippedAt": datetime.now(UTC)},
        }
    )

    assert event.event.order_id == "o"


def test_a_declared_error_carries_its_fields() -> None:
    error = NotFoundError(resource="order", resource_id="o")

    assert (error.message, error.resource, error.resource_id) == ("not found", "order", "o")
    assert error.fields == {"resource": "order", "resourceId": "o"}


def test_docstrings_describe_the_numbers_of_the_contract() -> None:
    assert "At most 5 attempts; retries after 5 s, 30 s, then every 2 min." in (
        ReserveInventoryQueue.__doc__ or ""
    )
    assert "At most 1 active per key zendesk:/origin:tickets" in (SyncTicketsQueue.__doc__ or "")


def test_docstrings_name_the_errors_of_a_call_and_the_limits_of_resources(tmp_path: Path) -> None:
    thing: JsonValue = {"schema": "Thing"}
    document = contract(
        errors={"Gone": {"type": "Gone"}, "Late": {"type": "Late"}},
        rpc={"Get": rpc("Get", errors=[{"type": "Late"}, {"type": "UnexpectedError"}, {"type": "Gone"}])},
        resources={
            "kv": {
                "things": {"purpose": "Things.", "schema": thing, "history": 5, "ttlMs": 90_000},
                "notes": {"purpose": "Notes.", "schema": thing, "history": 1, "maxValueBytes": 65_536},
            },
            "store": {"files": {"purpose": "Files.", "ttlMs": 3_600_000, "maxObjectBytes": 2_097_152}},
        },
    )

    package, _ = generated(document, tmp_path)

    source = "".join(path.read_text() for path in (tmp_path / package.__name__).glob("*.py"))
    assert "Declared errors: `Late`, `Gone`." in source
    assert "The newest 5 revisions of a key are kept. A value expires 90 s after it is written." in source
    assert "A value has at most 65,536 bytes." in source
    assert "An object expires 1 h after it is stored. An object has at most 2,097,152 bytes." in source
