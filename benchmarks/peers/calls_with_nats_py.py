"""Bare request and reply with nats-py: calls_with_nats_py.py URL CALLS CONCURRENCY. The bytes are echoed, and not read."""

# nats-py leaves most of its types open.
# pyright: basic

from __future__ import annotations

import json

from calls_workload import BODY, NAME, CallRates, measure_calls, report_calls  # type: ignore[import-not-found]  # a neighbour, which scripts find
from nats.aio.client import Client
from nats.aio.msg import Msg


async def rates(url: str, calls: int, concurrency: int) -> CallRates:
    """Measure."""
    service, client = Client(), Client()
    await service.connect(url)
    await client.connect(url)

    async def echo(message: Msg) -> None:
        await message.respond(message.data)

    await service.subscribe(NAME, queue=NAME, cb=echo)
    await service.flush()
    await client.flush()
    body = json.dumps(BODY).encode()
    try:
        return await measure_calls(
            lambda: client.request(NAME, body, timeout=30), calls=calls, concurrency=concurrency
        )
    finally:
        await client.close()
        await service.close()


if __name__ == "__main__":
    report_calls(rates)
