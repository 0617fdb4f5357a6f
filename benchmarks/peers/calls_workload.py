"""What every column of the calls does: how many calls are under way, and what is measured. Only the standard library."""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Final, TypedDict

NAME: Final = "rpc.v1.Bench.Echo"
"""The subject."""
BODY: Final = {
    "customerId": "customer-000001",
    "items": [{"productId": f"product-{number}", "quantity": number} for number in (1, 2, 3)],
}
"""The request, of about 150 bytes, and the response."""
_WARM_UP: Final = 200


class CallRates(TypedDict):
    """What one run has measured."""

    rate: float
    """Round trips per second."""
    p50_ms: float
    p99_ms: float


async def measure_calls(call: Callable[[], Awaitable[object]], *, calls: int, concurrency: int) -> CallRates:
    """Make calls, so many at a time."""
    for _ in range(_WARM_UP):
        await call()
    taken: list[float] = []

    async def caller(number: int) -> None:
        for _ in range(number):
            began = time.perf_counter()
            await call()
            taken.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(caller(calls // concurrency) for _ in range(concurrency)))
    seconds = time.perf_counter() - began
    percentiles = statistics.quantiles(taken, n=100)
    return CallRates(rate=len(taken) / seconds, p50_ms=percentiles[49] * 1000, p99_ms=percentiles[98] * 1000)


def report_calls(measure: Callable[[str, int, int], Coroutine[object, object, CallRates]]) -> None:
    """Measure with the arguments URL CALLS CONCURRENCY, and print the rates as JSON."""
    url, calls, concurrency = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    print(json.dumps(asyncio.run(measure(url, calls, concurrency))))
