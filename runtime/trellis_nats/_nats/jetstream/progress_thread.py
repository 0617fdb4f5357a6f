"""Progress acks from a dedicated thread.

A handler may block the event loop for minutes. Meanwhile the ack wait passes, and the server would deliver the job to a
second worker. So a thread with its own event loop and its own connection sends `+WPI`; the server accepts it from any
connection of the account.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Final

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.ack_subject import IN_PROGRESS
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats._nats.wire.message import Message
from trellis_nats._support.threads import run_in_thread
from trellis_nats.errors import TransportError

__all__ = ["Hold", "ProgressThread"]

_JOIN: Final = timedelta(seconds=3)
"""How long `stop` waits for the thread, which is a daemon and ends with the process."""


PeriodicCall = Callable[[Connection], Awaitable[None]]
"""Called in the thread's event loop with the thread's connection. It must not raise."""


class Hold:
    """Keeps one message from being redelivered, or repeats a call, until released."""

    __slots__ = ("_release", "action", "due", "running", "seconds")

    def __init__(self, action: str | PeriodicCall, seconds: float, release: Callable[[Hold], None]) -> None:
        self.action = action
        """The subject of a progress ack, or what is called instead."""
        self.seconds = seconds
        self.due = time.monotonic() + seconds
        self.running: asyncio.Future[None] | None = None
        """The last call, if there was one."""
        self._release = release

    def release(self) -> None:
        """Stop sending progress acks, or calling. Safe to call twice, from any thread."""
        self._release(self)


class ProgressThread:
    """Sends progress acks for the held messages at their intervals, even while other threads are blocked."""

    def __init__(
        self, settings: ConnectionSettings, *, on_late: Callable[[float], None] | None = None
    ) -> None:
        """Prepare.

        Args:
            settings: those of the connection that receives the messages.
            on_late: called in the thread for each progress ack that was sent, with how late it was, in seconds.
        """
        self._on_late = on_late
        self._settings = replace(settings, name=f"{settings.name} heartbeat")
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed = asyncio.Event()
        self._stopping = False
        self._held: set[Hold] = set()
        self._on_release = self._forget  # bound once: it would be another object for every held message
        self._shortest = math.inf
        """Seconds. The thread checks at least this often, so that a hold need not wake it: most are released before that."""
        self._answers: dict[str, Callable[[bytes], bytes | None]] = {}
        self._running: set[asyncio.Future[None]] = set()
        self._lock = threading.Lock()

    def answer(self, subject: str, reply: Callable[[bytes], bytes | None]) -> None:
        """Answer requests on a subject from the thread. Call it before `start`.

        `reply` is called in the thread; it must return quickly and must not raise. None: no answer is sent.
        """
        self._answers[subject] = reply

    async def start(self) -> None:
        """Start the thread, and return when its connection is open.

        Raises:
            CannotConnect: it could not connect within the settings' `connect_timeout`.
        """
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._thread = threading.Thread(
            target=self._run, args=(asyncio.get_running_loop(), opened), name=self._settings.name, daemon=True
        )
        self._thread.start()
        try:
            await opened
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End the thread, and with it the holds that were not released. Takes at most 3 s; safe to call twice."""
        thread, self._thread = self._thread, None
        self._stopping = True
        self._wake()
        if thread is not None:
            # Not in asyncio's pool of threads: handlers may have filled it.
            await run_in_thread(thread.join, _JOIN.total_seconds(), name="stop of the heartbeats")

    def hold(self, reply: str, interval: timedelta) -> Hold:
        """Send a progress ack to the ack subject `reply` every `interval`, first after one interval.

        Callable from any thread.
        """
        return self._add(reply, interval)

    def change(self, hold: Hold, interval: timedelta) -> None:
        """Give a hold another interval. If that is shorter, the next progress ack is sent at once."""
        with self._lock:
            is_shorter = interval.total_seconds() < hold.seconds
            hold.seconds = interval.total_seconds()
            if is_shorter:
                hold.due = time.monotonic()
                self._shortest = min(hold.seconds, self._shortest)
        if is_shorter:
            self._wake()

    def repeat(self, call: PeriodicCall, interval: timedelta) -> Hold:
        """Call `call` in the thread every `interval`, first after one interval; the calls never overlap.

        Callable from any thread. A call that runs when the hold is released runs to its end.
        """
        return self._add(call, interval)

    def _add(self, action: str | PeriodicCall, interval: timedelta) -> Hold:
        seconds = interval.total_seconds()
        hold = Hold(action, seconds, self._on_release)
        with self._lock:
            self._held.add(hold)
            shorter = seconds < self._shortest
            self._shortest = min(seconds, self._shortest)
        if shorter:
            self._wake()
        return hold

    def _forget(self, hold: Hold) -> None:
        with self._lock:
            self._held.discard(hold)

    def _wake(self) -> None:
        loop = self._loop
        if loop is None:
            return
        try:
            loop.call_soon_threadsafe(self._changed.set)
        except RuntimeError:
            return  # the loop is closed: the thread has ended

    # --- in the thread ---------------------------------------------------------------------------------------------

    def _run(self, starter: asyncio.AbstractEventLoop, opened: asyncio.Future[None]) -> None:
        asyncio.run(self._main(starter, opened))

    async def _main(self, starter: asyncio.AbstractEventLoop, opened: asyncio.Future[None]) -> None:
        self._loop = asyncio.get_running_loop()
        try:
            connection = await Connection.open(",".join(self._settings.servers), settings=self._settings)
        except Exception as error:  # noqa: BLE001 - every exception is passed to the waiting starter
            _resolve_opened(starter, opened, error)
            return
        for subject, reply in self._answers.items():
            connection.subscribe(subject, partial(_answer, connection, reply))
        _resolve_opened(starter, opened, None)
        remove = connection.on_reconnect(self._changed.set)
        try:
            await self._send_until_stopped(connection)
        finally:
            remove()
            await connection.close()

    async def _send_until_stopped(self, connection: Connection) -> None:
        while not self._stopping:
            self._changed.clear()
            wait = self._send_due(connection)
            try:
                async with asyncio.timeout(wait):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def _send_due(self, connection: Connection) -> float | None:
        """Do what is due, and return the seconds until the next check; None when nothing was ever held."""
        now = time.monotonic()
        with self._lock:
            due = [held for held in self._held if held.due <= now]
            late = [now - held.due for held in due]
            for held in due:
                held.due = now + held.seconds
            soonest = min((held.due for held in self._held), default=None)
        for held, seconds in zip(due, late, strict=True):
            if isinstance(held.action, str):
                if not _send_progress(connection, held.action):
                    held.due = now - seconds  # the reconnect wakes the thread
                elif self._on_late is not None:
                    self._on_late(seconds)
            elif held.running is None or held.running.done():
                held.running = asyncio.ensure_future(held.action(connection))
                self._running.add(held.running)  # keeps the last call of a released hold alive to its end
                held.running.add_done_callback(self._running.discard)
        if soonest is None:
            return None if math.isinf(self._shortest) else self._shortest
        return min(self._shortest, max(0.0, soonest - time.monotonic()))


def _send_progress(connection: Connection, reply: str) -> bool:
    try:
        connection.send(reply, IN_PROGRESS)
    except TransportError:
        return False
    return True


def _answer(connection: Connection, reply: Callable[[bytes], bytes | None], request: Message) -> None:
    answered = reply(request.data) if request.reply else None
    if answered is not None:
        connection.send(request.reply, answered)


def _resolve_opened(
    loop: asyncio.AbstractEventLoop, opened: asyncio.Future[None], error: Exception | None
) -> None:
    def resolve() -> None:
        if opened.done():
            return
        if error is None:
            opened.set_result(None)
        else:
            opened.set_exception(error)

    try:
        loop.call_soon_threadsafe(resolve)
    except RuntimeError:
        return  # the starter's loop is closed, so no caller waits
