"""The app on a real nats-server, without a port of its own. The worker is an orders service in the same test."""

import warnings
from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient
from orders_participant import ChargePaymentJob, ChargePaymentPayload, ChargePaymentResult, OrdersService
from trellis_nats.testing import NatsServer, service_under_test

from examples.fastapi_producer.app import app, connected

CHARGE = {"order_id": "o-1", "customer_id": "c-1", "amount_cents": 990}


async def charge_payment(job: ChargePaymentJob) -> ChargePaymentResult:
    return ChargePaymentResult(charge_id=f"ch_{job.payload.order_id}")


@pytest.fixture
async def http(nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AsyncClient]:
    monkeypatch.setenv("NATS_URL", nats_server.url)
    # httpx does not run the lifespan of an app.
    async with connected(app), AsyncClient(transport=ASGITransport(app), base_url="http://test") as http:
        yield http


async def test_a_repeated_request_creates_one_job_and_its_state_is_shown(
    http: AsyncClient, nats_server: NatsServer
) -> None:
    key = {"Idempotency-Key": "order o-1"}
    first = await http.post("/charges", json=CHARGE, headers=key)
    again = await http.post("/charges", json=CHARGE, headers=key)

    assert (first.status_code, first.json()["state"]) == (202, "pending")
    assert again.json() == first.json()
    async with service_under_test(OrdersService, nats_server.url) as orders:
        orders.service.consumers.shipped_audit.leave_to_others()
        orders.service.jobs.charge_payment.handle(charge_payment)
        await orders.drain()
    shown = await http.get(f"/charges/{first.json()['id']}")
    assert shown.json() == {**first.json(), "state": "completed"}
    assert (await http.get("/charges/01M8NFPFHT33DF651J9CSR0RAH")).status_code == 404


async def test_it_is_ready_while_nats_answers(http: AsyncClient, nats_server: NatsServer) -> None:
    assert (await http.get("/readyz")).json() == {"ready": True, "problems": []}

    nats_server.kill()

    assert (await http.get("/readyz")).status_code == 503


def test_a_generated_model_may_be_the_body_of_a_request() -> None:
    """FastAPI builds it when the route is defined; built later, pydantic would warn about FastAPI's own alias."""
    other = FastAPI()

    @other.post("/charges")
    async def create(charge: ChargePaymentPayload) -> ChargePaymentResult:
        return ChargePaymentResult(charge_id=charge.order_id)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        schemas = other.openapi()["components"]["schemas"]
    assert {"ChargePaymentPayload", "ChargePaymentResult"} <= schemas.keys()
