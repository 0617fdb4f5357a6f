"""The pull engine: keeps exactly as many messages requested as the worker has free hands.

nats-py's `fetch` is deaf for up to its timeout after a server restart, hides a deleted consumer, and can leave requests
behind that take messages nobody reads. This engine sends raw requests to one inbox, watches the heartbeats that it asks
for, handles every status (`pull_status`), and asks again at once after a reconnect.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.consumer_info import ConsumerInfo
from trellis_nats._nats.jetstream.delivery import Delivery, is_delivery, parse_delivery
from trellis_nats._nats.jetstream.pull_requests import PullRequest
from trellis_nats._nats.jetstream.pull_status import Meaning, judge
from trellis_nats._nats.jetstream.streams import consumer_info
from trellis_nats._nats.link.backoff import Backoff
from trellis_nats._nats.wire.message import Message
from trellis_nats.errors import TransportError

__all__ = ["Delivery", "Pull", "PullState"]

_log = logging.getLogger(__name__)

_STOP: Final = 0.1
"""Seconds that `stop` waits for messages under way. Fetching shall stop in 100 ms."""
_RETRY_FIRST: Final = timedelta(milliseconds=50)
_RETRY_LONGEST: Final = timedelta(seconds=2)
"""A recreated consumer shall be worked within 5 s."""
_LOOK_UP: Final = timedelta(seconds=1)
"""A look-up into an election is never answered, and must not outlast it."""
_REFUSED: Final = timedelta(seconds=5)
_MISSING_AFTER: Final = 5
"""Refusals in a row after which the consumer is looked up: an election takes fewer, a deleted consumer never ends."""


@dataclass(frozen=True, slots=True)
class PullState:
    """Whether work would arrive if there were any."""

    consuming: bool
    reason: str | None = None
    """Why not."""


class Pull:
    """Pulls from one durable consumer until stopped."""

    def __init__(
        self,
        connection: Connection,
        *,
        stream: str,
        consumer: str,
        deliver: Callable[[Delivery], None],
        expires: timedelta = timedelta(seconds=30),
        idle_heartbeat: timedelta = timedelta(seconds=3),
        on_state: Callable[[PullState], None] | None = None,
        accept: Callable[[ConsumerInfo], str | None] | None = None,
    ) -> None:
        """Prepare; nothing is sent before `start`.

        Args:
            connection: where the consumer is.
            stream: the consumer's stream.
            consumer: its durable name.
            deliver: gets each message, in the connection's reader; it must not block.
            expires: how long the server keeps a request.
            idle_heartbeat: how often the server shall show that it still has it. Two missed ones mean that it has not.
            on_state: told about each change of `state`.
            accept: looks at the consumer's info when it reappears after it was deleted; a returned sentence says why
                it is not the same any more, and keeps the engine from pulling.
        """
        self.state = PullState(consuming=False, reason="not started")
        self._connection = connection
        self._stream = stream
        self._consumer = consumer
        self._deliver = deliver
        self._expires = expires
        self._heartbeat = idle_heartbeat
        self._on_state = on_state
        self._accept = accept
        self._free = 0
        self._round: PullRequest | None = None
        self._stopped = False
        self._retry: asyncio.TimerHandle | None = None
        self._topping_up: asyncio.Handle | None = None
        self._searching: asyncio.Task[None] | None = None
        self._backoff = Backoff(_RETRY_FIRST, _RETRY_LONGEST)
        self._refusals = 0
        self._removers: list[Callable[[], None]] = []

    @property
    def consuming(self) -> bool:
        """Whether work would arrive if there were any."""
        return self.state.consuming

    @property
    def last_error(self) -> str | None:
        """Why no work can arrive now; None when it can."""
        return self.state.reason

    def start(self) -> None:
        """Begin to pull, now or when the connection is there."""
        self._removers = [
            self._connection.on_reconnect(self._begin),
            self._connection.on_disconnect(self._on_disconnect),
        ]
        if self._connection.is_connected:
            self._begin()

    def want(self, free: int) -> None:
        """Say how many more messages the worker can take now. Each delivery lowers that by one.

        Lowering it takes requests back; a message that was under way then is given back to the server at once.
        """
        self._free = max(0, free)
        if self._round is not None and self._topping_up is None:
            # One turn of the loop collects the hands that get free in it.
            self._topping_up = asyncio.get_running_loop().call_soon(self._top_up)

    async def stop(self) -> None:
        """Stop pulling. Messages still under way are given back to the server. Returns within 100 ms."""
        self._stopped = True
        self._free = 0
        for remove in self._removers:
            remove()
        for handle in (self._retry, self._topping_up):
            if handle is not None:
                handle.cancel()
        if self._searching is not None:
            self._searching.cancel()
        settled = self._end_round()
        self._report(PullState(consuming=False, reason="stopped"))
        if settled is not None:
            await asyncio.wait([settled], timeout=_STOP)

    # --- rounds: one inbox, until its requests are lost ------------------------------------------------------------

    def _begin(self) -> None:
        """Start a round with an inbox of its own: what earlier requests may still bring is not counted in it."""
        self._retry = None
        self._end_round()
        if self._stopped or self._searching is not None:
            return
        self._round = PullRequest(
            self._connection,
            subject=f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._consumer}",
            expires=self._expires,
            heartbeat=self._heartbeat,
            on_message=self._on_message,
            on_silence=self._on_silence,
            on_permission_error=self._refuse,
        )
        self._confirm(self._round)
        self._top_up()

    def _end_round(self) -> asyncio.Future[bool] | None:
        ended, self._round = self._round, None
        return None if ended is None else ended.end()

    def _confirm(self, begun: PullRequest) -> None:
        # A missing consumer is refused at once; a pong without a refusal means that the server took the request.
        def on_pong(pong: asyncio.Future[bool]) -> None:
            if not pong.cancelled() and pong.result() and self._round is begun and self._refusals == 0:
                self._report(PullState(consuming=True))

        link = self._connection.link
        if link is not None:
            link.ping().add_done_callback(on_pong)

    def _top_up(self) -> None:
        self._topping_up = None
        if self._round is None:
            return
        if self._round.credit > self._free:
            self._begin()
        else:
            self._round.top_up(self._free)

    def _again_after(self, wait: timedelta) -> None:
        self._end_round()
        if self._retry is None and not self._stopped:
            self._retry = asyncio.get_running_loop().call_later(wait.total_seconds(), self._begin)

    # --- what arrives ----------------------------------------------------------------------------------------------

    def _on_message(self, origin: PullRequest, message: Message) -> None:
        if is_delivery(message):
            self._on_work(origin, parse_delivery(self._connection, message))
        elif origin is self._round:
            self._on_status(origin, message)

    def _on_work(self, origin: PullRequest, work: Delivery) -> None:
        if self._free == 0:
            work.nak_now()
            return
        self._free -= 1
        if origin is self._round:
            self._well()
        elif self._round is not None:
            # A straggler of an earlier round took a hand that this round has requested for as well.
            self.want(self._free)
        self._deliver(work)

    def _on_status(self, origin: PullRequest, message: Message) -> None:
        verdict = judge(message)
        reason = f"{message.status} {message.description.partition(chr(10))[0]}".strip()
        match verdict.meaning:
            case Meaning.ALIVE:
                self._well()
            case Meaning.REQUEST_OVER:
                self._well()
                origin.credit = max(0, origin.credit - verdict.undelivered)
                self._top_up()
            case Meaning.REQUESTS_LOST:
                self._again_after(timedelta(milliseconds=random.randint(50, 250)))  # noqa: S311 - jitter is no secret
            case Meaning.NOT_READY:
                self._on_not_ready()
            case Meaning.GONE:
                self._search(f"consumer {self._consumer} of stream {self._stream} was deleted")
            case Meaning.REFUSED:
                self._refuse(f"the server refuses the pull request: {reason}")

    def _refuse(self, reason: str) -> None:
        self._refusals = max(1, self._refusals)
        self._report(PullState(consuming=False, reason=reason))
        self._again_after(_REFUSED)

    def _on_not_ready(self) -> None:
        self._refusals += 1
        reason = f"nobody answers for consumer {self._consumer} of stream {self._stream}"
        self._report(PullState(consuming=False, reason=reason))
        if self._refusals > _MISSING_AFTER:
            self._search(reason)
        else:
            self._again_after(self._backoff.next())

    def _on_silence(self, origin: PullRequest) -> None:
        if origin is not self._round:
            return
        self._report(PullState(consuming=False, reason="the server has not been heard from"))
        self._connection.probe()
        self._begin()

    def _on_disconnect(self) -> None:
        self._end_round()
        self._refusals = 0
        self._report(PullState(consuming=False, reason="disconnected"))

    def _well(self) -> None:
        if not self.state.consuming:
            self._refusals = 0
            self._backoff.reset()
            self._report(PullState(consuming=True))

    # --- a consumer that is not there ------------------------------------------------------------------------------

    def _search(self, reason: str) -> None:
        self._end_round()
        self._report(PullState(consuming=False, reason=reason))
        if self._searching is None and not self._stopped:
            self._searching = asyncio.create_task(self._find_consumer(), name=f"{self._consumer}: search")

    async def _find_consumer(self) -> None:
        backoff = Backoff(_RETRY_FIRST, _RETRY_LONGEST)
        while (problem := await self._missing()) is not None:
            self._report(PullState(consuming=False, reason=problem))
            await asyncio.sleep(backoff.next().total_seconds())
        self._searching = None
        self._refusals = 0
        if self._connection.is_connected:
            self._begin()

    async def _missing(self) -> str | None:
        try:
            info = await consumer_info(self._connection, self._stream, self._consumer, timeout=_LOOK_UP)
        except TransportError as error:
            return str(error)
        if info is None:
            return f"stream {self._stream} has no consumer {self._consumer}"
        return None if self._accept is None else self._accept(info)

    def _report(self, state: PullState) -> None:
        if state == self.state:
            return
        log = _log.info if state.consuming or self._stopped else _log.warning
        log("%s: %s", self._consumer, "consuming" if state.consuming else state.reason)
        self.state = state
        if self._on_state is not None:
            self._on_state(state)
