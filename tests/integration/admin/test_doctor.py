"""`trellis doctor` finds each fault that is seeded on a real server, and names its remedy."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from trellis_admin.doctor import Examined, Severity, collect, examine
from trellis_nats import Credentials, Options, permissions
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.api import JsonObject, call
from trellis_nats._nats.jetstream.kv import KvBucket
from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats._nats.jetstream.streams import get_consumer_info, get_stream_info
from trellis_nats.clock import now, timestamp
from trellis_nats.jobs.model.states import EventType
from trellis_nats.testing import NatsServer

from tests.house.sources import ROOT
from tests.support.cluster import running_cluster
from tests.support.depot import Depot, accounts, login
from tests.support.eventually import eventually
from tests.support.foreign_events import publish_foreign
from tests.support.operating import operator_connection
from tests.support.shop import Parcel, Shop
from tests.support.shop_versions import Parcel as OtherParcel
from tests.support.shop_versions import Version1, Version2
from tests.support.trellis_command import run_trellis_here
from tests.support.versions import binary_of

Seed = Callable[[Connection, Shop], Awaitable[None]]
PACKAGE = ROOT / "examples/orders_service/orders_participant"


async def edit_stream(connection: Connection, name: str, **settings: Any) -> None:
    info = await get_stream_info(connection, name)
    assert info is not None
    config = info["config"]
    assert isinstance(config, dict)
    await call(connection, f"STREAM.UPDATE.{name}", {**config, **settings})


async def edit_consumer(connection: Connection, stream: str, name: str, **settings: Any) -> None:
    info = await get_consumer_info(connection, stream, name)
    assert info is not None
    config = {**info.config, **settings}
    tokens = ["CONSUMER.CREATE", stream, name, str(config["filter_subject"])]
    body: JsonObject = {"stream_name": stream, "config": config, "action": "update"}
    await call(connection, ".".join(tokens), body)


async def replace_consumer(connection: Connection, stream: str, name: str, **settings: Any) -> None:
    await call(connection, f"CONSUMER.DELETE.{stream}.{name}")
    config = {"durable_name": name, "ack_policy": "explicit", **settings}
    await call(
        connection, f"CONSUMER.DURABLE.CREATE.{stream}.{name}", {"stream_name": stream, "config": config}
    )


async def replace_stream(connection: Connection, name: str, **settings: Any) -> None:
    info = await get_stream_info(connection, name)
    assert info is not None
    config = info["config"]
    assert isinstance(config, dict)
    await call(connection, f"STREAM.DELETE.{name}")
    await call(connection, f"STREAM.CREATE.{name}", {**config, **settings})


async def wrong_retention(connection: Connection, _: Shop) -> None:
    await replace_stream(connection, "JOBS_WORK", retention="limits")


async def memory(connection: Connection, _: Shop) -> None:
    await call(connection, "STREAM.DELETE.JOBS_WORK")
    await replace_stream(connection, "JOBS", storage="memory")


async def no_direct_reads(connection: Connection, _: Shop) -> None:
    await edit_stream(connection, "JOBS", allow_direct=False)


async def no_work_stream(connection: Connection, _: Shop) -> None:
    await call(connection, "STREAM.DELETE.JOBS_WORK")


async def no_sources(connection: Connection, _: Shop) -> None:
    await edit_stream(
        connection, "JOBS_WORK", sources=[{"name": "JOBS", "filter_subject": "trellis.jobs.x.y.*.created"}]
    )


async def stalled(connection: Connection, shop: Shop) -> None:
    await shop.jobs.pack.create(Parcel(number=1))
    await eventually(lambda: work_count(connection, 1))
    await edit_stream(connection, "JOBS_WORK", max_msgs=1, discard="new")
    for number in range(50):
        await shop.jobs.pack.create(Parcel(number=number))


async def work_count(connection: Connection, number: int) -> bool:
    info = await get_stream_info(connection, "JOBS_WORK")
    assert info is not None
    state = info["state"]
    return isinstance(state, dict) and state["messages"] == number


async def no_batches(connection: Connection, _: Shop) -> None:
    await edit_stream(connection, "JOBS", allow_atomic=False)


async def schedules(connection: Connection, _: Shop) -> None:
    await edit_stream(connection, "JOBS", allow_msg_schedules=True)


async def dropping(connection: Connection, _: Shop) -> None:
    await edit_stream(connection, "JOBS", max_msgs=1_000_000)


async def refusing(connection: Connection, _: Shop) -> None:
    await edit_stream(connection, "JOBS", max_bytes=1_000_000_000, discard="new")


async def nearly_full(connection: Connection, shop: Shop) -> None:
    await shop.jobs.pack.create(Parcel(number=1))
    await edit_stream(connection, "JOBS", max_msgs=1, discard="new")


async def short_memory(connection: Connection, _: Shop) -> None:
    await edit_stream(connection, "JOBS", max_age=3_600_000_000_000)


async def small_messages(connection: Connection, _: Shop) -> None:
    await edit_stream(connection, "JOBS_WORK", max_msg_size=1000)


async def no_bucket(connection: Connection, _: Shop) -> None:
    await call(connection, "STREAM.DELETE.KV_JOBS_KEYS_shop")


async def forgetful_bucket(connection: Connection, _: Shop) -> None:
    await edit_stream(connection, "KV_JOBS_KEYS_shop", max_age=3_600_000_000_000)


async def backoff(connection: Connection, _: Shop) -> None:
    await edit_consumer(connection, "JOBS_WORK", "shop__pack", backoff=[5_000_000_000], max_deliver=5)


async def max_deliver(connection: Connection, _: Shop) -> None:
    await edit_consumer(connection, "JOBS_WORK", "shop__pack", max_deliver=5)


async def other_filter(connection: Connection, _: Shop) -> None:
    await replace_consumer(connection, "JOBS_WORK", "shop__pack", filter_subject="trellis.work.shop.parcel")


async def no_bodies(connection: Connection, _: Shop) -> None:
    await edit_consumer(connection, "JOBS_WORK", "shop__pack", headers_only=True)


async def ack_wait(connection: Connection, _: Shop) -> None:
    await edit_consumer(connection, "JOBS_WORK", "shop__pack", ack_wait=90_000_000_000)


async def little_room(connection: Connection, _: Shop) -> None:
    await edit_consumer(connection, "JOBS_WORK", "shop__pack", max_ack_pending=5)


async def exhausted(connection: Connection, shop: Shop) -> None:
    await edit_consumer(connection, "JOBS_WORK", "shop__pack", max_ack_pending=1)
    for number in range(2):
        await shop.jobs.pack.create(Parcel(number=number))
    await eventually(lambda: work_count(connection, 2))
    inbox = connection.new_inbox()
    subscription = connection.subscribe(inbox, lambda _: None)
    await connection.publish("$JS.API.CONSUMER.MSG.NEXT.JOBS_WORK.shop__pack", b"1", reply=inbox)

    async def is_delivered() -> bool:
        info = await get_consumer_info(connection, "JOBS_WORK", "shop__pack")
        return info is not None and info.ack_pending == 1

    await eventually(is_delivered)
    await subscription.unsubscribe()


async def unknown_consumer(connection: Connection, _: Shop) -> None:
    config: JsonObject = {
        "durable_name": "taker",
        "ack_policy": "explicit",
        "filter_subject": "trellis.work.other.*",
    }
    body: JsonObject = {"stream_name": "JOBS_WORK", "config": config}
    await call(connection, "CONSUMER.DURABLE.CREATE.JOBS_WORK.taker", body)


async def held(connection: Connection, _: Shop) -> None:
    until: JsonObject = {"pause_until": timestamp(now() + timedelta(hours=1))}
    await call(connection, "CONSUMER.PAUSE.JOBS_WORK.shop__pack", until)


async def long_paused(connection: Connection, _: Shop) -> None:
    record = {"by": "ada", "reason": "x", "since": timestamp(now() - timedelta(days=3)), "source": "console"}
    await KvBucket(connection, "JOBS_KEYS_shop").put("pause.pack", json.dumps(record).encode())


async def unworked(connection: Connection, shop: Shop) -> None:
    await shop.jobs.pack.create(Parcel(number=1))
    await eventually(lambda: work_count(connection, 1))


async def advisories(connection: Connection, _: Shop) -> None:
    subject = "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.JOBS_WORK.shop__pack"
    await connection.publish(subject, b"{}")

    async def is_stored() -> bool:
        info = await get_stream_info(connection, "JOBS_ADVISORIES")
        return info is not None and isinstance(state := info["state"], dict) and state["messages"] == 1

    await eventually(is_stored)


async def deaths(connection: Connection, _: Shop) -> None:
    for number in range(10):
        await publish_acked(connection, f"trellis.jobs.shop.pack.job{number}.dead", b"{}")


SEEDS: dict[str, Seed] = {
    "stream-differs": wrong_retention,
    "direct-reads-off": no_direct_reads,
    "stream-missing": no_work_stream,
    "sources-changed": no_sources,
    "source-stalled": stalled,
    "atomic-batches-off": no_batches,
    "schedules-on-jobs": schedules,
    "stream-drops": dropping,
    "stream-limited": refusing,
    "stream-nearly-full": nearly_full,
    "max-age-short": short_memory,
    "max-msg-size": small_messages,
    "bucket-missing": no_bucket,
    "keys-ttl": forgetful_bucket,
    "consumer-backoff": backoff,
    "consumer-max-deliver": max_deliver,
    "consumer-differs": other_filter,
    "consumer-without-bodies": no_bodies,
    "ack-wait-drifted": ack_wait,
    "max-ack-pending-low": little_room,
    "consumer-exhausted": exhausted,
    "consumer-unknown": unknown_consumer,
    "pause-without-record": held,
    "pause-long": long_paused,
    "queue-without-workers": unworked,
    "deliveries-exhausted": advisories,
    "dead-growing": deaths,
}


@asynccontextmanager
async def shop_on(server: NatsServer) -> AsyncGenerator[tuple[Connection, Shop]]:
    async with Shop.connect(server.url) as shop, operator_connection(server.url) as connection:
        yield connection, shop


async def found_on(connection: Connection, *examined: Examined) -> dict[str, str]:
    """Return the checks that found something, with their texts."""
    findings = examine(await collect(connection, examined))
    assert all(finding.remedy and finding.text for finding in findings)
    return {finding.check: finding.text for finding in findings if finding.severity is not Severity.HINT}


async def test_a_healthy_service_has_no_fault(nats_server: NatsServer) -> None:
    async with shop_on(nats_server) as (connection, _):
        assert await found_on(connection, Examined(service=Shop)) == {}


@pytest.mark.parametrize("check", list(SEEDS))
async def test_a_seeded_fault_is_found(nats_server: NatsServer, check: str) -> None:
    async with shop_on(nats_server) as (connection, shop):
        await SEEDS[check](connection, shop)

        assert check in await found_on(connection)


@pytest.mark.parametrize("version", ["2.10.26", "2.12.8"])
async def test_a_stalled_source_is_found_on_older_servers(version: str) -> None:
    async with NatsServer(binary=binary_of(version)) as server, shop_on(server) as (connection, shop):
        await stalled(connection, shop)
        await eventually(lambda: has_lag(connection))

        assert "source-stalled" in await found_on(connection)


async def has_lag(connection: Connection) -> bool:
    match await get_stream_info(connection, "JOBS_WORK"):
        case {"sources": [{"lag": int(lag)}]}:
            return lag > 0
        case _:
            return False


async def test_a_stream_in_memory_is_found(nats_server: NatsServer) -> None:
    async with shop_on(nats_server) as (connection, _):
        await memory(connection, _)

        found = await found_on(connection)

    assert "storage is memory, not file" in found["stream-differs"]


async def test_a_server_before_fences_is_found() -> None:
    async with NatsServer(binary=binary_of("2.10.26")) as server, shop_on(server) as (connection, _):
        found = await found_on(connection)

    assert list(found) == ["server-old"]
    assert "2.10.26" in found["server-old"]


async def test_a_server_without_jetstream_is_found() -> None:
    async with NatsServer(jetstream=False) as server, operator_connection(server.url) as connection:
        assert list(await found_on(connection)) == ["jetstream-off"]


async def test_small_messages_are_found() -> None:
    async with (
        NatsServer(config="max_payload: 20000") as server,
        operator_connection(server.url) as connection,
    ):
        assert "20,000 bytes" in (await found_on(connection))["max-payload-small"]


async def test_full_storage_is_found() -> None:
    config = 'accounts { A { jetstream { max_file: 4000, max_mem: 1000000 }, users: [{user: "a", password: "a"}] } }'
    async with NatsServer(config=config) as server:
        options = Options(credentials=Credentials(user="a", password="a"))  # noqa: S106 - of a test
        async with operator_connection(server.url, options) as connection:
            await call(connection, "STREAM.CREATE.JOBS", {"name": "JOBS", "subjects": ["trellis.jobs.>"]})
            for _ in range(3):
                await publish_acked(connection, "trellis.jobs.a.b.c.created", b"x" * 1200)

            assert "storage-nearly-full" in await found_on(connection)


async def test_one_replica_in_a_cluster_is_found() -> None:
    async with (
        running_cluster() as cluster,
        Shop.connect(cluster.url, options=Options(replicas=1)),
        operator_connection(cluster.url) as connection,
    ):
        found = await found_on(connection)

    assert "one replica of JOBS" in found["replicas"]


async def test_what_differs_from_a_contract_is_found(nats_server: NatsServer) -> None:
    async with Version1.connect(nats_server.url) as old, operator_connection(nats_server.url) as connection:
        await old.jobs.weigh.create(OtherParcel(number=1))
        await eventually(lambda: work_count(connection, 1))
        found = await found_on(connection, Examined(service=Version2))

    assert {"ack-wait-drifted", "queue-removed"} <= set(found)


async def test_what_a_contract_lacks_is_found(nats_server: NatsServer) -> None:
    async with operator_connection(nats_server.url) as connection:
        found = await found_on(connection, Examined(service=Shop))

    assert "resource-missing" in found


async def test_permissions_that_are_too_narrow_are_found() -> None:
    users = {"producer": permissions(Depot, "producer")}
    options = replace(login("producer"), inbox_prefix="_INBOX_depot")
    async with (
        NatsServer(config=accounts(users)) as server,
        operator_connection(server.url, options) as connection,
    ):
        found = await found_on(connection, Examined(service=Depot, role="worker"))

    assert "permissions-missing" in found
    assert "permissions-narrow" in found
    assert "permissions-wide" not in found


async def test_permissions_that_are_too_wide_are_found(nats_server: NatsServer) -> None:
    async with shop_on(nats_server) as (connection, _):
        found = await found_on(connection, Examined(service=Shop, role="worker"))

    assert "delete any stream" in found["permissions-wide"]


async def test_the_command_prints_faults_with_remedies_and_exits_with_1(nats_server: NatsServer) -> None:
    async with shop_on(nats_server) as (connection, shop):
        await backoff(connection, shop)
        text = await run_trellis_here("doctor", "--server", nats_server.url)
        as_json = await run_trellis_here("doctor", "--server", nats_server.url, "--json")
        package = await run_trellis_here("doctor", PACKAGE, "--server", nats_server.url)

    assert (text.code, as_json.code, package.code) == (1, 1, 1)
    assert text.out.splitlines()[2].startswith("fault: shop/pack: the consumer has a backoff (5 s)")
    assert "    stop the workers of the queue" in text.out
    report = json.loads(as_json.out)
    assert report["v"] == 1
    assert report["findings"][0]["check"] == "consumer-backoff"
    assert "[resource-missing]" in package.out


async def test_a_job_that_died_twice_is_one_job(nats_server: NatsServer) -> None:
    async with shop_on(nats_server) as (connection, _):
        for _death in range(2):
            await publish_acked(connection, "trellis.jobs.shop.pack.job1.dead", b"{}")

        facts = await collect(connection)

    assert (facts.died, facts.died_lately) == (1, 2)


async def test_a_stale_job_is_counted_until_it_is_created_again(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    doctor = ("doctor", "--server", nats_server.url, "--db", str(tmp_path / "index"))
    async with shop_on(nats_server) as (_, shop):
        ref = await shop.jobs.ship.create(Parcel(number=1))
        for kind in (EventType.STARTED, EventType.STALE):
            await publish_foreign(shop, kind, ref.id, {"timestamp": timestamp(now())}, queue="ship")
        assert await ref.release_key()
        before = await run_trellis_here(*doctor)
        await ref.recreate()
        after = await run_trellis_here(*doctor)

    assert "1 job ended as stale within the last day" in before.out
    assert "[stale-jobs]" not in after.out


async def test_bad_input_ends_with_a_sentence(nats_server: NatsServer) -> None:
    role = await run_trellis_here("doctor", PACKAGE, "--role", "king", "--server", nats_server.url)
    alone = await run_trellis_here("doctor", "--role", "worker", "--server", nats_server.url)
    nowhere = await run_trellis_here("doctor", "--server", "nats://127.0.0.1:1")
    package = await run_trellis_here("doctor", "./nothing", "--server", nats_server.url)

    assert (role.code, alone.code, nowhere.code, package.code) == (2, 2, 3, 2)
    assert "is not a role" in role.error
    assert "name its package" in alone.error.replace("\n", " ")
    assert nowhere.error.startswith("trellis: ")
    assert package.error == "trellis: ./nothing does not exist\n"
