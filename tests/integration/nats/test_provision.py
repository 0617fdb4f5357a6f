"""What a service needs is created where the account may, and every problem is reported at once."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from pydantic import JsonValue
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.api import JsonObject, call
from trellis_nats._nats.jetstream.consumer_info import ConsumerInfo
from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats._nats.jetstream.streams import (
    create_consumer,
    create_stream,
    get_consumer_info,
    get_stream_info,
)
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats.errors import ProvisioningError
from trellis_nats.jobs.model.job_streams import job_requirements
from trellis_nats.provision import (
    BucketRequirement,
    Requirement,
    StreamRequirement,
    provision,
    require_consumer,
)
from trellis_nats.testing import NatsServer

from tests.support.eventually import eventually
from tests.support.needs import JOBS, NEEDS, work_consumer_of

BY_ANOTHER = (
    "it has backoff 5 s, 30 s, which replaces the ack wait and it has max_deliver 5, after which the server no longer "
    "delivers a job; here the worker counts and delays retries, so the server must do neither"
)

ACCOUNTS = """
authorization { users: [
  { user: all, password: all },
  { user: worker, password: worker, permissions: {
      publish: ["$JS.API.CONSUMER.INFO.JOBS_WORK.shop__pack", "$JS.API.DIRECT.GET.KV_shop.$KV.shop.>"],
      subscribe: ["_INBOX_worker.>"] } },
  { user: reader, password: reader, permissions: {
      publish: ["$JS.API.STREAM.INFO.*", "$JS.API.CONSUMER.INFO.>"], subscribe: ["_INBOX_reader.>"] } },
] }
"""


async def as_user(server: NatsServer, user: str) -> Connection:
    return await Connection.open(
        f"nats://{user}:{user}@127.0.0.1:{server.port}",
        settings=ConnectionSettings(inbox_prefix=f"_INBOX_{user}"),
    )


def kept_for_a_day(need: Requirement) -> Requirement:
    if not isinstance(need, StreamRequirement) or need.name != "JOBS":
        return need
    return replace(need, config={**need.config, "max_age": 24 * 3600 * 10**9})


def config_of(info: JsonObject | ConsumerInfo | None) -> JsonObject:
    assert info is not None
    config = dict(info.config) if isinstance(info, ConsumerInfo) else info["config"]
    assert isinstance(config, dict)
    return config


async def test_everything_is_created_as_designed(connection: Connection) -> None:
    await provision(connection, NEEDS, create=True)

    jobs = config_of(await get_stream_info(connection, "JOBS"))
    work = config_of(await get_stream_info(connection, "JOBS_WORK"))
    consumer = config_of(await get_consumer_info(connection, "JOBS_WORK", "shop__pack"))
    bucket = config_of(await get_stream_info(connection, "KV_shop"))
    assert jobs["subjects"] == ["trellis.jobs.>"]
    assert jobs["max_age"] == 90 * 24 * 3600 * 10**9
    assert jobs["allow_direct"] is True
    assert work["retention"] == "workqueue"
    assert consumer["ack_wait"] == 30 * 10**9
    assert consumer["max_deliver"] == -1
    assert consumer["max_ack_pending"] == 100_000
    assert "backoff" not in consumer
    assert (bucket["max_msgs_per_subject"], bucket["max_msg_size"]) == (2, 1000)
    assert (bucket["discard"], bucket["deny_delete"], bucket["allow_rollup_hdrs"]) == ("new", True, True)
    assert config_of(await get_stream_info(connection, "JOBS_ADVISORIES"))["max_age"] == 7 * 24 * 3600 * 10**9
    assert config_of(await get_stream_info(connection, "trellis"))["subjects"] == ["events.>"]


async def test_a_created_job_becomes_work(connection: Connection) -> None:
    await provision(connection, NEEDS, create=True)

    for event in ("created", "started", "retried"):
        await publish_acked(connection, f"trellis.jobs.shop.pack.J1.{event}", b"{}")

    async def pending() -> bool:
        info = await get_consumer_info(connection, "JOBS_WORK", "shop__pack")
        return info is not None and info.pending == 2

    await eventually(pending)


async def test_provisioning_again_changes_nothing(connection: Connection) -> None:
    await provision(connection, NEEDS, create=True)
    before = await get_stream_info(connection, "JOBS")

    await provision(connection, [kept_for_a_day(need) for need in NEEDS], create=True)
    await provision(connection, NEEDS, create=False)

    assert config_of(await get_stream_info(connection, "JOBS")) == config_of(before)


async def test_many_that_start_at_once_do_not_disturb_each_other(nats_server: NatsServer) -> None:
    connections = await asyncio.gather(
        *(Connection.open(nats_server.url, settings=ConnectionSettings()) for _ in range(8))
    )

    await asyncio.gather(*(provision(opened, NEEDS, create=True) for opened in connections))

    await asyncio.gather(*(opened.close() for opened in connections))


async def test_without_create_everything_missing_is_named(connection: Connection) -> None:
    with pytest.raises(ProvisioningError) as failure:
        await provision(connection, NEEDS, create=False)

    missing = [
        'stream "JOBS"',
        'stream "JOBS_WORK"',
        'stream "JOBS_ADVISORIES"',
        'bucket "JOBS_KEYS_shop"',
        'stream "trellis"',
        'bucket "shop"',
    ]
    assert len(failure.value.problems) == len(missing)
    for what, problem in zip(missing, failure.value.problems, strict=True):
        assert problem.startswith(f"{what} does not exist; the control plane or an operator must create it")
    assert await get_stream_info(connection, "JOBS") is None


async def test_what_the_account_may_not_create_is_named_with_the_subject() -> None:
    async with NatsServer(config=ACCOUNTS) as server:
        reader = await as_user(server, "reader")

        with pytest.raises(ProvisioningError) as failure:
            await provision(reader, NEEDS, create=True)

        assert len(failure.value.problems) == 6
        assert 'may not publish to "$JS.API.STREAM.CREATE.JOBS"' in failure.value.problems[0]
        assert "an operator must create it" in failure.value.problems[0]
        await reader.close()


async def test_a_workers_account_verifies_its_buckets_and_its_consumer_only() -> None:
    async with NatsServer(config=ACCOUNTS) as server:
        owner, worker = await as_user(server, "all"), await as_user(server, "worker")

        with pytest.raises(ProvisioningError) as failure:
            await provision(worker, NEEDS, create=False)
        with pytest.raises(ProvisioningError) as no_consumer:
            await require_consumer(worker, work_consumer_of(), create=False)
        await provision(owner, NEEDS, create=True)
        for create in (False, True):
            await provision(worker, NEEDS, create=create)
            await require_consumer(worker, work_consumer_of(), create=create)

        problems = [*failure.value.problems, *no_consumer.value.problems]
        assert {problem.partition(" does not exist")[0] for problem in problems} == {
            'consumer "shop__pack" of stream "JOBS_WORK"',
            'bucket "shop"',
        }
        await owner.close()
        await worker.close()


async def test_what_differs_is_named_and_not_changed(
    connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    await create_stream(
        connection, {"name": "JOBS", "subjects": ["trellis.jobs.>"], "storage": "memory", "max_msgs": 9}
    )
    await create_stream(connection, {"name": "JOBS_WORK", "subjects": ["trellis.work.>"]})
    await create_stream(
        connection,
        {"name": "KV_shop", "subjects": ["$KV.shop.>"], "max_msgs_per_subject": 5},
    )

    with pytest.raises(ProvisioningError) as failure:
        await provision(connection, NEEDS, create=True)

    assert failure.value.problems == (
        'stream "JOBS" differs: storage is memory, not file',
        'stream "JOBS" differs: allow_direct is false, not true',
        'stream "JOBS_WORK" differs: retention is limits, not workqueue',
        'stream "JOBS_WORK" differs: it has no source JOBS that turns "trellis.jobs.*.*.*.created" into "trellis.work.$1.$2"',
        'stream "JOBS_WORK" differs: it has no source JOBS that turns "trellis.jobs.*.*.*.retried" into "trellis.work.$1.$2"',
        'bucket "shop" differs: allow_direct is false, not true',
    )
    assert config_of(await get_stream_info(connection, "JOBS"))["storage"] == "memory"
    assert 'stream "JOBS" has max_msgs 9: when it is full, it drops the oldest messages' in caplog.text


async def test_both_ways_to_write_the_sources_are_accepted(connection: Connection) -> None:
    await create_stream(connection, {"name": "JOBS", "subjects": ["trellis.jobs.>"], "allow_direct": True})
    sources: list[JsonValue] = [
        {
            "name": "JOBS",
            "subject_transforms": [{"src": f"trellis.jobs.*.*.*.{event}", "dest": "trellis.work.$1.$2"}],
        }
        for event in ("created", "retried")
    ]
    await call(
        connection,
        "STREAM.CREATE.JOBS_WORK",
        {
            "name": "JOBS_WORK",
            "subjects": ["trellis.work.>"],
            "retention": "workqueue",
            "sources": sources,
        },
    )

    await provision(connection, NEEDS, create=True)


async def test_a_consumer_of_another_runtime_is_recognised(connection: Connection) -> None:
    other = work_consumer_of("other", filters="trellis.work.a.b")
    await provision(
        connection, [other if need == work_consumer_of() else need for need in NEEDS], create=True
    )
    await create_consumer(
        connection,
        "JOBS_WORK",
        {
            "durable_name": "shop__pack",
            "filter_subject": "trellis.work.shop.pack",
            "ack_policy": "explicit",
            "backoff": [5 * 10**9, 30 * 10**9],
            "max_deliver": 5,
            "max_ack_pending": 1,
        },
    )

    await provision(connection, NEEDS, create=True)
    with pytest.raises(ProvisioningError) as failure:
        await require_consumer(connection, work_consumer_of(), create=True)

    consumer = 'consumer "shop__pack" of stream "JOBS_WORK" differs: '
    assert failure.value.problems == (f"{consumer}another runtime created it: {BY_ANOTHER}",)


async def test_a_subject_in_use_by_another_stream_is_named(connection: Connection) -> None:
    await create_stream(connection, {"name": "MINE", "subjects": ["trellis.>"]})

    with pytest.raises(ProvisioningError) as failure:
        await provision(connection, NEEDS, create=True)

    assert (
        failure.value.problems[0]
        == 'stream "JOBS" cannot be created: subjects overlap with an existing stream'
    )


async def test_a_server_without_jetstream_is_named() -> None:
    async with NatsServer(jetstream=False) as server:
        connection = await Connection.open(server.url, settings=ConnectionSettings())

        with pytest.raises(
            ProvisioningError, match=f"JetStream is not enabled on {server.url}.*start the server with -js"
        ):
            await provision(connection, NEEDS, create=True)

        await connection.close()


async def test_each_problem_has_a_line_of_its_own(connection: Connection) -> None:
    with pytest.raises(ProvisioningError) as failure:
        await provision(connection, NEEDS, create=False)

    assert str(failure.value).splitlines() == list(failure.value.problems)
    assert len(failure.value.problems) > 1


async def test_what_is_optional_is_created_but_not_missed(connection: Connection) -> None:
    optional = BucketRequirement(bucket="extra", is_optional=True)

    await provision(connection, [optional], create=False)
    assert await get_stream_info(connection, "KV_extra") is None

    await provision(connection, [optional], create=True)
    assert await get_stream_info(connection, "KV_extra") is not None


async def test_an_account_that_may_not_create_what_is_optional_does_without() -> None:
    optional = BucketRequirement(bucket="extra", is_optional=True)
    async with NatsServer(config=ACCOUNTS) as server:
        for user in ("reader", "worker"):
            account = await as_user(server, user)
            await provision(account, [optional], create=True)
            await account.close()
        assert "$JS.API.DIRECT.GET.KV_extra" not in server.log


@pytest.mark.parametrize(("is_keyed", "is_optional"), [(True, False), (False, True)])
def test_only_keyed_queues_need_the_bucket_of_the_keys(*, is_keyed: bool, is_optional: bool) -> None:
    jobs = JOBS if is_keyed else JOBS.model_copy(update={"queues": {}})

    (bucket,) = (need for need in job_requirements(jobs) if isinstance(need, BucketRequirement))

    assert bucket.is_optional is is_optional
