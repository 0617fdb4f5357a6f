"""One service and one app that use every feature of a contract, through one server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from everything_app_participant import Draft, EverythingAppClient, View
from everything_app_participant.uses.photos import (
    ChangesRequest,
    DownloadRequest,
    MissingPhoto,
    PhotoQuery,
    PhotoTagged,
    PhotoViewed,
    Priority,
    UploadProgress,
    UploadRequest,
)
from everything_participant import (
    Closed,
    CountRequest,
    DevelopPayload,
    DevelopResult,
    EverythingClient,
    EverythingService,
    Photo,
)
from orders_participant import OrderShippedEvent, OrdersService
from trellis_nats import OperationCancelled, Options
from trellis_nats.testing import NatsServer, ServiceUnderTest, service_under_test

from tests.support.archive import Archive
from tests.support.eventually import eventually
from tests.support.state_service import StoreRules, state_platform

PHOTO = Photo(photo_id="p-1", album="summer", taken=datetime(2026, 11, 29, tzinfo=UTC), tags=["sea"])
PICTURE = b"pixels" * 50_000
UPLOAD = UploadRequest(photo_id="p-2", content_type="image/png", labels={"by": "me"})
RULES = {
    "view": StoreRules(is_map=False, version="v2"),
    "drafts": StoreRules(is_map=True, version="v2"),
    "recent": StoreRules(is_map=True),
}
ALONE = Options(absent_uses=frozenset({"orders"}))


@pytest.fixture
async def everything(nats_server: NatsServer) -> AsyncIterator[ServiceUnderTest[EverythingService]]:
    async with service_under_test(EverythingService, nats_server.url) as everything:
        yield everything


@pytest.fixture
def archive(everything: ServiceUnderTest[EverythingService]) -> Archive:
    return Archive(everything.service)


async def test_a_service_of_everything_is_ready_on_a_bare_server(
    everything: ServiceUnderTest[EverythingService], archive: Archive
) -> None:
    async def is_ready() -> bool:
        return (await everything.service.health.report()).ready

    await everything.start()

    await eventually(is_ready)
    assert everything.service.uses.notifications is not None


async def test_an_app_reads_downloads_and_follows_photos(
    everything: ServiceUnderTest[EverythingService], archive: Archive
) -> None:
    await everything.start()
    async with EverythingAppClient.connect(everything.url, options=ALONE) as app:
        photos = app.uses.photos
        async with photos.feeds.photos.changes(ChangesRequest(album="summer")) as changes:
            await archive.add(PHOTO, PICTURE)
            change = await anext(aiter(changes))
        read = await photos.rpc.photos.get(PhotoQuery(photo_id="p-1"))
        downloaded = await (await photos.rpc.photos.download(DownloadRequest(photo_id="p-1"))).read()
        with pytest.raises(MissingPhoto) as missing:
            await photos.rpc.photos.get(PhotoQuery(photo_id="p-9"))

    assert change.model_dump() == {"kind": "added", "photo": PHOTO.model_dump()}
    assert read.model_dump() == PHOTO.model_dump()
    assert downloaded == PICTURE
    assert (missing.value.photo_id, missing.value.hint) == ("p-9", "upload it")
    assert app.uses.orders is None


async def test_an_app_steers_and_cancels_an_operation(
    everything: ServiceUnderTest[EverythingService], archive: Archive
) -> None:
    await everything.start()
    async with EverythingAppClient.connect(everything.url, options=ALONE) as app:
        upload = app.uses.photos.operations.photos.upload
        run = await upload.start(UPLOAD, upload=PICTURE)
        reports: list[UploadProgress] = []
        async for update in run.watch():
            progress = update.snapshot.progress
            if progress is not None and progress not in reports:
                reports.append(progress)
                if progress.step == "storing":
                    await run.signal.set_priority(Priority(level=7))
        result = await upload.ref(run.id).result()

        other = await upload.start(UPLOAD, upload=PICTURE)
        assert (await other.cancel()).state == "cancelled"
        with pytest.raises(OperationCancelled):
            await other.result()

    assert reports == [UploadProgress(step="storing", percent=10), UploadProgress(step="tagging", percent=7)]
    assert (result.photo_id, result.bytes) == ("p-2", len(PICTURE))


async def test_events_of_three_contracts_reach_a_group_in_order(
    everything: ServiceUnderTest[EverythingService], archive: Archive
) -> None:
    async with (
        OrdersService.connect(everything.url) as orders,
        EverythingAppClient.connect(everything.url, options=ALONE) as app,
        EverythingClient.connect(everything.url) as client,
        client.events.photos.viewed.subscribe() as viewed,
    ):
        await archive.add(PHOTO, PICTURE)
        await app.uses.photos.events.photos.tagged.publish(PhotoTagged(photo_id="p-1", tags=["sea", "sun"]))
        await app.uses.photos.events.photos.viewed.publish(PhotoViewed(photo_id="p-1"))
        await orders.events.orders.shipped.publish(
            OrderShippedEvent(order_id="o-1", customer_id="c-1", shipped_at=datetime.now(UTC))
        )
        await everything.drain()

        assert (await anext(viewed)).event.photo_id == "p-1"
    assert archive.catalogue == ["added p-1", "tagged p-1", "shipped o-1"]
    assert archive.thumbnails == ["p-1"]


async def test_jobs_report_updates_and_results(
    everything: ServiceUnderTest[EverythingService], archive: Archive
) -> None:
    await everything.service.jobs.develop.create(DevelopPayload(photo_id="p-1", album="summer", copies=2))

    report = await everything.drain()

    assert report.one(everything.service.jobs.develop).result == DevelopResult(pages=2)
    assert archive.printed == ["album:summer p-1"]


async def test_a_client_has_the_rpcs_that_are_not_internal(
    everything: ServiceUnderTest[EverythingService], archive: Archive
) -> None:
    await everything.start()
    async with EverythingClient.connect(everything.url) as client:
        pong = await client.rpc.ping(Closed(reason="test"))
        details = await client.rpc.photos.describe("p-1")
        run = await client.operations.albums.rebuild.start(CountRequest(album="summer"))
        counts = await run.result()

        assert not hasattr(client.rpc, "albums")
    assert pong == {"reason": "test"}
    assert (details.size, details.quality) == ((4, 3), "final")
    assert counts.total == 0


async def test_an_app_keeps_its_state(nats_server: NatsServer) -> None:
    async with (
        state_platform(nats_server.url, RULES),
        EverythingAppClient.connect(nats_server.url, options=ALONE) as app,
    ):
        await app.state.view.put(View(zoom=1.5))
        await app.state.drafts.put("p-1", Draft(caption="By the sea"))

        view = await app.state.view.get()
        assert view is not None
        assert view.value == View(zoom=1.5)
        assert [entry.key async for entry in app.state.drafts.list()] == ["p-1"]
