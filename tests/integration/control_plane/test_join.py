"""A service that joins a deployment: while it waits, once it is in, and when the deployment changes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
from trellis_nats import (
    BootstrapFailed,
    CannotConnect,
    ConfigurationError,
    Credentials,
    HealthStatus,
    Options,
)
from trellis_nats.auth import SessionKey
from trellis_nats.connect import refuse_unsigned
from trellis_nats.control_plane.answers import Waiting
from trellis_nats.runtime import runtime_of
from trellis_nats.testing import LogEvent, LogSignals, NatsServer

from tests.support.control_plane import ControlPlane
from tests.support.eventually import eventually
from tests.support.generated import generated
from tests.support.members import MemberService
from tests.support.orders import CONTRACT
from tests.support.probe import probe
from tests.unit.control_plane.test_bootstrap import MANIFEST

KEY: Final = SessionKey.from_seed("ERERERERERERERERERERERERERERERERERERERERERE")
PENDING: Final = "authority_update_required"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every pause short."""

    def pause(_waiting: Waiting, _failures: int) -> timedelta:
        return timedelta(milliseconds=5)

    monkeypatch.setattr("trellis_nats.control_plane.bootstrap.pause_before", pause)


@pytest.fixture
async def plane(nats_server: NatsServer) -> AsyncGenerator[ControlPlane]:
    plane = ControlPlane(servers=[nats_server.url], provisioned={KEY.public}, digests={CONTRACT.digest})
    async with plane.standing():
        yield plane


async def test_readyz_says_what_the_service_waits_for(plane: ControlPlane) -> None:
    plane.waits_for = PENDING
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = Options(health_listen=str(port))

    async with asyncio.TaskGroup() as group:
        joined, leave = asyncio.Event(), asyncio.Event()

        async def run() -> None:
            async with MemberService.join(plane.url, key=KEY, options=options) as service:
                await service.start()
                joined.set()
                await leave.wait()

        group.create_task(run())
        await eventually(lambda: len(plane.requests) > 2)
        pending = await probe(f"127.0.0.1:{port}", "/readyz")
        alive = await probe(f"127.0.0.1:{port}", "/livez")
        plane.waits_for = None
        await joined.wait()
        ready = await probe(f"127.0.0.1:{port}", "/readyz")
        leave.set()

    assert (pending.status, alive.status, ready.status) == (503, 200, 200)
    error = pending.errors()["control-plane"]
    assert f"{PENDING}: A plan is pending." in error
    assert "svc orders authority accept-update 01PLAN" in error
    assert "control-plane" in ready.body.decode()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_a_service_that_waits(plane: ControlPlane, number: signal.Signals) -> None:
    plane.waits_for = PENDING

    async def send() -> None:
        await eventually(lambda: plane.requests)
        os.kill(os.getpid(), number)

    sending = asyncio.create_task(send())
    with pytest.raises(SystemExit) as ended:
        async with MemberService.join(plane.url, key=KEY):
            raise AssertionError("it must not connect")
    await sending

    assert ended.value.code == 0


async def test_a_service_that_has_joined_may_use_servers_of_other_machines(plane: ControlPlane) -> None:
    async with MemberService.join(plane.url, key=KEY) as service:
        refuse_unsigned("nats://203.0.113.1:4222", runtime_of(service).options)


async def test_a_refused_service_ends_with_the_reason(plane: ControlPlane) -> None:
    plane.disabled.add(KEY.public)
    with pytest.raises(BootstrapFailed, match="service_disabled: It is disabled"):
        async with MemberService.join(plane.url, key=KEY):
            pass


async def test_the_manifest_of_a_generated_package_is_sent(nats_server: NatsServer, tmp_path: Path) -> None:
    package, _ = generated(MANIFEST, tmp_path)

    class Derived(package.OrdersService):  # type: ignore[name-defined,misc]
        """A class of the program, in another module."""

    plane = ControlPlane(servers=[nats_server.url], provisioned={KEY.public})
    async with plane.standing(), Derived.join(plane.url, key=KEY):
        pass

    assert plane.answers == {"manifest_required": 1, "ready": 1}
    assert plane.requests[1]["contract"] == MANIFEST


async def test_a_package_without_its_manifest_is_named(plane: ControlPlane) -> None:
    plane.digests.clear()
    with pytest.raises(ConfigurationError, match=r"manifest of orders-service@v1.*contract\.json"):
        async with MemberService.join(plane.url, key=KEY):
            pass


@pytest.mark.parametrize(
    "options", [Options(session_key=KEY), Options(credentials=Credentials(nkey_seed_file=Path("seed")))]
)
async def test_the_options_leave_out_what_the_control_plane_decides(options: Options) -> None:
    with pytest.raises(ConfigurationError, match="cannot be given to `join`"):
        async with MemberService.join("http://127.0.0.1:1", key=KEY, options=options):
            pass


