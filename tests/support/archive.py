"""Handlers of the contract that uses every feature: a photo archive."""

from __future__ import annotations

from collections.abc import AsyncIterator

from everything_participant import (
    AlbumsRebuildOperation,
    Always,
    Change,
    ChangeAdded,
    ChangesRequest,
    CleanJob,
    Closed,
    CountRequest,
    Counts,
    Details,
    DetailsLens,
    DevelopJob,
    DevelopResult,
    DevelopUpdate,
    DownloadRequest,
    EverythingService,
    MissingPhoto,
    Photo,
    PhotoAdded,
    PhotoId,
    PhotoQuery,
    PhotosUploadOperation,
    PhotosUploadSetPrioritySignal,
    PhotoTagged,
    Refused,
    UploadProgress,
    UploadResult,
)
from everything_participant.uses.orders import OrderShippedEvent
from trellis_nats import DeliveredEvent, FeedContext, RpcContext, StoredObject

__all__ = ["Archive"]


class Archive:
    """Serves everything, and remembers what its groups and jobs handled."""

    def __init__(self, service: EverythingService) -> None:
        self.catalogue: list[str] = []
        self.thumbnails: list[str] = []
        self.printed: list[str] = []
        self.cleaned: list[str] = []
        self._service = service
        self._serve_rpcs()
        self._serve_operations()
        self._serve_feeds()
        self._work_events()
        self._work_jobs()

    async def add(self, photo: Photo, picture: bytes) -> None:
        """Store a photo, and publish that it is new."""
        await self._service.kv.photos.put(photo.photo_id, photo)
        await self._service.stores.originals.put(photo.photo_id, picture, content_type="image/png")
        await self._service.events.photos.added.publish(
            PhotoAdded(photo_id=photo.photo_id, album=photo.album, year=2026)
        )

    def _serve_rpcs(self) -> None:
        service = self._service

        @service.rpc.photos.get.handle
        async def get_photo(context: RpcContext, request: PhotoQuery) -> Photo:
            entry = await service.kv.photos.get(request.photo_id)
            if entry is None:
                raise MissingPhoto(photo_id=request.photo_id, hint="upload it")
            return entry.value

        @service.rpc.photos.download.handle
        async def download_photo(context: RpcContext, request: DownloadRequest) -> StoredObject:
            stored = await service.stores.originals.get(request.photo_id)
            if stored is None:
                raise MissingPhoto(photo_id=request.photo_id)
            return stored

        @service.rpc.photos.describe.handle
        async def describe_photo(context: RpcContext, request: PhotoId) -> Details:
            return Details(version=2, size=(4, 3), lens=DetailsLens(name="wide", millimetres=24))

        @service.rpc.albums.count.handle
        async def count_photos(context: RpcContext, request: CountRequest) -> Counts:
            return Counts(total=len(await service.kv.photos.keys()))

        @service.rpc.ping.handle
        async def ping(context: RpcContext, request: Closed) -> Always:
            return {"reason": request.reason}

    def _serve_operations(self) -> None:
        service = self._service

        @service.operations.photos.upload.handle(resume="run-again")
        async def upload(operation: PhotosUploadOperation) -> UploadResult:
            await operation.progress(UploadProgress(step="storing", percent=10))
            picture = await operation.upload
            async for signal in operation.signals():
                if not isinstance(signal, PhotosUploadSetPrioritySignal):
                    raise Refused("skipped")
                await operation.progress(UploadProgress(step="tagging", percent=signal.input.level))
                break
            operation.raise_if_cancelled()
            return UploadResult(photo_id=operation.input.photo_id, bytes=picture.size)

        @service.operations.albums.rebuild.handle
        async def rebuild(operation: AlbumsRebuildOperation) -> Counts:
            return Counts(total=len(await service.kv.photos.keys()))

    def _serve_feeds(self) -> None:
        service = self._service

        @service.feeds.photos.changes.handle
        async def changes(context: FeedContext, request: ChangesRequest) -> AsyncIterator[Change]:
            async with service.events.photos.added.subscribe() as added:
                async for received in added:
                    entry = await service.kv.photos.get(received.event.photo_id)
                    if entry is not None and request.album in {None, entry.value.album}:
                        yield ChangeAdded(kind="added", photo=entry.value)

    def _work_events(self) -> None:
        catalogue, thumbnails = self._service.consumers.catalogue, self._service.consumers.thumbnails

        @catalogue.photos_added.handle
        async def add_to_catalogue(event: DeliveredEvent[PhotoAdded]) -> None:
            self.catalogue.append(f"added {event.event.photo_id}")

        @catalogue.photos_tagged.handle
        async def tag_in_catalogue(event: DeliveredEvent[PhotoTagged]) -> None:
            self.catalogue.append(f"tagged {event.event.photo_id}")

        @catalogue.orders_shipped.handle
        async def note_order(event: DeliveredEvent[OrderShippedEvent]) -> None:
            self.catalogue.append(f"shipped {event.event.order_id}")

        @thumbnails.photos_added.handle
        async def make_thumbnail(event: DeliveredEvent[PhotoAdded]) -> None:
            self.thumbnails.append(event.event.photo_id)

    def _work_jobs(self) -> None:
        jobs = self._service.jobs

        @jobs.develop.handle
        async def develop(job: DevelopJob) -> DevelopResult:
            await job.progress(step="printing", current=1, total=job.payload.copies)
            await job.emit_update(DevelopUpdate(page=1))
            self.printed.append(f"{job.key} {job.payload.photo_id}")
            return DevelopResult(pages=job.payload.copies)

        @jobs.clean.handle
        async def clean(job: CleanJob) -> None:
            self.cleaned.append(job.payload.album)
