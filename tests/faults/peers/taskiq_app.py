"""taskiq-nats, in .venv/peers: `taskiq worker taskiq_app:broker`; run as a script it is the producer."""

# It runs in .venv/peers only: in the environment of the checkers its imports, and all that comes from them, are unknown.
# pyright: basic, reportMissingImports=false, reportFunctionMemberAccess=false
# mypy: disable-error-code="import-not-found, untyped-decorator"

import asyncio

from nats.js.api import ConsumerConfig
from taskiq_nats import PullBasedJetStreamBroker
from telling import ACK_WAIT, STEADFAST, URL, Create, handle, produce

DURABLE = "work"

steadfast = (
    {"pull_consume_batch": 100, "pull_consume_timeout": 5, "max_reconnect_attempts": -1} if STEADFAST else {}
)
broker = PullBasedJetStreamBroker(
    URL,
    durable=DURABLE,
    consumer_config=ConsumerConfig(durable_name=DURABLE, ack_wait=ACK_WAIT),
    **steadfast,
)


@broker.task(task_name="work")
async def work(number: int, seconds: float) -> None:
    await handle(number, seconds)


async def connect() -> Create:
    await broker.startup()
    return work.kiq


if __name__ == "__main__":
    asyncio.run(produce(connect))