async def test_a_deployment_with_other_servers_is_joined_again(
    plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with NatsServer() as moved, NatsServer() as first:
        plane.servers = [first.url]
        async with MemberService.join(plane.url, key=KEY) as service:
            await service.start()
            plane.servers = [moved.url]
            first.kill()
            await eventually(lambda: runtime_of(service).connection.settings.servers == (moved.url,))
            await runtime_of(service).connection.flush()
            report = await service.health.report()
    assert report.status is HealthStatus.HEALTHY
    assert plane.answers["ready"] == 2


async def test_servers_that_are_malformed_are_not_used(plane: ControlPlane) -> None:
    async with NatsServer() as server:
        plane.servers = [server.url]
        async with MemberService.join(plane.url, key=KEY) as service:
            with LogSignals() as signals:
                plane.servers = ["wss://127.0.0.1:1"]
                server.kill()
                refused = await signals.wait_for(LogEvent.JOIN_REFUSED)
            assert runtime_of(service).connection.settings.servers == (server.url,)
    assert "wss://" in refused.getMessage()


async def test_a_short_outage_does_not_ask_the_control_plane(plane: ControlPlane) -> None:
    async with MemberService.join(plane.url, key=KEY) as service:
        connection = runtime_of(service).connection
        for _ in range(5):
            assert connection.link is not None
            connection.link.shut("test")
            await eventually(lambda: connection.is_connected)
    assert plane.answers == {"ready": 1}


async def test_a_second_connection_can_log_in_while_the_event_loop_is_blocked(plane: ControlPlane) -> None:
    async with MemberService.join(plane.url, key=KEY) as service:
        login = runtime_of(service).options.credentials
        assert callable(login)
        with ThreadPoolExecutor() as pool:
            credentials = pool.submit(login).result(timeout=10)  # blocks the event loop
        assert isinstance(credentials, Credentials)
        token = json.loads(credentials.token or "")
    assert (token["v"], token["sessionKey"], token["contractDigest"]) == (1, KEY.public, CONTRACT.digest)


async def test_a_contract_that_lost_its_place_is_waited_for_and_said(plane: ControlPlane) -> None:
    async with NatsServer() as server:
        plane.servers = [server.url]
        async with MemberService.join(plane.url, key=KEY) as service:
            await service.start()
            with LogSignals() as signals:
                plane.waits_for = "authority_migration_required"
                server.kill()
                await signals.wait_for(LogEvent.JOIN_WAITS)
                report = await service.health.report()
                plane.waits_for = None
                await signals.wait_for(LogEvent.JOINED)
                server.start()
                await runtime_of(service).connection.flush()
                again = await service.health.report()
    assert not report.ready
    assert any("authority_migration_required" in problem for problem in report.problems)
    assert again.ready


async def test_a_service_that_is_disabled_while_it_is_cut_off_asks_again(
    plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trellis_nats.control_plane.membership._AGAIN", 0.0)
    async with NatsServer() as server:
        plane.servers = [server.url]
        async with MemberService.join(plane.url, key=KEY) as service:
            with LogSignals() as signals:
                plane.disabled.add(KEY.public)
                server.kill()
                await signals.wait_for(LogEvent.JOIN_REFUSED)
                report = await service.health.report()
                plane.disabled.clear()
                await signals.wait_for(LogEvent.JOINED)
    assert any("service_disabled" in problem for problem in report.problems)


async def test_a_connection_that_comes_back_needs_no_control_plane(nats_server: NatsServer) -> None:
    plane = ControlPlane(provisioned={KEY.public}, digests={CONTRACT.digest})
    async with NatsServer() as server:
        plane.servers = [server.url]
        async with AsyncExitStack() as stack:
            async with plane.standing():
                service = await stack.enter_async_context(MemberService.join(plane.url, key=KEY))
                await service.start()
            with LogSignals() as signals:
                server.kill()
                unreachable = await signals.wait_for(LogEvent.JOIN_WAITS)
                server.start()
                await runtime_of(service).connection.flush()
                report = await service.health.report()
    assert "unreachable" in unreachable.getMessage()
    assert report.status is HealthStatus.HEALTHY


async def test_other_resources_are_used_after_a_restart(plane: ControlPlane) -> None:
    async with NatsServer() as server:
        plane.servers = [server.url]
        async with MemberService.join(plane.url, key=KEY) as service:
            await service.start()
            with LogSignals() as signals:
                plane.resources = {"kv": {"things": {"bucket": "other"}}}
                server.kill()
                await signals.wait_for(LogEvent.BINDING_CHANGED)
                server.start()
                await runtime_of(service).connection.flush()
                report = await service.health.report()
    assert (report.status, report.ready) == (HealthStatus.DEGRADED, True)
    assert any("after a restart" in problem for problem in report.problems)
    assert runtime_of(service).binding.kv == {}


async def test_servers_that_cannot_be_reached_are_an_error(plane: ControlPlane) -> None:
    plane.servers = ["nats://127.0.0.1:1"]
    with pytest.raises(CannotConnect):
        async with MemberService.join(
            plane.url, key=KEY, options=Options(connect_timeout=timedelta(milliseconds=200))
        ):
            pass


def test_a_program_without_an_event_loop_joins(nats_server: NatsServer) -> None:
    plane = ControlPlane(servers=[nats_server.url], provisioned={KEY.public}, digests={CONTRACT.digest})

    async def stand(ready: asyncio.Event) -> None:
        async with plane.standing():
            await asyncio.to_thread(join)

    def join() -> None:
        with MemberService.join_blocking(plane.url, key=KEY) as service:
            assert service.blocking.run(service.health.report_connected()).ready

    asyncio.run(stand(asyncio.Event()))
