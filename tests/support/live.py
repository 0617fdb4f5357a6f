"""A small service with feeds and its client, as trellis-gen would write them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, ClassVar, Final

from pydantic import Field
from trellis_nats import (
    RUNTIME_API,
    Client,
    Contract,
    FeedCall,
    FeedContext,
    FeedEndpoint,
    FeedInterrupted,
    FeedSpec,
    FeedSubscription,
    Model,
    Runtime,
    Service,
)

from tests.support.orders import BusyError, NotFoundError

__all__ = [
    "CONTRACT",
    "LIVE",
    "Count",
    "CountFrom",
    "LiveClient",
    "LiveService",
    "Source",
    "flush",
    "read_all",
    "running",
]

CONTRACT: Final = Contract(id="live@v1", digest="z" * 43, generator="0", runtime_api=RUNTIME_API)


class CountFrom(Model):
    """The request that opens the feed."""

    customer: str
    first: Annotated[int, Field(ge=0)] = 0


class Count(Model):
    """An event of the feed."""

    n: Annotated[int, Field(ge=0)]
    customer: str


LIVE: Final = FeedSpec(
    name="Live.Count",
    subject="feeds.v1.Live.Count",
    input=CountFrom,
    event=Count,
    errors=(NotFoundError, BusyError),
)


class LiveService(Service):
    """The service."""

    contract: ClassVar[Contract] = CONTRACT

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.count: Final = FeedEndpoint[CountFrom, Count](runtime, LIVE)


class LiveClient(Client):
    """The client."""

    contract: ClassVar[Contract] = CONTRACT

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.runtime: Final = runtime
        self.count: Final = FeedCall[CountFrom, Count](runtime, LIVE)


class Source:
    """A handler that a test feeds: every open feed yields what `send` is given, until `finish`."""

    def __init__(self) -> None:
        self.opened: list[CountFrom] = []
        self.contexts: list[FeedContext] = []
        self.closed = 0
        self._queues: set[asyncio.Queue[Count | BaseException | None]] = set()

    @property
    def open(self) -> int:
        """How many feeds are open."""
        return len(self._queues)

    def send(self, n: int) -> None:
        """Yield an event in every open feed; one below 0 is invalid."""
        self._put(Count.model_construct(n=n, customer="c1"))

    def fail(self, error: BaseException) -> None:
        """Raise an error in every open feed."""
        self._put(error)

    def finish(self) -> None:
        """Return from every open feed."""
        self._put(None)

    async def handle(self, context: FeedContext, request: CountFrom) -> AsyncIterator[Count]:
        """Serve the feed."""
        queue = asyncio.Queue[Count | BaseException | None]()
        self.opened.append(request)
        self.contexts.append(context)
        self._queues.add(queue)
        try:
            while (event := await queue.get()) is not None:
                if isinstance(event, BaseException):
                    raise event
                yield event
        finally:
            self._queues.discard(queue)
            self.closed += 1

    def _put(self, event: Count | BaseException | None) -> None:
        for queue in self._queues:
            queue.put_nowait(event)


@asynccontextmanager
async def running(url: str) -> AsyncGenerator[tuple[LiveService, Source, LiveClient]]:
    """Run a service whose feed a test feeds, and a client."""
    source = Source()
    async with LiveService.connect(url) as service, LiveClient.connect(url) as client:
        service.count.handle(source.handle)
        await service.start()
        yield service, source, client


async def read_all(events: FeedSubscription[Count]) -> tuple[list[int], FeedInterrupted | None]:
    """Read until the feed ends; return the events, and the interruption if there was one."""
    received: list[int] = []
    try:
        while True:
            received.append((await anext(events)).n)
    except StopAsyncIteration:
        return received, None
    except FeedInterrupted as error:
        return received, error


async def flush(client: LiveClient) -> None:
    """Wait until the server has read what the client sent, and the client what the server sent."""
    await client.runtime.connection.flush()
