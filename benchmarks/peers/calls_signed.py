"""Our RPC with signed calls: calls_signed.py URL CALLS CONCURRENCY.

As calls_with_trellis_nats.py; in addition the client proves each call, and the service checks the proof, its time, that it is no
replay, and what a file of 1,000 callers says.
"""

from __future__ import annotations

import json
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Final

from calls_with_trellis_nats import (  # type: ignore[import-not-found]  # a neighbour, which scripts find
    BenchClient,
    BenchService,
    Order,
)
from calls_workload import (  # type: ignore[import-not-found]  # likewise
    BODY,
    CallRates,
    measure_calls,
    report_calls,
)
from trellis_nats import CallersFile, Options, RpcContext, SessionKey

CALLERS: Final = 1_000


def write_callers(folder: Path, *keys: SessionKey) -> CallersFile:
    """Write a file of callers: some keys, and so many others that it has 1,000."""
    all_keys = [*keys, *(SessionKey.generate() for _ in range(CALLERS - len(keys)))]
    file = folder / "callers.json"
    entries = [{"key": key.public, "name": f"caller {number}"} for number, key in enumerate(all_keys)]
    file.write_text(json.dumps({"format": "trellis.callers.v1", "callers": entries}))
    file.chmod(0o600)
    return CallersFile(file)


async def rates(url: str, calls: int, concurrency: int) -> CallRates:
    """Measure."""
    key = SessionKey.generate()
    with tempfile.TemporaryDirectory() as folder:
        callers = write_callers(Path(folder), key)
        async with (
            BenchService.connect(url, options=Options(callers=callers)) as service,
            BenchClient.connect(url, options=Options(session_key=key)) as client,
        ):

            async def echo(context: RpcContext, request: Order) -> Order:
                if context.caller is None:
                    raise RuntimeError("the call was not checked")
                return request

            service.echo.handle(echo)
            await service.start()
            request, timeout = Order.model_validate(BODY), timedelta(seconds=30)
            return await measure_calls(
                lambda: client.echo(request, timeout=timeout), calls=calls, concurrency=concurrency
            )


if __name__ == "__main__":
    report_calls(rates)
