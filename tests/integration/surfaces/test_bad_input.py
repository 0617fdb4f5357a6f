"""Bad input on every surface: a typed error, a line in the log, and the honest messages go on.

A new surface joins with a line in `tests.support.bad_targets.TARGETS`. The long version is tests/faults/test_bad_input.py.
"""

from __future__ import annotations

from itertools import islice

import pytest
from trellis_nats import InvalidPayload, NoResponders, RpcError
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats._nats.wire.message import Message
from trellis_nats.testing import LogEvent, LogSignals, NatsServer

from tests.support.bad_input import Bad, bad_messages, random_messages
from tests.support.bad_input_process import measure_growth
from tests.support.bad_targets import TARGETS, TargetFactory
from tests.support.bombard import bombard
from tests.support.orders import ORDERS_CREATE, REQUEST, CreateResponse, OrdersClient
from tests.support.raw_publisher import raw_publisher

EVERY = pytest.mark.parametrize("factory", TARGETS.values(), ids=list(TARGETS))
RANDOM = 250
FLOOD = 1_000
LARGE = 24
"""The headers of one may take 13 MB of memory; `make faults` sends 40 to every surface."""
GROWTH_BYTES_MAX = 100 * 1024 * 1024


@EVERY
async def test_each_bad_message_is_answered_or_logged_and_honest_ones_go_on(
    nats_server: NatsServer, factory: TargetFactory
) -> None:
    outcome = await bombard(nats_server, factory, lambda target: bad_messages(target.body))

    assert outcome.lines, "nothing was logged"
    assert set(outcome.errors) <= {"UnexpectedError", "ValidationError"}


@EVERY
async def test_random_messages(nats_server: NatsServer, factory: TargetFactory) -> None:
    await bombard(
        nats_server,
        factory,
        lambda target: islice(random_messages(15, target.body), RANDOM // target.effort),
    )


@EVERY
async def test_a_flood_of_bad_messages_does_not_flood_the_log(
    nats_server: NatsServer, factory: TargetFactory
) -> None:
    await bombard(
        nats_server,
        factory,
        lambda target: list(islice(random_messages(16, target.body), 100)) * (FLOOD // target.effort // 100),
    )


async def test_bad_answers_are_typed_errors_for_the_caller(nats_server: NatsServer) -> None:
    good = b'{"orderId":"o1"}'
    messages = [*bad_messages(good), *islice(random_messages(17, good), 200)]
    connection = await Connection.open(nats_server.url, settings=ConnectionSettings())
    async with OrdersClient.connect(nats_server.url) as client, raw_publisher(nats_server) as raw:
        answers = iter(messages)

        def answer(message: Message) -> None:
            bad = next(answers, Bad("a good one", good))
            raw.publish(message.reply.encode(), bad.body, headers=bad.headers)

        connection.subscribe(ORDERS_CREATE.subject, answer)
        await connection.flush()
        with LogSignals() as signals:
            outcomes: set[type] = set()
            for _ in messages:
                try:
                    outcomes.add(type(await client.create(REQUEST)))
                except (InvalidPayload, RpcError, NoResponders) as error:
                    outcomes.add(type(error))
            assert await client.create(REQUEST) == CreateResponse(order_id="o1")
    await connection.close()

    assert {InvalidPayload, CreateResponse} <= outcomes
    assert not signals.of(LogEvent.CONNECTION_LOST)
    assert not signals.of(LogEvent.CALLBACK_RAISED)


@pytest.mark.parametrize("name", ["rpc", "work message"])
async def test_megabytes_do_not_pile_up_in_memory(name: str) -> None:
    assert await measure_growth(name, LARGE) < GROWTH_BYTES_MAX
