"""Services of a deployment on a server whose auth callout checks sentinel and token, as that of a control plane does."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import pytest
from trellis_nats import CannotConnect, Credentials, Options, Permissions
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats.auth import SessionKey
from trellis_nats.control_plane.answers import Waiting
from trellis_nats.control_plane.validation import VALIDATE
from trellis_nats.runtime import runtime_of
from trellis_nats.testing import LogEvent, LogSignals, NatsServer

from tests.support.control_plane import ControlPlane
from tests.support.eventually import eventually
from tests.support.members import SECRET, MemberClient, MemberService
from tests.support.nats_keys import NatsKey
from tests.support.orders import CONTRACT, ORDERS_CREATE, REQUEST, greet
from tests.support.realm import CalloutRealm, running
from tests.support.validate import Judge

KEY: Final = SessionKey.from_seed("ERERERERERERERERERERERERERERERERERERERERERE")
CALLER: Final = SessionKey.from_seed("IiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiI")
GRANTED: Final = Permissions(
    publish=(VALIDATE,),
    subscribe=(f"{KEY.inbox_prefix}.>", ORDERS_CREATE.subject, SECRET.subject),
    allow_responses=timedelta(minutes=2),
)
"""What the control plane grants to a service with two RPCs (reference, 12.2)."""


@dataclass
class Deployment:
    """A control plane, its callout and its server."""

    plane: ControlPlane
    realm: CalloutRealm
    server: NatsServer

    def lasting(self) -> Credentials:
        """Return credentials that do not expire in a test."""
        user = NatsKey.new("user")
        return Credentials(jwt=self.realm.user_jwt(user.public, lifetime=timedelta(hours=1)), seed=user.seed)


@asynccontextmanager
async def deployed(lifetime: timedelta = timedelta(minutes=1)) -> AsyncGenerator[Deployment]:
    realm = CalloutRealm(lifetime, rights={"service": GRANTED})
    realm.keys["service"] = KEY
    sentinel = realm.login("sentinel")
    async with running(realm) as server:
        plane = ControlPlane(
            servers=[server.url],
            provisioned={KEY.public},
            digests={CONTRACT.digest},
            jwt=sentinel.jwt or "",
            seed=sentinel.seed or "",
        )
        async with plane.standing():
            yield Deployment(plane, realm, server)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every pause between two requests short."""

    def pause(_waiting: Waiting, _failures: int) -> timedelta:
        return timedelta(milliseconds=5)

    monkeypatch.setattr("trellis_nats.control_plane.bootstrap.pause_before", pause)


async def test_a_service_serves_with_what_it_is_granted_while_its_logins_expire() -> None:
    judge = Judge(services={KEY.public})
    judge.let_in(CALLER.public)
    async with (
        deployed(timedelta(seconds=2)) as deployment,
        judge.answering(deployment.server.url, ConnectionSettings().with_credentials(deployment.lasting())),
        MemberService.join(deployment.plane.url, key=KEY) as service,
        MemberClient.connect(
            deployment.server.url,
            options=Options(session_key=CALLER, credentials=deployment.lasting()),
        ) as client,
    ):
        service.create.handle(greet)
        await service.start()
        reconnects: list[None] = []
        runtime_of(service).connection.on_reconnect(lambda: reconnects.append(None))
        assert (await client.create(REQUEST)).order_id == "c1-1"
        await eventually(lambda: reconnects)
        await runtime_of(service).connection.flush()
        assert (await client.create(REQUEST)).order_id == "c1-1"
    assert deployment.plane.answers == {"ready": 1}
    assert deployment.realm.refused == []


async def test_a_contract_without_a_place_waits_for_one_and_comes_back() -> None:
    async with (
        deployed() as deployment,
        MemberService.join(deployment.plane.url, key=KEY) as service,
    ):
        await service.start()
        connection = runtime_of(service).connection
        with LogSignals() as signals:
            deployment.realm.digests = set()
            deployment.plane.waits_for = "authority_migration_required"
            assert connection.link is not None
            connection.link.shut("test")
            await signals.wait_for(LogEvent.JOIN_WAITS)
            report = await service.health.report()
            deployment.realm.digests = {CONTRACT.digest}
            deployment.plane.waits_for = None
            await connection.wait_connected()
            again = await service.health.report()
    assert "contract changed" in deployment.realm.refused
    problems = " ".join(report.problems)
    assert "control-plane: waits" in problems
    assert "refused the credentials" in problems
    assert again.ready


async def test_an_instance_that_the_callout_refuses_at_once_cannot_connect() -> None:
    async with deployed() as deployment:
        deployment.realm.digests = set()
        with pytest.raises(CannotConnect, match="refused the credentials") as refused:
            async with MemberService.join(deployment.plane.url, key=KEY):
                pass
    assert deployment.plane.seed not in repr(refused.value)
