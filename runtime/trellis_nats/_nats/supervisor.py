"""Keeps a connection alive: opens a link, notices when it ends, opens the next one."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from datetime import timedelta
from typing import Final, cast
from urllib.parse import urlsplit

from trellis_nats._nats.link.backoff import Backoff
from trellis_nats._nats.link.dial_failed import REFUSED, DialFailed, LoginFailed
from trellis_nats._nats.link.dialing import dial
from trellis_nats._nats.link.link import Link, Routes
from trellis_nats._nats.link.servers import ServerPool, is_loopback
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats._support.log_throttle import LogThrottle
from trellis_nats.errors import CannotConnect, ConfigurationError

__all__ = ["Supervisor"]

_log = logging.getLogger(__name__)

_ATTEMPT: Final = timedelta(seconds=4)
"""The limit of one attempt: an address that does not answer must not delay the next one."""
_LOGIN: Final = timedelta(seconds=10)
"""The limit of the function that returns credentials: it may ask another server."""
_IS_IT_RUNNING: Final = ". Is the server running?"
_START_ONE: Final = " `trellis up` or `nats-server -js` starts one"
_SILENT: Final = timedelta(seconds=1)
"""A server that starts together with this process is ready after less; a person who waits longer wants to know for what."""
_REFUSED_WAIT: Final = timedelta(seconds=5)
"""The longest wait after a refusal. Each attempt asks a server that has more to do: that of accounts, or of secrets."""
_LOG_EVERY: Final = timedelta(minutes=1)
"""An outage may last for hours: the same reason is logged as a warning once a minute."""
_STABLE: Final = timedelta(milliseconds=250)
"""After a link that lasted this long, the next attempt is immediate and the backoff starts again."""


class Supervisor:
    """Owns the link of a connection, and replaces it until `stop`."""

    def __init__(
        self,
        pool: ServerPool,
        settings: ConnectionSettings,
        *,
        routes: Routes,
        on_up: Callable[[Link], None],
        on_down: Callable[[], None],
        on_permission_error: Callable[[str], None],
    ) -> None:
        self.link: Link | None = None
        """The link in use; None while there is none."""
        self.connected = asyncio.Event()
        self.refusal: str | None = None
        """Why the last attempt was refused, if it was: waiting alone does not help, credentials or settings must change."""
        self._pool = pool
        self._settings = settings
        self._routes = routes
        self._on_up = on_up
        self._on_down = on_down
        self._on_permission_error = on_permission_error
        self._stopping = False
        self._backoff = Backoff(settings.reconnect_wait, settings.max_reconnect_wait)
        self._refused_backoff = Backoff(settings.reconnect_wait, _REFUSED_WAIT)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect for the first time, then keep the connection alive in a task.

        Raises:
            CannotConnect: no server was reached within the settings' `connect_timeout`, or one refused permanently.
            ConfigurationError: a package is missing, or the function that returns credentials is wrong.
        """
        limit = self._settings.connect_timeout
        reason = "no attempt was made"
        address = self._pool.addresses()[0]
        loop = asyncio.get_running_loop()
        log_at = loop.time() + _SILENT.total_seconds()
        try:
            async with asyncio.timeout(limit.total_seconds()):
                while self.link is None:
                    address = self._pool.next()
                    try:
                        self._begin(await self._dial(address, min(_LOGIN, limit * 0.9), min(_ATTEMPT, limit)))
                    except DialFailed as failure:
                        reason = failure.reason
                        if failure.final:
                            raise CannotConnect(f"cannot connect to {address}: {reason}") from failure
                        if loop.time() > log_at:
                            _log_first_failures(address, reason, limit)
                            log_at = math.inf
                        await asyncio.sleep(self._backoff.next().total_seconds())
        except TimeoutError:
            hint = _IS_IT_RUNNING if reason == REFUSED else ""
            if hint and is_loopback(urlsplit(address).hostname or ""):
                hint += _START_ONE
            raise CannotConnect(
                f"cannot connect to {address} within {limit.total_seconds():g} s: {reason}{hint}"
            ) from None
        self._task = asyncio.create_task(self._run(), name=f"{self._settings.name}: connection")

    async def stop(self) -> None:
        """End the link and do not reconnect. Never waits for the network."""
        self._stopping = True
        self.connected.clear()
        if self.link is not None:
            self.link.shut("closed")
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait(
                [self._task], timeout=1
            )  # a dial may swallow the cancellation; it sees `_stopping`
        if self.link is not None:  # a dial that swallowed the cancellation may have brought a link
            self.link.shut("closed")
            self.link = None

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._stopping:
            link = cast("Link", self.link)
            since = loop.time()
            await asyncio.wait([link.lost])
            self.link = None
            self.connected.clear()
            self._on_down()
            if self._stopping:
                return
            reason = link.lost.result()
            # Credentials that expire are renewed by the next attempt.
            level = logging.INFO if "authentication expired" in reason else logging.WARNING
            _log.log(level, "connection lost: %s", reason, extra=log_fields(LogEvent.CONNECTION_LOST))
            if loop.time() - since > _STABLE.total_seconds():
                self._backoff.reset()
            else:
                await asyncio.sleep(self._backoff.next().total_seconds())
            await self._redial()

    async def _redial(self) -> None:
        log_throttle = LogThrottle(_log, every=_LOG_EVERY)
        while not self._stopping and self.link is None:
            address = self._pool.next()
            try:
                link = await self._dial(address, _LOGIN, _ATTEMPT)
            except (DialFailed, ConfigurationError) as failure:
                reason, is_refusal = str(failure), _is_refusal(failure)
                self.refusal = reason if is_refusal else None
                log_throttle.write(
                    logging.WARNING,
                    reason,
                    "cannot connect to %s: %s",
                    address,
                    reason,
                    extra=log_fields(LogEvent.CONNECT_FAILED),
                )
                backoff = self._refused_backoff if is_refusal else self._backoff
                await asyncio.sleep(backoff.next().total_seconds())
            else:
                _log.info("reconnected to %s", address, extra=log_fields(LogEvent.CONNECTION_RESTORED))
                self._begin(link)

    async def _dial(self, address: str, login_limit: timedelta, limit: timedelta) -> Link:
        return await dial(
            address,
            self._settings,
            routes=self._routes,
            on_permission_error=self._on_permission_error,
            login_limit=login_limit,
            limit=limit,
        )

    def _begin(self, link: Link) -> None:
        if self._stopping:
            link.shut("closed")
            return
        self.link = link
        self.refusal = None
        self._refused_backoff.reset()
        self._pool.set_discovered(link.info.cluster_hosts)
        self.connected.set()
        self._on_up(link)


def _log_first_failures(address: str, reason: str, limit: timedelta) -> None:
    _log.warning(
        "cannot connect to %s: %s; trying until %g s have passed (Options.connect_timeout)",
        address,
        reason,
        limit.total_seconds(),
        extra=log_fields(LogEvent.CONNECT_FAILED),
    )


def _is_refusal(failure: DialFailed | ConfigurationError) -> bool:
    return not isinstance(failure, DialFailed) or isinstance(failure, LoginFailed) or failure.final
