"""A generated service with every surface, with the recorded binding, and with no more than the grants of a real deployment."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from types import ModuleType
from typing import Any, Final

import pytest
from trellis_nats import (
    Binding,
    Client,
    Credentials,
    JobFailed,
    JobState,
    Options,
    Permissions,
    PermissionsMissing,
    ProvisioningError,
    Service,
    parse_binding,
    permissions,
)
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats.auth import SessionKey
from trellis_nats.provision import BucketRequirement, provision
from trellis_nats.testing import LogEvent, NatsServer

from tests.conformance.wire import NEEDS_RECORDINGS, WIRE
from tests.support.deployment import create_resources, grants_of_service
from tests.support.depot import accounts, violations
from tests.support.eventually import eventually
from tests.support.generated import generated
from tests.support.versions import VERSIONS, binary_of

pytestmark = NEEDS_RECORDINGS

KEY: Final = SessionKey.from_seed("ERERERERERERERERERERERERERERERERERERERERERE")
CALLER: Final = SessionKey.from_seed("IiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiI")
SOON: Final = timedelta(seconds=30)
ROOT: Final = ConnectionSettings(user="root", password="root")  # noqa: S106 - not a secret
OWN: Final = KEY.public[:16]
OPERATIONS: Final = tuple(f"operations.v1.Wire.{name}" for name in ("Process", "Fixed", "Upload"))
SERVED: Final = (
    *(f"rpc.v1.Wire.{name}" for name in ("Echo", "Secret", "Download")),
    "feeds.v1.Wire.Live",
    *OPERATIONS,
    *(f"{subject}.control" for subject in OPERATIONS),
)
CALLS: Final = Permissions(
    publish=(*SERVED, "transfer.v1.upload.*.*", "transfer.v1.download.*.*"),
    subscribe=(f"{CALLER.inbox_prefix}.>",),
)


@dataclass
class Wire:
    """The generated package, with its binding."""

    package: ModuleType
    binding: Binding
    events: list[Any] = field(default_factory=list[Any])  # Any: of a package that is generated here

    @property
    def granted(self) -> Permissions:
        """What the control plane grants."""
        return grants_of_service(
            self.binding, key=OWN, serves=SERVED, publishes=("events.v1.Wire.Happened.*.*",)
        )


@pytest.fixture(scope="module")
def wire(tmp_path_factory: pytest.TempPathFactory) -> Wire:
    document = json.loads((WIRE / "contracts" / "wire.manifest.json").read_text())
    resources = json.loads((WIRE / "bootstrap.json").read_text())["binding"]["resources"]
    del document["uses"]
    for groups in (document["eventConsumers"], resources["eventConsumers"]):
        del groups["conns"]  # it is of another contract
    package, _ = generated(document, tmp_path_factory.mktemp("wire"))
    return Wire(package, parse_binding(json.dumps(resources)))


@asynccontextmanager
async def deployment(
    wire: Wire,
    granted: Permissions | None = None,
    *,
    version: str | None = None,
    has_keys_bucket: bool = False,
) -> AsyncGenerator[NatsServer]:
    users = {"root": None, "service": granted or wire.granted, "caller": CALLS}
    # The platform allows many answers to one call (reference, 12.2).
    config = accounts(users).replace("max: 1,", "max: 1000,")
    async with NatsServer(config=config, binary=None if version is None else binary_of(version)) as server:
        root = await Connection.open(server.url, settings=ROOT)
        await create_resources(root, wire.binding)
        if has_keys_bucket and wire.binding.jobs is not None:  # as the second generation of control planes
            bucket = BucketRequirement(bucket=wire.binding.jobs.keys_bucket)
            await provision(root, [bucket], create=True)
        await root.close()
        yield server


def as_user(user: str, key: SessionKey) -> Options:
    return Options(
        credentials=Credentials(user=user, password=user),
        session_key=key,
        shutdown_grace=timedelta(seconds=1),
    )


@asynccontextmanager
async def connected(wire: Wire, server: NatsServer) -> AsyncGenerator[Any]:  # Any: a generated class
    service_class: type[Service] = wire.package.WireService
    options = as_user("service", KEY)
    async with service_class.connect(server.url, options=options, binding=wire.binding) as service:
        register(wire, service)
        yield service


def register(wire: Wire, service: Any) -> None:  # Any: a generated class
    package = wire.package

    async def work(job: Any) -> Any:
        if job.tries == 1:
            raise ConnectionError("the line is dead")
        await job.progress(step="working", current=1, total=1)
        return package.JobOut(by="me", name=job.payload.name)

    service.jobs.work.handle(work)

    async def fragile(job: Any) -> Any:
        raise ConnectionError("the line is dead")

    service.jobs.fragile.handle(fragile)

    async def happened(event: Any) -> None:
        wire.events.append(event.event)

    service.consumers.mine.wire_happened.handle(happened)

    register_calls(package, service)


def register_calls(package: ModuleType, service: Any) -> None:  # Any: a generated class
    async def echo(context: Any, request: Any) -> Any:
        return package.EchoOut(text=request.text, n=1)

    service.rpc.wire.echo.handle(echo)

    async def download(context: Any, request: Any) -> Any:
        return await service.stores.uploads.get(request.key)

    service.rpc.wire.download.handle(download)

    async def live(context: Any, request: Any) -> AsyncIterator[Any]:
        for n in range(3):
            yield package.LiveEvent(n=n, customer=request.customer)

    service.feeds.wire.live.handle(live)

    async def fixed(operation: Any) -> Any:
        return package.ProcessOut(order_id=operation.input.order_id, status="done")

    service.operations.wire.fixed.handle(fixed)

    async def upload(operation: Any) -> Any:
        return package.UploadOut(size=(await operation.upload).size)

    service.operations.wire.upload.handle(upload)


async def use_what_is_its_own(wire: Wire, service: Any) -> None:
    """Work jobs, and use the bucket, the store and the events."""
    package = wire.package
    ref = await service.jobs.work.create(package.JobIn(name="n", mode="m"))
    assert (await ref.result(timeout=SOON)).name == "n"
    assert (await ref.get()).tries == 2
    dead = await service.jobs.fragile.create(package.JobIn(name="n", mode="m"))
    with pytest.raises(JobFailed, match="the line is dead"):
        await dead.result(timeout=SOON)
    assert (await dead.get()).state is JobState.DEAD

    await service.kv.things.put("a", package.Thing(id="a", weight=1))
    assert (await service.kv.things.get("a")).value.weight == 1
    assert await service.kv.things.keys() == ["a"]

    store = service.stores.uploads
    content = bytes(range(256)) * 1200
    await store.put("a", content)
    assert await (await store.get("a")).read() == content
    assert [info.key for info in await store.list("a")] == ["a"]
    waiting = asyncio.ensure_future(store.wait_for("b", timeout=SOON))
    await store.put("b", b"b")
    assert (await waiting).size == 1
    await store.delete("b")

    event = package.Happened(region="eu", n=1)
    await service.events.wire.happened.publish(event)
    await eventually(lambda: event in wire.events)


async def call(wire: Wire, client: Any) -> None:
    """Call everything that the service serves."""
    package = wire.package
    assert (await client.rpc.wire.echo(package.EchoIn(mode="m", text="t"))).text == "t"
    async with client.feeds.wire.live(package.LiveIn(customer="c")) as events:
        assert [event.n async for event in events] == [0, 1, 2]
    run = await client.operations.wire.fixed.start(package.ProcessIn(order_id="o", mode="m"))
    assert (await run.result(timeout=SOON)).status == "done"
    upload = await client.operations.wire.upload.start(package.UploadIn(name="u", type="t"), upload=bytes(9))
    assert (await upload.result(timeout=SOON)).size == 9
    assert len(await (await client.rpc.wire.download(package.FileIn(key="a"))).read()) == 256 * 1200


@pytest.mark.parametrize("version", [None, VERSIONS[0]])
async def test_a_service_works_with_nothing_but_what_a_control_plane_grants(
    wire: Wire, version: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="trellis_nats.permissions")
    wire.events.clear()
    client_class: type[Client] = wire.package.WireClient
    async with (
        deployment(wire, version=version) as server,
        client_class.connect(server.url, options=as_user("caller", CALLER)) as client,
    ):
        for _ in range(2):  # it restarts
            caplog.clear()
            async with connected(wire, server) as service:
                await service.start()
                await use_what_is_its_own(wire, service)
                await call(wire, client)

                report = await service.health.report()
                (summary,) = [check.summary for check in report.checks if check.name == "service"]
                assert report.ready
                assert re.fullmatch(
                    r"the account lacks \d+ optional permissions; the log names them", summary
                )
            (limited,) = [
                record
                for record in caplog.records
                if vars(record).get("event_name") == LogEvent.PERMISSIONS_LIMITED
            ]
            assert "to read the objects of store" in limited.getMessage()
        asked = "\n".join(violations(server))
        assert "_keys_wire" not in asked.lower()
        assert "trellis_operations_wire" not in asked
        assert "transfer." not in asked


def without(line: Callable[[str], bool], granted: Permissions) -> Permissions:
    return replace(
        granted,
        publish=tuple(each for each in granted.publish if not line(each)),
        subscribe=tuple(each for each in granted.subscribe if not line(each)),
    )


MISSING: Final = {
    "rpc.v1.Wire.Echo": r'subscribe to "rpc.v1.Wire.Echo" \(to serve rpc Wire.Echo\)',
    "feeds.v1.Wire.Live": r'subscribe to "feeds.v1.Wire.Live" \(to serve feed Wire.Live\)',
    "operations.v1.Wire.Fixed.control": r'subscribe to "operations.v1.Wire.Fixed.control"',
    f"transfer.v1.upload.{OWN}.*": rf'subscribe to "transfer.v1.upload.{OWN}.\*" \(to receive the uploads',
    f"transfer.v1.download.{OWN}.*": rf'subscribe to "transfer.v1.download.{OWN}.\*" \(to receive the requests',
    f"$KV.trellis_operations_{OWN}.>": rf'publish to "\$KV.trellis_operations_{OWN}.>" \(to write to bucket',
    "$KV.tr_kv_01m8ksrmg69hsfxebm10cf4cbg.>": r'publish to "\$KV.tr_kv_.*" \(to write to bucket tr_kv_',
    "$O.tr_obj_01m8ksrmgth8r7g87qmjhep082.M.>": r'publish to "\$O.tr_obj_.*" \(to write to store tr_obj_',
    "$JS.API.CONSUMER.MSG.NEXT.trellis.tr_cons_01m8ksrmd0rpsnwmscn247d77v": r"to pull events of group mine",
}


@pytest.fixture(scope="module")
def short_of(wire: Wire) -> Iterator[NatsServer]:
    """Run a server on which each user lacks one thing."""
    users = {f"lacks{n}": without(line.__eq__, wire.granted) for n, line in enumerate(MISSING)}
    users["creates_nothing"] = without(lambda each: "STREAM.CREATE" in each, wire.granted)
    with NatsServer(config=accounts({"root": None, **users})) as server:

        async def create() -> None:
            root = await Connection.open(server.url, settings=ROOT)
            await create_resources(root, wire.binding)
            await root.close()

        asyncio.run(create())
        yield server


async def start_as(wire: Wire, server: NatsServer, user: str) -> None:
    service_class: type[Service] = wire.package.WireService
    async with service_class.connect(server.url, options=as_user(user, KEY), binding=wire.binding) as service:
        register(wire, service)
        await service.start()


async def test_the_bucket_of_operations_is_created_by_the_service(wire: Wire, short_of: NatsServer) -> None:
    with pytest.raises(
        ProvisioningError, match=rf'bucket "trellis_operations_{OWN}" does not exist, and .*CREATE'
    ):
        await start_as(wire, short_of, "creates_nothing")


@pytest.mark.parametrize("line", MISSING)
async def test_what_a_handler_cannot_do_without_is_named(wire: Wire, short_of: NatsServer, line: str) -> None:
    user = f"lacks{list(MISSING).index(line)}"
    with pytest.raises(PermissionsMissing, match=MISSING[line]) as refused:
        await start_as(wire, short_of, user)
    assert len(refused.value.missing) == 1


async def test_the_roles_of_a_service_with_a_binding_are_enough_too(wire: Wire) -> None:
    """The worker of `permissions`, where no control plane checks what else it may do."""
    wire.events.clear()
    worker = permissions(
        wire.package.WireService,
        "worker",
        binding=wire.binding,
        session_key=KEY.public,
        callers="control-plane",
    )
    async with (
        deployment(wire, worker, has_keys_bucket=True) as server,
        wire.package.WireClient.connect(server.url, options=as_user("caller", CALLER)) as client,
        connected(wire, server) as service,
    ):
        await service.start()
        await use_what_is_its_own(wire, service)
        await call(wire, client)
