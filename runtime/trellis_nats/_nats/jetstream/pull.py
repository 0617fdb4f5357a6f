"""Pulls messages: always requests exactly as many as the worker can take.

nats-py's `fetch` receives nothing for up to its timeout after a server restart, hides a deleted consumer, and can leave
requests behind whose messages are never read. This engine sends raw requests to one inbox, watches the heartbeats that
it asks for, handles every status (`pull_status`), and requests again immediately after a reconnect.
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
from trellis_nats._nats.jetstream.api import api_subject
from trellis_nats._nats.jetstream.consumer_info import ConsumerInfo
from trellis_nats._nats.jetstream.delivery import Delivery, is_delivery, parse_delivery
from trellis_nats._nats.jetstream.pull_requests import PullRequests
from trellis_nats._nats.jetstream.pull_status import Meaning, interpret_status
from trellis_nats._nats.jetstream.streams import get_consumer_info
from trellis_nats._nats.link.backoff import Backoff
from trellis_nats._nats.wire.message import Message
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats._support.log_throttle import LogThrottle
from trellis_nats.errors import TransportError

__all__ = ["Delivery", "Pull", "PullState"]

_log = logging.getLogger(__name__)

_STOP: Final = 0.1
"""Seconds that `stop` waits for messages under way."""
_RETRY_FIRST: Final = timedelta(milliseconds=50)
_RETRY_LONGEST: Final = timedelta(seconds=2)
"""Short, so that a recreated consumer is worked within 5 s."""
_LOOK_UP: Final = timedelta(seconds=1)
"""Limits one look-up of the consumer. During a leader election it is not answered, and must not outlast the election."""
_REFUSED: Final = timedelta(seconds=5)
_MISSING_AFTER: Final = 5
"""After this many refusals in a row the consumer is looked up: an election causes fewer, a deleted consumer any number."""

_outage_logs: Final = {
    LogEvent.CONSUMER_SILENT: LogThrottle(_log, every=timedelta(seconds=5)),
    LogEvent.CONSUMER_UNAVAILABLE: LogThrottle(_log),
}
"""Shared by all consumers of the process. An outage hits all of them within a moment, or within the two heartbeats after
which silence is noticed; it is logged once."""


@dataclass(frozen=True, slots=True)
class PullState:
    """Whether work would arrive if there were any."""

    consuming: bool
    reason: str | None = None
    """Why no work would arrive."""


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
        on_missing: Callable[[], None] | None = None,
        is_quiet: bool = False,
    ) -> None:
        """Prepare; nothing is sent before `start`.

        Args:
            connection: where the consumer is.
            stream: the consumer's stream.
            consumer: its durable name.
            deliver: called with each message, in the connection's reader; it must not block.
            expires: how long the server keeps a request.
            idle_heartbeat: how often the server sends a heartbeat for a request. After two missed ones the request
                counts as lost.
            on_state: called at each change of `state`.
            accept: checks a consumer that exists again after it was deleted, or that `recheck` doubts. A returned sentence
                says why it cannot be used any longer, and keeps the engine from pulling.
            on_missing: called when the consumer does not exist any longer. The engine then stops pulling; without it, it
                waits until the consumer exists again.
            is_quiet: whether its start and stop are logged at DEBUG only: it accompanies another engine, or serves one reader.
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
        self._on_missing = on_missing
        self._normal_level = logging.DEBUG if is_quiet else logging.INFO
        self._free = 0
        self._requests: PullRequests | None = None
        self._stopped = False
        self._retry: asyncio.TimerHandle | None = None
        self._topping_up: asyncio.Handle | None = None
        self._searching: asyncio.Task[None] | None = None
        self._backoff = Backoff(_RETRY_FIRST, _RETRY_LONGEST)
        self._refusals = 0
        self._removers: list[Callable[[], None]] = []

    def start(self) -> None:
        """Begin to pull, now or when the connection is up."""
        self._removers = [
            self._connection.on_reconnect(self._begin),
            self._connection.on_disconnect(self._on_disconnect),
        ]
        if self._connection.is_connected:
            self._begin()

    def set_capacity(self, free: int) -> None:
        """Set how many more messages the worker can take now. Each delivery lowers it by one.

        Lowering it cancels requests; a message that is already under way is returned to the server immediately.
        """
        self._free = max(0, free)
        if self._requests is not None and self._topping_up is None:
            # One request covers all the capacity that becomes free in one turn of the loop.
            self._topping_up = asyncio.get_running_loop().call_soon(self._top_up)

    def recheck(self) -> None:
        """Pull again when the consumer was looked up and `accept` has no reason against it: it seems to be changed."""
        self._end_requests()
        if self._searching is None and not self._stopped:
            self._searching = asyncio.create_task(self._find_consumer(), name=f"{self._consumer}: search")

    async def stop(self) -> None:
        """Stop pulling. Messages still under way are returned to the server. Takes at most 100 ms."""
        self._stopped = True
        self._free = 0
        for remove in self._removers:
            remove()
        for handle in (self._retry, self._topping_up):
            if handle is not None:
                handle.cancel()
        if self._searching is not None:
            self._searching.cancel()
        drained = self._end_requests()
        self._set_state(LogEvent.CONSUMER_STOPPED, "stopped")
        if drained is not None:
            await asyncio.wait([drained], timeout=_STOP)

    # --- rounds: one inbox, until its requests are lost ------------------------------------------------------------

    def _begin(self) -> None:
        """Start a round with a new inbox: what earlier requests may still deliver does not count in it."""
        self._retry = None
        self._end_requests()
        if self._stopped or self._searching is not None:
            return
        self._requests = PullRequests(
            self._connection,
            subject=api_subject(self._connection, f"CONSUMER.MSG.NEXT.{self._stream}.{self._consumer}"),
            expires=self._expires,
            heartbeat=self._heartbeat,
            on_message=self._on_message,
            on_silence=self._on_silence,
            on_permission_error=self._on_permission_error,
        )
        self._confirm(self._requests)
        self._top_up()

    def _end_requests(self) -> asyncio.Future[bool] | None:
        ended, self._requests = self._requests, None
        return None if ended is None else ended.end()

    def _confirm(self, begun: PullRequests) -> None:
        # A missing consumer is refused immediately; a pong without a refusal means that the server took the request.
        def on_pong(pong: asyncio.Future[bool]) -> None:
            if not pong.cancelled() and pong.result() and self._requests is begun and self._refusals == 0:
                self._set_state(LogEvent.CONSUMER_READY)

        link = self._connection.link
        if link is not None:
            link.ping().add_done_callback(on_pong)

    def _top_up(self) -> None:
        self._topping_up = None
        if self._requests is None:
            return
        if self._requests.credit > self._free:
            self._begin()
        else:
            self._requests.top_up(self._free)

    def _retry_after(self, wait: timedelta) -> None:
        self._end_requests()
        if self._retry is None and not self._stopped:
            self._retry = asyncio.get_running_loop().call_later(wait.total_seconds(), self._begin)

    # --- what arrives ----------------------------------------------------------------------------------------------

    def _on_message(self, origin: PullRequests, message: Message) -> None:
        if is_delivery(message):
            self._on_delivery(origin, parse_delivery(self._connection, message))
        elif origin is self._requests:
            self._on_status(origin, message)

    def _on_delivery(self, origin: PullRequests, delivery: Delivery) -> None:
        if self._free == 0:
            delivery.nak_now()
            return
        self._free -= 1
        if origin is self._requests:
            self._on_sign_of_life()
        elif self._requests is not None:
            # A late message of an earlier round uses capacity that this round has requested too.
            self.set_capacity(self._free)
        self._deliver(delivery)

    def _on_status(self, origin: PullRequests, message: Message) -> None:
        status = interpret_status(message)
        match status.meaning:
            case Meaning.ALIVE:
                self._on_sign_of_life()
            case Meaning.REQUEST_OVER:
                self._on_sign_of_life()
                origin.credit = max(0, origin.credit - status.undelivered)
                self._top_up()
            case Meaning.REQUESTS_LOST:
                self._retry_after(timedelta(milliseconds=random.randint(50, 250)))  # noqa: S311 - jitter need not be secret
            case Meaning.NOT_READY:
                self._on_not_ready()
            case Meaning.GONE:
                reason = f"consumer {self._consumer} of stream {self._stream} was deleted"
                self._search(LogEvent.CONSUMER_MISSING, reason)
            case Meaning.REFUSED:
                words = f"{message.status} {message.description.partition(chr(10))[0]}".strip()
                self._on_refused(LogEvent.CONSUMER_REFUSED, f"the server refuses the pull request: {words}")

    def _on_permission_error(self, reason: str) -> None:
        self._on_refused(LogEvent.PERMISSION_DENIED, reason)

    def _on_refused(self, event: LogEvent, reason: str) -> None:
        self._refusals = max(1, self._refusals)
        self._set_state(event, reason)
        self._retry_after(_REFUSED)

    def _on_not_ready(self) -> None:
        self._refusals += 1
        reason = f"no server answers for consumer {self._consumer} of stream {self._stream}"
        self._set_state(LogEvent.CONSUMER_UNAVAILABLE, reason)
        if self._refusals > _MISSING_AFTER:
            self._search(LogEvent.CONSUMER_UNAVAILABLE, reason)
        else:
            self._retry_after(self._backoff.next())

    def _on_silence(self, origin: PullRequests) -> None:
        if origin is not self._requests:
            return
        self._set_state(LogEvent.CONSUMER_SILENT, "the server does not answer the pull requests")
        self._connection.probe()
        self._begin()

    def _on_disconnect(self) -> None:
        self._end_requests()
        self._refusals = 0
        self._set_state(LogEvent.CONNECTION_LOST, "disconnected")

    def _on_sign_of_life(self) -> None:
        if not self.state.consuming:
            self._refusals = 0
            self._backoff.reset()
            self._set_state(LogEvent.CONSUMER_READY)

    # --- a missing consumer ----------------------------------------------------------------------------------------

    def _search(self, event: LogEvent, reason: str) -> None:
        self.recheck()
        self._set_state(event, reason)

    async def _find_consumer(self) -> None:
        backoff = Backoff(_RETRY_FIRST, _RETRY_LONGEST)
        while (problem := await self._find_problem()) is not None:
            self._set_state(*problem)
            if problem[0] is LogEvent.CONSUMER_MISSING and self._on_missing is not None:
                self._on_missing()
                return
            await asyncio.sleep(backoff.next().total_seconds())
        self._searching = None
        self._refusals = 0
        if self._connection.is_connected:
            self._begin()

    async def _find_problem(self) -> tuple[LogEvent, str] | None:
        """Look the consumer up. Return why it cannot be pulled from; None when it can."""
        try:
            info = await get_consumer_info(self._connection, self._stream, self._consumer, timeout=_LOOK_UP)
        except TransportError as error:
            return LogEvent.CONSUMER_UNAVAILABLE, str(error)
        if info is None:
            return LogEvent.CONSUMER_MISSING, f"stream {self._stream} has no consumer {self._consumer}"
        reason = None if self._accept is None else self._accept(info)
        return None if reason is None else (LogEvent.CONSUMER_REFUSED, reason)

    def _set_state(self, event: LogEvent, reason: str | None = None) -> None:
        """Change the state: to consuming, or to the reason why not."""
        state = PullState(consuming=reason is None, reason=reason)
        if state == self.state:
            return
        self.state = state
        self._log_state(event, reason)
        if self._on_state is not None:
            self._on_state(state)

    def _log_state(self, event: LogEvent, reason: str | None) -> None:
        extra = log_fields(event, consumer=self._consumer)
        if (throttle := _outage_logs.get(event)) is not None:
            throttle.write(logging.WARNING, event, "%s: %s", self._consumer, reason, extra=extra)
        elif event is LogEvent.CONNECTION_LOST:
            return  # the supervisor logs it, once for all consumers
        else:
            is_normal = event in {LogEvent.CONSUMER_READY, LogEvent.CONSUMER_STOPPED}
            level = self._normal_level if is_normal else logging.WARNING
            _log.log(level, "%s: %s", self._consumer, reason or "consuming", extra=extra)
