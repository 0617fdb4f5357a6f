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
    Credentials,
    HealthStatus,
    Options,
    PermissionsMissing,
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
    assert f"calls are checked: 2 keys in {file}" in logged
    assert f"{file} was read again: keys: 1, disabled: 0; removed: shop; changed: desk" in logged
    assert f"of desk ({DESK.public[:8]}…) is not admitted" in logged
    assert f"(without {WRITE})" in logged
    assert SHOP.seed not in logged
    assert DESK.seed not in logged


@pytest.mark.parametrize(
    ("options", "level", "more"),
    [
        (Options(), "INFO", ""),
        (Options(session_key=SHOP, open=True), "INFO", ""),
        (
            Options(session_key=SHOP),
            "WARNING",
            ", although this service signs its own; give Options(callers=…)",
        ),
    ],
)
async def test_a_service_says_that_it_checks_no_calls(
    nats_server: NatsServer, options: Options, level: str, more: str
) -> None:
    with LogSignals() as signals:
        async with GuardedService.connect(nats_server.url, options=options) as service:
            service.create.handle(greet)
            service.peek.handle(greet)
            await service.start()
    (line,) = signals.of(LogEvent.CALLERS_OPEN)
    assert line.levelname == level
    assert line.getMessage().startswith(f"open mode: calls are not checked{more}")


async def test_missing_permissions_name_the_command_for_this_program() -> None:
    denied = 'authorization { users = [{user: "a", password: "b", permissions: {subscribe: "x"}}] }'
    with NatsServer(config=denied) as server:
        options = Options(session_key=SHOP, credentials=Credentials(user="a", password="b"))  # noqa: S106 - of a server for this test
        with pytest.raises(PermissionsMissing, match="permissions") as refused:
            async with OrdersClient.connect(server.url, options=options):
                pass
    command = f"trellis permissions client PACKAGE --session-key {SHOP.public}"
    assert f"`{command}` prints what the account needs, or this session key is not the one of" in str(
        refused.value
    )
