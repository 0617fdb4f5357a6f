"""FastStream, in .venv/peers: `faststream run faststream_app:app`; run as a script it is the producer."""

# It runs in .venv/peers only: in the environment of the checkers its imports, and all that comes from them, are unknown.
# pyright: basic, reportMissingImports=false
# mypy: disable-error-code="import-not-found, untyped-decorator"

import asyncio

from faststream import FastStream
from faststream.nats import JStream, NatsBroker, PullSub
from nats.js.api import ConsumerConfig
from telling import ACK_WAIT, STEADFAST, URL, Create, handle, produce

SUBJECT = "peers.work"
STREAM = "PEERS"

steadfast = {"max_reconnect_attempts": -1} if STEADFAST else {}
broker = NatsBroker(URL, **steadfast)
app = FastStream(broker)


@broker.subscriber(
    SUBJECT,
    stream=JStream(STREAM, subjects=[SUBJECT]),
    durable="work",
    config=ConsumerConfig(ack_wait=ACK_WAIT),
    pull_sub=PullSub(batch_size=100),
    max_workers=16,
)
async def work(number: int, seconds: float) -> None:
    await handle(number, seconds)


async def connect() -> Create:
    await broker.connect()

    async def create(number: int, seconds: float) -> object:
        return await broker.publish({"number": number, "seconds": seconds}, SUBJECT, stream=STREAM)

    return create


if __name__ == "__main__":
    asyncio.run(produce(connect))
