"""A FastAPI app that creates jobs of the orders service, and shows how far they are.

Run it in this folder with `PYTHONPATH=../orders_service uvicorn app:app`, and NATS_URL in the environment. The orders service works the jobs.
"""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, Header, HTTPException, Request, Response
from orders_participant import ChargePaymentPayload, OrdersService
from pydantic import BaseModel
from trellis_nats import JobNotFound, TransportError


@asynccontextmanager
async def connected(app: FastAPI) -> AsyncGenerator[None]:
    """Connect when the app starts, in its own event loop, and close the connection when it ends."""
    async with OrdersService.connect(os.environ.get("NATS_URL", "nats://127.0.0.1:4222")) as service:
        app.state.orders = service
        yield


def orders_of(request: Request) -> OrdersService:
    """Return the connected service."""
    service: OrdersService = request.app.state.orders
    return service


Orders = Annotated[OrdersService, Depends(orders_of)]
app = FastAPI(lifespan=connected)


class Charge(BaseModel):
    """What the caller sends."""

    order_id: str
    customer_id: str
    amount_cents: float


class Job(BaseModel):
    """What the caller gets."""

    id: str
    state: str
    error: str | None = None


@app.post("/charges", status_code=202)
async def create_charge(charge: Charge, idempotency_key: Annotated[str, Header()], orders: Orders) -> Job:
    """Create a job. A request that the caller repeats, with the same header `Idempotency-Key`, creates no second one."""
    payload = ChargePaymentPayload.model_validate(charge.model_dump())
    try:
        ref = await orders.jobs.charge_payment.create(payload, idempotency_key=idempotency_key)
        return Job(id=ref.id, state=(await ref.get()).state)
    except TransportError as error:
        # Perhaps the job is stored all the same. The caller repeats the request: the key makes that harmless.
        raise HTTPException(503, "try again") from error


@app.get("/charges/{job_id}")
async def show_charge(job_id: str, orders: Orders) -> Job:
    """Show how far a job is."""
    try:
        job = await orders.jobs.charge_payment.ref(job_id).get()
    except JobNotFound:
        raise HTTPException(404, f"there is no charge {job_id}") from None
    except TransportError as error:
        raise HTTPException(503, "try again") from error
    return Job(id=job.id, state=job.state, error=job.last_error)


@app.get("/readyz")
async def readyz(response: Response, orders: Orders) -> dict[str, object]:
    """Answer a readiness probe. This process works no jobs, so it is ready once it is connected."""
    report = await orders.health.report_connected()
    if not report.ready:
        response.status_code = 503
    return {"ready": report.ready, "problems": report.problems}
