"""What the tests of jobs that wait for long look at: the streams, and the deliveries that a queue's consumer holds."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.api import JsonObject, call
from trellis_nats._nats.jetstream.streams import get_consumer_info
from trellis_nats.jobs.model.job_streams import SCHEDULES_SINCE
from trellis_nats.testing import NatsServer

from tests.support.lost_work import connection_of
from tests.support.shop import Shop
from tests.support.versions import VERSIONS, binary_of

__all__ = ["PARKING_VERSIONS", "count_messages", "held", "narrow", "narrow_consumer", "parks", "servers_of"]

PARKING_VERSIONS = [version for version in VERSIONS if tuple(map(int, version.split("."))) >= SCHEDULES_SINCE]
"""Those of the older servers that can park jobs."""
NARROW = 20
"""With so little room for deliveries, waits of more than a second are parked."""


def servers_of(request: pytest.FixtureRequest) -> Iterator[NatsServer]:
    """Run the server of a version; None is the newest."""
    version: str | None = request.param
    binary = None if version is None else binary_of(version)
    if binary is not None and not binary.exists():
        pytest.skip(f"nats-server {version} is not installed: `make test` does that")
    with NatsServer(binary=binary) as started:
        yield started


def parks(shop: Shop) -> bool:
    """Return whether the server of a shop can park jobs."""
    return connection_of(shop).server_version >= SCHEDULES_SINCE


async def count_messages(connection: Connection, stream: str, subject: str = ">") -> int:
    """Count the messages of a stream under a subject."""
    answer = await call(connection, f"STREAM.INFO.{stream}", {"subjects_filter": subject})
    match answer:
        case {"state": {"subjects": dict(subjects)}}:
            return sum(count for count in subjects.values() if isinstance(count, int))
        case _:
            return 0


async def held(shop: Shop, stream: str = "JOBS_WORK", queue: str = "pack") -> int:
    """Return how many deliveries a queue's consumer holds, those of delayed redeliveries included."""
    info = await get_consumer_info(connection_of(shop), stream, f"shop__{queue}")
    assert info is not None
    return info.ack_pending


async def narrow(shop: Shop, room: int = NARROW) -> None:
    """Give the work consumer as little room for deliveries as a control plane would."""
    await narrow_consumer(connection_of(shop), "shop__pack", room)


async def narrow_consumer(connection: Connection, name: str, room: int = NARROW) -> None:
    """Do so with the consumer of a queue."""
    info = await get_consumer_info(connection, "JOBS_WORK", name)
    assert info is not None
    config: JsonObject = {**info.config, "max_ack_pending": room}
    subject = config["filter_subject"]
    body: JsonObject = {"stream_name": "JOBS_WORK", "config": config, "action": "update"}
    await call(connection, f"CONSUMER.CREATE.JOBS_WORK.{name}.{subject}", body)


async def delete_delayed(shop: Shop) -> None:
    """Delete the stream with the parked jobs."""
    await call(connection_of(shop), "STREAM.DELETE.JOBS_DELAYED")


LONG = timedelta(hours=1)
"""Longer than a delivery may be held."""
