"""What is begun after a link has ended and before the next one waits for that one: nothing of it was lost."""

from trellis_nats import Options
from trellis_nats.testing import NatsServer

from tests.support.callers import SHOP, KnownKeys
from tests.support.vault import ALL, Thing, VaultClient, running

THING = Thing(name="a")


async def test_a_stream_of_messages_that_is_asked_for_between_two_links_is_not_interrupted(
    nats_server: NatsServer,
) -> None:
    async with (
        running(nats_server.url, KnownKeys.of(SHOP, capabilities=ALL)) as service,
        VaultClient.connect(nats_server.url, options=Options(session_key=SHOP)) as client,
    ):
        await service.things.put("a", b"stored")
        download = await client.fetch(THING)

        end_link(client)
        assert await download.read() == b"stored"

        end_link(client)
        async with client.watch(THING) as events:
            assert [event async for event in events] == [THING]


def end_link(client: VaultClient) -> None:
    link = client.runtime.connection.link
    assert link is not None
    link.shut("ended by the test")
