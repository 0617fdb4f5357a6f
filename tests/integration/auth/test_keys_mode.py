"""Mode `keys`: a service knows its callers from a file."""

import json
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Final

import pytest
from trellis_nats import (
    AuthError,
    CallersFile,
    Contract,
    HealthStatus,
    Options,
    RpcEndpoint,
    Runtime,
    Service,
    SessionKey,
)
from trellis_nats._support.log_events import LogEvent
from trellis_nats.auth import callers_file
from trellis_nats.testing import LogSignals, NatsServer

from tests.support.orders import (
    CONTRACT,
    ORDERS_CREATE,
    ORDERS_PEEK,
    REQUEST,
    CreateRequest,
    CreateResponse,
    OrdersClient,
    greet,
)

SHOP, DESK = SessionKey.generate(), SessionKey.generate()
READ, WRITE = "orders-service::orders.read", "orders-service::orders.write"


class GuardedService(Service):
    """A service whose procedures demand capabilities."""

    contract: ClassVar[Contract] = CONTRACT

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        create, peek = (
            replace(ORDERS_CREATE, capabilities=(WRITE,)),
            replace(ORDERS_PEEK, capabilities=(READ,)),
        )
        self.create: Final = RpcEndpoint[CreateRequest, CreateResponse](runtime, create)
        self.peek: Final = RpcEndpoint[CreateRequest, CreateResponse](runtime, peek)


def write(path: Path, **capabilities: list[str]) -> Path:
    keys = {"shop": SHOP, "desk": DESK}
    callers = [
        {"key": keys[name].public, "name": name, "capabilities": held} for name, held in capabilities.items()
    ]
    path.write_text(json.dumps({"format": "trellis.callers.v1", "callers": callers}))
    path.chmod(0o600)
    return path


async def test_each_caller_may_do_what_the_file_says_until_it_says_otherwise(
    nats_server: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callers_file, "_LOOK_EVERY", 0)  # at every request instead of once a second
    file = write(tmp_path / "callers.json", shop=[READ, WRITE], desk=[READ])
    with LogSignals() as signals:
        async with (
            GuardedService.connect(nats_server.url, options=Options(callers=CallersFile(file))) as service,
            OrdersClient.connect(nats_server.url, options=Options(session_key=SHOP)) as shop,
            OrdersClient.connect(nats_server.url, options=Options(session_key=DESK)) as desk,
        ):
            service.create.handle(greet)
            service.peek.handle(greet)
            await service.start()

            assert (await shop.create(REQUEST)).order_id == "c1-1"
            assert (await desk.peek(REQUEST)).order_id == "c1-1"
            with pytest.raises(AuthError, match="insufficient_permissions") as refused:
                await desk.create(REQUEST)
            assert str(refused.value) == f"Auth failed: insufficient_permissions (without {WRITE})"
            assert refused.value.context["requiredCapabilities"] == [WRITE]
            assert refused.value.context["userCapabilities"] == [READ]

            write(file, desk=[READ, WRITE])
            assert (await desk.create(REQUEST)).order_id == "c1-1"
            with pytest.raises(AuthError, match="session_not_found"):
                await shop.create(REQUEST)

            file.write_text("{")
            assert (await desk.create(REQUEST)).order_id == "c1-1"
            report = await service.health.report()
            assert (report.status, report.ready) == (HealthStatus.DEGRADED, True)
            assert any("the callers stay as they were" in problem for problem in report.problems)
    assert len(signals.of(LogEvent.CALLERS_KEPT)) == 1
    logged = "".join(record.getMessage() for record in signals.records)
    assert f"session key {DESK.public} is not admitted" in logged
    assert f"(without {WRITE})" in logged
    assert SHOP.seed not in logged
    assert DESK.seed not in logged
