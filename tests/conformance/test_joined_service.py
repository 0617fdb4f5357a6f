"""A generated service with every surface joins: recorded names, real logins, and no more than what is granted."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Final

from trellis_nats import Credentials, Options, parse_binding
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats.auth import SessionKey
from trellis_nats.control_plane.validation import VALIDATE

from tests.conformance.test_deployment import OWN, SERVED, Wire, call, register, use_what_is_its_own
from tests.conformance.wire import NEEDS_RECORDINGS, WIRE
from tests.support.control_plane import ControlPlane
from tests.support.deployment import create_resources, grants_of_service
from tests.support.generated import generated
from tests.support.nats_keys import NatsKey
from tests.support.realm import CalloutRealm, running
from tests.support.validate import Judge

pytestmark = NEEDS_RECORDINGS

KEY: Final = SessionKey.from_seed("ERERERERERERERERERERERERERERERERERERERERERE")
CALLER: Final = SessionKey.from_seed("IiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiI")


async def test_a_service_joins_and_works_with_what_the_control_plane_gives_it(tmp_path: Path) -> None:
    document = json.loads((WIRE / "contracts" / "wire.manifest.json").read_text())
    resources = json.loads((WIRE / "bootstrap.json").read_text())["binding"]["resources"]
    del document["uses"]
    for groups in (document["eventConsumers"], resources["eventConsumers"]):
        del groups["conns"]  # it is of another contract
    package, _ = generated(document, tmp_path)
    wire = Wire(package, parse_binding(json.dumps(resources)))
    granted = grants_of_service(
        wire.binding, key=OWN, serves=SERVED, publishes=("events.v1.Wire.Happened.*.*", VALIDATE)
    )
    realm = CalloutRealm(
        timedelta(minutes=1), rights={"service": granted}, answers_max=1000
    )  # reference, 12.2
    realm.keys["service"] = KEY
    sentinel = realm.login("sentinel")

    def lasting() -> Credentials:
        user = NatsKey.new("user")
        return Credentials(jwt=realm.user_jwt(user.public, lifetime=timedelta(hours=1)), seed=user.seed)

    judge = Judge(services={KEY.public})
    judge.let_in(CALLER.public, "service")
    async with running(realm) as server:
        settings = ConnectionSettings().with_credentials(lasting())
        root = await Connection.open(server.url, settings=settings)
        await create_resources(root, wire.binding)
        await root.close()
        plane = ControlPlane(
            servers=[server.url],
            provisioned={KEY.public},
            jwt=sentinel.jwt or "",
            seed=sentinel.seed or "",
            resources=resources,
        )
        client_options = Options(session_key=CALLER, credentials=lasting())
        async with (
            plane.standing(),
            judge.answering(server.url, settings),
            package.WireService.join(plane.url, key=KEY) as service,
            package.WireClient.connect(server.url, options=client_options) as client,
        ):
            register(wire, service)
            await service.start()
            await use_what_is_its_own(wire, service)
            await call(wire, client)
            report = await service.health.report()
    assert report.ready, report.problems
    assert plane.answers == {"manifest_required": 1, "ready": 1}
    assert len(set(judge.request_ids)) == len(judge.asked) > 0
