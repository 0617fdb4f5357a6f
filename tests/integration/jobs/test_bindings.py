"""Names and consumers from a control plane's binding."""

import asyncio
import json
from datetime import timedelta
from functools import partial

import pytest
from trellis_nats import Binding, ConfigurationError, ProvisioningError, parse_binding
from trellis_nats._nats.jetstream.streams import create_consumer
from trellis_nats.provision import BucketRequirement, provision
from trellis_nats.testing import NatsServer

from tests.support.shop import Parcel, ParcelJob, Receipt, Shop

SOON = timedelta(seconds=10)


async def test_a_given_binding_names_everything(nats_server: NatsServer) -> None:
    """A control plane chose opaque names, and made the resources: the service only verifies them."""
    async with Shop.connect(nats_server.url):
        pass  # makes the streams

    async with Shop.connect(nats_server.url, binding=renamed()) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            return Receipt(total=job.tries)

        with pytest.raises(ProvisioningError, match=r"tr_jobs_x_q1.*does not exist"):
            await shop.jobs.start_workers()


async def test_a_consumer_that_a_control_plane_made_works_unchanged(nats_server: NatsServer) -> None:
    """As generation 2 makes them: with a backoff, a limit of deliveries, and as many in hand as run."""
    async with Shop.connect(nats_server.url) as shop:
        connection = shop.jobs.runtime.connection
        await provision(connection, [BucketRequirement(bucket="JOBS_KEYS_tr_jobs_x")], create=True)
        await create_consumer(
            connection,
            "JOBS_WORK",
            {
                "durable_name": "tr_jobs_x_q1",
                "filter_subject": "trellis.work.tr_jobs_x.q1",
                "ack_policy": "explicit",
                "ack_wait": 600_000_000_000,
                "max_deliver": 3,
                "max_ack_pending": 1,
                "backoff": [1_000_000_000, 2_000_000_000],
            },
        )

    async with Shop.connect(nats_server.url, binding=renamed()) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            if job.tries < 3:
                raise ConnectionError("the belt stands still")
            await asyncio.sleep(1.5)
            return Receipt(total=job.tries)

        await shop.jobs.start_workers()
        ref = await shop.jobs.pack.create(Parcel(number=1))

        assert await ref.result(timeout=SOON) == Receipt(total=3)
        assert [event.event async for event in ref.events()] == [
            "created",
            "started",
            "retry",
            "started",
            "retry",
            "started",
            "completed",
        ]


async def test_a_queue_with_a_key_is_not_used_where_the_binding_has_none(nats_server: NatsServer) -> None:
    """A control plane that knows no keys would leave jobs of one key to run at the same time."""
    async with Shop.connect(nats_server.url):
        pass
    jobs = renamed().jobs
    assert jobs is not None
    unkeyed = jobs.queues["pack"].model_copy(update={"queue_type": "ship"})
    binding = Binding(jobs=jobs.model_copy(update={"queues": {"ship": unkeyed}}))

    async with Shop.connect(nats_server.url, binding=binding) as shop:

        @shop.jobs.ship.handle
        async def ship(job: ParcelJob) -> Receipt:
            return Receipt(total=job.tries)

        for use in (shop.jobs.start_workers, partial(shop.jobs.ship.create, Parcel(number=1))):
            with pytest.raises(
                ConfigurationError, match=r'queue "ship" has a concurrency key .* none in the binding'
            ):
                await use()


def renamed() -> Binding:
    return parse_binding(
        json.dumps(
            {
                "jobs": {
                    "namespace": "tr_jobs_x",
                    "workStream": "JOBS_WORK",
                    "queues": {
                        "pack": {
                            "queueType": "pack",
                            "publishPrefix": "trellis.jobs.tr_jobs_x.q1",
                            "workSubject": "trellis.work.tr_jobs_x.q1",
                            "consumerName": "tr_jobs_x_q1",
                            "payload": {"schema": "Parcel"},
                            "maxDeliver": 3,
                            "backoffMs": [50],
                            "ackWaitMs": 1000,
                            "progress": True,
                            "logs": True,
                            "dlq": True,
                            "concurrency": 1,
                        }
                    },
                }
            }
        )
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the binding is not valid"),
        ('{"jobs":{"namespace":"x","queues":{}}}', "#/jobs/workStream"),
        (
            '{"jobs":{"namespace":"x","workStream":"JOBS_WORK","queues":{"a":{"queueType":"a"}}}}',
            "publishPrefix",
        ),
        ('{"kv":{"orders":{"bucket":"a.b"}}}', "#/kv/orders/bucket"),
    ],
)
def test_an_invalid_binding_is_refused_with_its_places(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        parse_binding(text)
