"""`Options(provision=…)`: a newer version gives what exists its settings, and an older one changes nothing back."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

import pytest
from pydantic import JsonValue
from trellis_nats import ConfigurationError, Options
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.streams import get_consumer_info, get_stream_info, update_stream
from trellis_nats._support.log_events import LogEvent
from trellis_nats.errors import ProvisioningError
from trellis_nats.provision import Update, apply_changes, plan, plan_changes, read_state
from trellis_nats.testing import LogSignals, NatsServer

from tests.support.eventually import eventually
from tests.support.shop_versions import Moved, Note, Parcel, ParcelJob, Version1, Version2, record_event
from tests.support.versions import VERSIONS, binary_of

SOON = timedelta(seconds=20)
UPDATE = Options(provision="update")
SECOND = 10**9
Version = type[Version1] | type[Version2]


async def config_of(connection: Connection, stream: str, consumer: str | None = None) -> dict[str, JsonValue]:
    if consumer is not None:
        info = await get_consumer_info(connection, stream, consumer)
        assert info is not None
        return {**info.config}
    found = await get_stream_info(connection, stream)
    assert found is not None
    config = found["config"]
    assert isinstance(config, dict)
    return config


async def settings_of(connection: Connection) -> tuple[JsonValue, ...]:
    pack = await config_of(connection, "JOBS_WORK", "parcels__pack")
    audit = await config_of(connection, "trellis", "parcels__audit")
    notes = await config_of(connection, "KV_parcels_notes")
    return (pack["ack_wait"], audit["max_ack_pending"], notes["max_msgs_per_subject"], notes["max_age"])


FIRST = (SECOND, 2, 1, 0)
UPDATED = (60 * SECOND, 4, 5, 0)
"""A TTL deletes what is stored: that needs `allow_destroy`."""
APPLIED = (60 * SECOND, 4, 5, 86_400 * SECOND)


async def connected(version: Version, url: str, options: Options = UPDATE) -> tuple[JsonValue, ...]:
    async with version.connect(url, options=options) as service:
        return await settings_of(service.runtime.connection)


@pytest.mark.parametrize("server_version", [None, *VERSIONS])
async def test_a_newer_version_sets_and_an_older_one_sets_nothing_back(server_version: str | None) -> None:
    binary = None if server_version is None else binary_of(server_version)
    async with NatsServer(binary=binary) as server:
        assert await connected(Version1, server.url) == FIRST
        assert await connected(Version2, server.url) == UPDATED
        with LogSignals() as signals:
            assert await connected(Version1, server.url) == UPDATED
            assert signals.of(LogEvent.RESOURCE_UPDATED) == []
            (line,) = (
                line for line in signals.of(LogEvent.STREAM_DEVIATES) if "parcels_notes" in line.getMessage()
            )
            assert line.levelno == logging.INFO
            assert "a newer version set it" in line.getMessage()


@pytest.mark.parametrize("mode", ["create", "verify", "off"])
async def test_without_update_nothing_that_exists_is_altered(nats_server: NatsServer, mode: str) -> None:
    async with Version1.connect(nats_server.url) as first:
        connection = first.runtime.connection
        before = [
            await config_of(connection, *names)
            for names in (
                ("JOBS_WORK", "parcels__pack"),
                ("trellis", "parcels__audit"),
                ("KV_parcels_notes",),
            )
        ]
        options = {
            "create": Options(),
            "verify": Options(provision="verify"),
            "off": Options(provision="off"),
        }
        assert await connected(Version2, nats_server.url, options[mode]) == FIRST
        assert before == [
            await config_of(connection, *names)
            for names in (
                ("JOBS_WORK", "parcels__pack"),
                ("trellis", "parcels__audit"),
                ("KV_parcels_notes",),
            )
        ]


async def test_verify_creates_nothing_and_off_asks_nothing(nats_server: NatsServer) -> None:
    with pytest.raises(ProvisioningError, match='stream "JOBS" does not exist'):
        async with Version1.connect(nats_server.url, options=Options(provision="verify")):
            pass

    async with Version1.connect(nats_server.url, options=Options(provision="off")) as service:
        assert await get_stream_info(service.runtime.connection, "JOBS") is None
        service.jobs.pack.handle(_unused)
        with pytest.raises(ProvisioningError, match="parcels__pack"):
            await service.jobs.start_workers()


async def _unused(job: ParcelJob) -> None:
    raise AssertionError(job.id)


@pytest.mark.parametrize("wrong", [True, False, "all"])
def test_another_mode_is_refused(wrong: object) -> None:
    with pytest.raises(ConfigurationError, match='must be "create", "update", "verify" or "off"'):
        Options(provision=wrong)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def test_what_is_created_is_marked_with_its_contract(nats_server: NatsServer) -> None:
    async with Version1.connect(nats_server.url) as service:
        connection = service.runtime.connection
        for names in (("JOBS_WORK", "parcels__pack"), ("trellis", "parcels__audit"), ("KV_parcels_notes",)):
            metadata = (await config_of(connection, *names))["metadata"]
            assert isinstance(metadata, dict)
            assert metadata["trellis.contract"] == "parcels@v1"
            assert metadata["trellis.digest"] == "1" * 43
            assert metadata["trellis.generator"] == "0.1.0"
            assert str(metadata["trellis.since"]).endswith("Z")
        for name in ("JOBS", "JOBS_WORK", "trellis"):
            assert "trellis." not in str((await config_of(connection, name)).get("metadata"))


async def test_an_update_keeps_the_metadata_of_others(nats_server: NatsServer) -> None:
    async with Version1.connect(nats_server.url) as first:
        connection = first.runtime.connection
        config = await config_of(connection, "KV_parcels_notes")
        metadata = config["metadata"]
        assert isinstance(metadata, dict)
        await update_stream(connection, {**config, "metadata": {**metadata, "team": "parcels"}})

        await connected(Version2, nats_server.url)

        metadata = (await config_of(connection, "KV_parcels_notes"))["metadata"]
        assert isinstance(metadata, dict)
        assert (metadata["team"], metadata["trellis.digest"]) == ("parcels", "2" * 43)
        assert metadata["trellis.before"] == "1" * 43


async def test_an_operators_hand_is_not_undone_by_the_same_version(nats_server: NatsServer) -> None:
    async with Version1.connect(nats_server.url, options=UPDATE) as first:
        connection = first.runtime.connection
        config = await config_of(connection, "KV_parcels_notes")
        await update_stream(connection, {**config, "max_msgs_per_subject": 9})

        assert await connected(Version1, nats_server.url) == (SECOND, 2, 9, 0)


@pytest.mark.parametrize("server_version", [None, *VERSIONS])
async def test_applying_disturbs_no_work(server_version: str | None) -> None:
    """Jobs that run, wait and have ended: each runs once, and `JOBS_WORK` is not touched."""
    runs: list[str] = []
    events: list[str] = []
    binary = None if server_version is None else binary_of(server_version)
    async with NatsServer(binary=binary) as server, Version1.connect(server.url) as service:
        connection = service.runtime.connection
        go = asyncio.Event()

        @service.jobs.pack.handle
        async def pack(job: ParcelJob) -> None:
            runs.append(job.id)
            if job.payload.number:
                await go.wait()

        record_event(service, events)
        await service.start()
        done = [await service.jobs.pack.create(Parcel(number=0)) for _ in range(20)]
        await asyncio.gather(*(ref.result(timeout=SOON) for ref in done))
        rest = [await service.jobs.pack.create(Parcel(number=1)) for _ in range(5)]
        await eventually(lambda: len(runs) == 21)
        await service.notes.put("k", Note(text="kept"))
        work = await get_stream_info(connection, "JOBS_WORK")

        async with Version2.connect(server.url) as next_version:
            wanted = plan(next_version.runtime.requirements())
            contract = Version2.contract
            changes = plan_changes(wanted, await read_state(connection, wanted), contract)
            applied = await apply_changes(connection, changes, contract)
            left = [(each.change.title, each.reason) for each in applied if not each.done]
            assert left == [
                ('bucket "parcels_notes"', "max_age stays unlimited: it is destructive (allow_destroy)")
            ]
            assert await settings_of(connection) == UPDATED
            changes = plan_changes(wanted, await read_state(connection, wanted), contract)
            (update,) = changes
            assert isinstance(update, Update)
            assert [setting.name for setting in update.settings] == ["max_age"]
            applied = await apply_changes(connection, changes, contract, allow_destroy=True)
            assert [each.done for each in applied] == [True]
            assert await settings_of(connection) == APPLIED
            assert plan_changes(wanted, await read_state(connection, wanted), contract) == []

        go.set()
        await asyncio.gather(*(ref.result(timeout=SOON) for ref in rest))
        await service.moved.publish(Moved(order_id="o1"))
        await eventually(lambda: events)
        assert await service.notes.get("k") is not None
        after = await get_stream_info(connection, "JOBS_WORK")

    assert sorted(runs) == sorted(ref.id for ref in (*done, *rest))
    assert work is not None
    assert after is not None
    assert after["config"] == work["config"]
    assert isinstance(after["state"], dict)
    assert isinstance(work["state"], dict)
    assert after["state"]["last_seq"] == work["state"]["last_seq"]
