"""Tests of the next version: that it differs as intended, and that it reads what the first one stored."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orders_participant as first
import pytest
from next_version import WITH_AMOUNT, register_upcasters
from orders_next_participant import ChargePaymentPayload, OrdersService
from trellis_nats import JsonObject, UpcastFailed
from trellis_nats.testing import ServiceUnderTest, service_under_test

CONTRACTS = Path(__file__).parents[3] / "contracts"
MANIFEST = "orders_service.manifest.json"
SAMPLES: list[dict[str, Any]] = [
    json.loads(path.read_text()) for path in sorted((Path(__file__).parent / "samples").iterdir())
]
"""What `trellis audit export` wrote before the change."""


@pytest.fixture
async def orders() -> AsyncIterator[ServiceUnderTest[OrdersService]]:
    async with service_under_test(OrdersService) as orders:
        register_upcasters(orders.service)
        yield orders


def test_the_next_version_renames_one_member() -> None:
    old, new = (json.loads((folder / MANIFEST).read_text()) for folder in (CONTRACTS, CONTRACTS / "next"))

    renamed = json.loads(json.dumps(old).replace("amountCents", "totalCents"))
    assert new == renamed != old


def test_the_upcaster_is_for_the_first_version() -> None:
    assert first.OrdersService.contract.digest == WITH_AMOUNT != OrdersService.contract.digest


@pytest.mark.parametrize("sample", SAMPLES, ids=[sample["name"] for sample in SAMPLES])
async def test_what_the_first_version_stored_is_read(
    orders: ServiceUnderTest[OrdersService], sample: dict[str, Any]
) -> None:
    queue = getattr(orders.service.jobs, sample["name"].replace("-", "_"))

    assert queue.read_payload(sample["payload"], digest=sample["digest"]).order_id == "o-9"


async def test_the_amount_of_a_payment_is_kept(orders: ServiceUnderTest[OrdersService]) -> None:
    stored: JsonObject = {"orderId": "o-1", "customerId": "c-1", "amountCents": 3998}

    payload = orders.service.jobs.charge_payment.read_payload(stored, digest=WITH_AMOUNT)

    assert payload == ChargePaymentPayload(order_id="o-1", customer_id="c-1", total_cents=3998)


async def test_no_amount_is_invented(orders: ServiceUnderTest[OrdersService]) -> None:
    stored: JsonObject = {"orderId": "o-1", "customerId": "c-1"}

    with pytest.raises(UpcastFailed, match="amountCents"):
        orders.service.jobs.charge_payment.read_payload(stored, digest=WITH_AMOUNT)
