"""JetStream of another server or under another name, and accounts that require limits."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from trellis_nats import ConfigurationError, Options, Permissions, ProvisioningError, permissions
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.api import call
from trellis_nats._nats.jetstream.streams import get_stream_info
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats.errors import NoResponders
from trellis_nats.testing import NatsServer

from tests.support.depot import Depot, DepotClient, accounts, login, register, violations
from tests.support.eventually import eventually
from tests.support.orders import REQUEST, CreateResponse
from tests.support.shop import Parcel, ParcelJob, Receipt, Shop
from tests.support.versions import VERSIONS, binary_of

SOON = timedelta(seconds=20)
MIB = 1024 * 1024


async def works(url: str, options: Options) -> None:
    """Work a job, one with a key, and many at once; maintenance runs too."""
    async with Shop.connect(url, options=options) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            await job.progress(step="packing")
            if job.tries == 1:
                raise ConnectionError("the belt stands still")
            return Receipt(total=job.payload.number)

        @shop.jobs.ship.handle
        async def ship(job: ParcelJob) -> Receipt:
            return Receipt(total=job.payload.number)

        await shop.start()
        ref = await shop.jobs.pack.create(Parcel(number=7))
        assert await ref.result(timeout=SOON) == Receipt(total=7)
        keyed = [await shop.jobs.ship.create(Parcel(number=number)) for number in (1, 2)]
        assert [(await ref.result(timeout=SOON)).total for ref in keyed] == [1, 2]
        many = await shop.jobs.pack.create_many([Parcel(number=number) for number in range(3)])
        assert [(await ref.result(timeout=SOON)).total for ref in many] == [0, 1, 2]
        assert (await shop.jobs.rescue_lost()).enqueued == 0
        assert (await shop.health.report()).ready


# --- accounts that require a limit -----------------------------------------------------------------------------------

REQUIRED = (
    f"accounts {{ A {{ jetstream {{ max_file: {64 * MIB}, max_bytes_required: true }}, "
    "users: [{ user: a, password: a }] } }\nno_auth_user: a"
)


@pytest.mark.parametrize("version", [None, *VERSIONS])
async def test_an_account_that_requires_max_bytes(version: str | None) -> None:
    binary = None if version is None else binary_of(version)
    async with NatsServer(config=REQUIRED, binary=binary) as server:
        with pytest.raises(ProvisioningError, match=r"Options\(max_bytes="):
            async with Shop.connect(server.url):
                pass

        await works(server.url, Options(max_bytes=4 * MIB))

        connection = await Connection.open(server.url, settings=ConnectionSettings())
        info = await get_stream_info(connection, "JOBS")
        assert info is not None
        assert isinstance(info["config"], dict)
        assert (info["config"]["max_bytes"], info["config"]["discard"]) == (4 * MIB, "new")
        await connection.close()


# --- a domain, and a prefix ------------------------------------------------------------------------------------------


def jetstream(store: Path, domain: str) -> str:
    return f'jetstream {{ domain: {domain}, store_dir: "{store}" }}\n'


def roles(**names: str) -> dict[str, Permissions | None]:
    """Return a user for each role that the test plays, with the grants for a domain or a prefix."""
    domain, prefix = names.get("domain"), names.get("prefix")
    return {
        role: permissions(
            DepotClient if role == "client" else Depot,
            role,
            jetstream_domain=domain,
            jetstream_api_prefix=prefix,
        )
        for role in ("provisioner", "worker", "producer", "client")
    }


async def the_roles_work(server: NatsServer, **changes: str) -> None:
    def as_role(role: str) -> Options:
        return replace(login(role), **changes)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] - texts only

    async with Depot.connect(server.url, options=as_role("provisioner")):
        pass
    async with (
        Depot.connect(server.url, options=as_role("worker")) as worker,
        Depot.connect(server.url, options=as_role("producer")) as producer,
        DepotClient.connect(server.url, options=as_role("client")) as client,
    ):
        register(worker)
        await worker.start()
        ref = await producer.jobs.pack.create(Parcel(number=7))
        assert await ref.result(timeout=SOON) == Receipt(total=7)
        keyed = await producer.jobs.ship.create(Parcel(number=3))
        assert await keyed.result(timeout=SOON) == Receipt(total=3)
        assert await client.create(REQUEST) == CreateResponse(order_id="c1-1")
        looked_up = [subject for subject in violations(server) if ".STREAM.INFO." not in subject]
        buckets = (".DIRECT.GET.KV_depot_orders.", ".DIRECT.GET.KV_trellis_operations_depot.")
        assert [subject for subject in looked_up if not any(bucket in subject for bucket in buckets)] == []


async def test_the_roles_of_a_domain(tmp_path: Path) -> None:
    config = jetstream(tmp_path, "hub") + accounts(roles(domain="hub"))
    async with NatsServer(config=config, jetstream=False) as server:
        await the_roles_work(server, jetstream_domain="hub")


async def test_the_roles_of_another_prefix() -> None:
    users = accounts(roles(prefix="JS.ours"))
    config = users.replace(
        "jetstream: enabled,", 'jetstream: enabled, mappings: { "JS.ours.>": "$JS.API.>" },'
    )
    async with NatsServer(config=config) as server:
        await the_roles_work(server, jetstream_api_prefix="JS.ours")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"jetstream_domain": "a", "jetstream_api_prefix": "b"}, "either"),
        ({"jetstream_domain": "a.b"}, "not a valid name of a domain"),
        ({"jetstream_domain": ""}, "not a valid name of a domain"),
        ({"jetstream_api_prefix": "a."}, "tokens"),
        ({"jetstream_api_prefix": "a.>"}, "tokens"),
        ({"max_bytes": 0}, "positive"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Options(**options)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] - one of each


# --- a leaf node -----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def leaf_of_a_hub(tmp_path: Path, own_jetstream: str) -> AsyncGenerator[NatsServer]:
    """Run a hub with JetStream, and a leaf node; its clients belong to one account of the hub."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    hub_config = (
        jetstream(tmp_path / "hub", "hub") + f'server_name: hub\nleafnodes {{ listen: "127.0.0.1:{port}" }}'
    )
    leaf_config = f'server_name: leaf\nleafnodes {{ remotes: [{{ url: "nats-leaf://127.0.0.1:{port}" }}] }}\n'
    async with (
        NatsServer(config=hub_config, jetstream=False),
        NatsServer(config=leaf_config + own_jetstream, jetstream=False) as leaf,
    ):
        connection = await Connection.open(leaf.url, settings=ConnectionSettings(api_prefix="$JS.hub.API"))

        async def reaches_the_hub() -> bool:
            try:
                await call(connection, "INFO")
            except NoResponders:
                return False
            return True

        await eventually(reaches_the_hub)
        await connection.close()
        yield leaf


@pytest.mark.parametrize("has_jetstream", [False, True])
async def test_a_leaf_node_uses_the_jetstream_of_its_hub(tmp_path: Path, *, has_jetstream: bool) -> None:
    own = jetstream(tmp_path / "leaf", "leaf") if has_jetstream else ""
    async with leaf_of_a_hub(tmp_path, own) as leaf:
        await works(leaf.url, Options(jetstream_domain="hub"))


async def test_a_leaf_node_without_jetstream_names_the_option() -> None:
    async with NatsServer(jetstream=False) as server:
        with pytest.raises(ProvisioningError, match=r'Options\(jetstream_domain="…"\)'):
            async with Shop.connect(server.url):
                pass
