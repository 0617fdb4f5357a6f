"""The HTTP listener answers probes correctly, refuses other requests, and neither disturbs the service."""

import asyncio
from datetime import timedelta

import pytest
from pydantic_core import from_json
from trellis_nats import CannotConnect, ConfigurationError, Options
from trellis_nats.testing import NatsServer, service_under_test

from tests.support.eventually import eventually
from tests.support.listening import listening
from tests.support.orders import OrdersClient
from tests.support.probe import exchange, is_ready, probe
from tests.support.shop import Parcel, ParcelJob, Receipt, Shop

LISTENING = Options(health_listen="0")


async def address_of(shop: Shop) -> str:
    assert shop.health.address is not None
    return shop.health.address


async def test_no_port_is_open_without_the_option(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url) as shop:
        assert shop.health.address is None


async def test_a_port_alone_is_on_loopback(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url, options=LISTENING) as shop:
        host, _, port = (await address_of(shop)).rpartition(":")

    assert host == "127.0.0.1"
    assert int(port) > 0


async def test_a_service_under_test_answers_probes_and_its_client_does_not(nats_server: NatsServer) -> None:
    async with service_under_test(Shop, nats_server.url, options=LISTENING) as tested:
        assert (await probe(await address_of(tested.service), "/livez")).status == 200

        async with tested.client(OrdersClient) as client:
            assert client.health.address is None


async def test_a_client_refuses_to_listen(nats_server: NatsServer) -> None:
    with pytest.raises(ConfigurationError, match=r"Options\.health_listen: a client answers no probes"):
        async with OrdersClient.connect(nats_server.url, options=LISTENING):
            pass


async def test_a_service_that_works_is_alive_and_ready(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url, options=LISTENING) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            return Receipt(total=1)

        address = await address_of(shop)
        before = await probe(address, "/readyz")
        await shop.start()
        await eventually(lambda: is_ready(address))
        alive, ready = await probe(address, "/livez"), await probe(address, "/readyz")

    assert (before.status, before.errors()) == (503, {"service": "the service is not started"})
    assert (alive.status, alive.body) == (200, b"alive\n")
    report = from_json(ready.body)
    assert (report["status"], report["ready"]) == ("healthy", True)
    assert [check["name"] for check in report["checks"]] == ["service", "nats", "jobs.pack", "jobs.pack.due"]
    assert ready.headers["content-type"] == "application/json"
    assert ready.headers["connection"] == "close"
    assert int(ready.headers["content-length"]) == len(ready.body)


async def test_a_service_whose_server_is_gone_is_alive(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url, options=LISTENING) as shop:
        await shop.start()
        address = await address_of(shop)
        nats_server.kill()
        await eventually(lambda: says_disconnected(address))

        assert (await probe(address, "/livez")).status == 200


async def says_disconnected(address: str) -> bool:
    return (await probe(address, "/readyz")).errors().get("nats") == "disconnected"


async def test_head_has_the_head_of_get(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url, options=LISTENING) as shop:
        address = await address_of(shop)
        answer = await probe(address, "/livez?verbose", method="HEAD")

    assert (answer.status, answer.body, answer.headers["content-length"]) == (200, b"", "6")


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        ("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        ("POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 405),
        ("nonsense\r\n\r\n", 400),
        ("GET /livez HTTP/1.1\r\n\r\n", 400),
        ("GET /livez HTTP/2\r\nHost: x\r\n\r\n", 505),
        ("GET /livez HTTP/1.1\r\nHost: x\r\nA: " + 20_000 * "a" + "\r\n\r\n", 431),
    ],
)
async def test_other_requests_are_refused(nats_server: NatsServer, request_text: str, status: int) -> None:
    async with Shop.connect(nats_server.url, options=LISTENING) as shop:
        raw = await exchange(await address_of(shop), request_text.encode())

    assert raw.startswith(f"HTTP/1.1 {status} ".encode())


async def test_silent_connections_block_other_probes_only_for_a_moment(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url, options=LISTENING) as shop:
        address = await address_of(shop)
        host, _, port = address.rpartition(":")
        silent = [await asyncio.open_connection(host, int(port)) for _ in range(64)]
        for reader, _ in silent[32:]:
            assert await reader.read() == b"", "beyond 32, connections are closed"
        for _, writer in silent[:16]:
            writer.close()

        await eventually(lambda: answers(address))
        for _, writer in silent:
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def answers(address: str) -> bool:
    try:
        return (await probe(address, "/livez")).status == 200
    except (OSError, ValueError, IndexError):
        return False


async def test_probes_are_answered_while_connecting() -> None:
    probed: list[int] = []

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        probed.append((await probe(listen, "/livez")).status)
        probed.append((await probe(listen, "/readyz")).status)

    async with listening(silent) as free:
        listen = f"127.0.0.1:{free}"
    options = Options(health_listen=listen, connect_timeout=timedelta(seconds=0.5))
    async with listening(silent) as port:
        with pytest.raises(CannotConnect):
            async with Shop.connect(f"127.0.0.1:{port}", options=options):
                pass

    assert probed[:2] == [200, 503]


async def test_an_address_in_use_is_an_error(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url, options=LISTENING) as shop:
        options = Options(health_listen=await address_of(shop))
        with pytest.raises(ConfigurationError, match="cannot listen on"):
            async with Shop.connect(nats_server.url, options=options):
                pass


async def test_jobs_run_while_probes_storm(nats_server: NatsServer) -> None:
    async with Shop.connect(nats_server.url, options=LISTENING) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            return Receipt(total=1)

        await shop.start()
        address = await address_of(shop)
        storm = asyncio.gather(*(answers(address) for _ in range(300)))
        ref = await shop.jobs.pack.create(Parcel(number=1))

        assert await ref.result(timeout=timedelta(seconds=5)) == Receipt(total=1)
        await storm
