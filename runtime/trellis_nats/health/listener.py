"""Answers the probes of an orchestrator over HTTP.

`/livez` answers 200 while the event loop runs. It does not depend on NATS, because a restart would not repair NATS.
`/readyz` answers 200 when the service would do work, otherwise 503, with the report as JSON.

It runs in the service's event loop on purpose: an answer proves that the loop runs. While a handler blocks the loop, it
does not answer: write such a handler as a plain `def`, which runs in a thread, or let the probe wait longer
(`periodSeconds` times `failureThreshold`) than the handler takes. No probe can distinguish a loop that is blocked for a
minute from one that is blocked indefinitely.

In a group of processes the address is the group's: it asks each process, which listens on a port of its own.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final, Protocol

from pydantic import JsonValue

from trellis_nats._support.forked_child import drop_descriptor, in_forked_children
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats._support.process_group import is_in_group, tell_group
from trellis_nats.errors import ConfigurationError
from trellis_nats.health.http import HEAD_END, Refusal, Request, read_head, write_answer
from trellis_nats.health.service_health import Health

__all__ = ["Probed", "listen_for_health", "parse_address", "serve_probes"]

_log = logging.getLogger(__name__)

_HEAD_BYTES: Final = 8192
"""The longest head of a request: what web servers allow by default."""
_SECONDS: Final = 5.0
"""The time limit for a request to arrive, and again for its answer to be read."""
_OPEN_MAX: Final = 32
"""Connections at a time; a probe needs one. Further ones are closed without an answer."""
_PORT_MAX: Final = 65535
_LOOPBACK: Final = "127.0.0.1"


def parse_address(text: str) -> tuple[str, int]:
    """Read `port`, which means loopback, or `host:port`, with an IPv6 host in brackets.

    Raises:
        ConfigurationError: it is neither.
    """
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if colon else _LOOPBACK
    if not host or not (port.isascii() and port.isdigit()) or int(port) > _PORT_MAX:
        raise ConfigurationError(
            f'cannot listen on "{text}": give a port, which is then on loopback, or host:port'
        )
    return host, int(port)


class Probed(Protocol):
    """What probes ask."""

    async def is_alive(self) -> bool:
        """Return whether a restart would not help."""
        ...

    async def readiness(self) -> tuple[bool, dict[str, JsonValue]]:
        """Return whether work would be done if there were any, and the report that says why."""
        ...


class _ProbedService:
    """A service, by its health: alive as long as its event loop runs this."""

    def __init__(self, health: Health) -> None:
        self._health = health

    async def is_alive(self) -> bool:
        return True

    async def readiness(self) -> tuple[bool, dict[str, JsonValue]]:
        report = await self._health.report()
        return report.ready, report.to_wire()


@asynccontextmanager
async def listen_for_health(health: Health, address: str | None) -> AsyncGenerator[None]:
    """Answer probes for the length of an `async with` block; do nothing when the address is None.

    Raises:
        ConfigurationError: the address is malformed, belongs to another machine, or is in use.
    """
    if address is None:
        yield
        return
    parse_address(address)
    async with serve_probes(_ProbedService(health), "0" if is_in_group() else address) as bound:
        health.address = bound
        tell_group("health", address, bound)
        try:
            yield
        finally:
            tell_group("health", address, None)
            health.address = None


@asynccontextmanager
async def serve_probes(probed: Probed, address: str) -> AsyncGenerator[str]:
    """Answer probes for the length of an `async with` block, which gets the address as `host:port`.

    Raises:
        ConfigurationError: the address is malformed, belongs to another machine, or is in use.
    """
    host, port = parse_address(address)
    listener = Listener(probed)
    try:
        server = await asyncio.start_server(listener.serve, host, port, limit=_HEAD_BYTES)
    except OSError as error:
        raise ConfigurationError(f"cannot listen on {address}: {error.strerror or error}") from error
    bound_host, bound_port = server.sockets[0].getsockname()[:2]
    # A child that outlives this process would keep the address from the next one.
    keep_in_children = in_forked_children(lambda: _drop_sockets(server))
    try:
        yield f"[{bound_host}]:{bound_port}" if ":" in bound_host else f"{bound_host}:{bound_port}"
    finally:
        keep_in_children()
        server.close()
        await listener.stop()


def _drop_sockets(server: asyncio.Server) -> None:
    for sock in server.sockets:
        drop_descriptor(sock.fileno())


class Listener:
    """Serves connections, with one request each."""

    def __init__(self, probed: Probed) -> None:
        self._probed = probed
        self._serving: set[asyncio.Task[None]] = set()
        self._reporting = asyncio.Lock()
        self._report: tuple[bool, dict[str, JsonValue]] | None = None
        self._began = 0.0

    def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection."""
        if len(self._serving) >= _OPEN_MAX:
            writer.transport.abort()
            return
        task = asyncio.create_task(self._answer_probe(reader, writer), name="health probe")
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        # The task itself does not close the connection when it is cancelled before its first step.
        task.add_done_callback(lambda _: writer.transport.abort())

    async def stop(self) -> None:
        """Close every connection."""
        for task in self._serving:
            task.cancel()
        if self._serving:
            await asyncio.wait(self._serving)

    async def _answer_probe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            answer = await self._answer(reader)
            async with asyncio.timeout(_SECONDS):
                writer.write(answer)
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (OSError, EOFError, TimeoutError) as error:
            _log.debug(
                "a probe sent no request, or did not read its answer: %r",
                error,
                extra=log_fields(LogEvent.PROBE_ABORTED),
            )

    async def _answer(self, reader: asyncio.StreamReader) -> bytes:
        try:
            async with asyncio.timeout(_SECONDS):
                head = await reader.readuntil(HEAD_END)
        except asyncio.LimitOverrunError:
            return _refusal(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        except TimeoutError:
            return _refusal(HTTPStatus.REQUEST_TIMEOUT)
        request = read_head(head)
        if isinstance(request, Refusal):
            return _refusal(request.status)
        match request.path:
            case "/livez":
                if await self._probed.is_alive():
                    return write_answer(HTTPStatus.OK, b"alive\n", wants_body=request.wants_body)
                return _refusal(HTTPStatus.SERVICE_UNAVAILABLE, wants_body=request.wants_body)
            case "/readyz":
                return await self._readiness(request)
            case _:
                return _refusal(HTTPStatus.NOT_FOUND, wants_body=request.wants_body)

    async def _readiness(self, request: Request) -> bytes:
        is_ready, report = await self._new_report()
        return write_answer(
            HTTPStatus.OK if is_ready else HTTPStatus.SERVICE_UNAVAILABLE,
            json.dumps(report).encode() + b"\n",
            content_type="application/json",
            wants_body=request.wants_body,
        )

    async def _new_report(self) -> tuple[bool, dict[str, JsonValue]]:
        """Return a report that began after this call; concurrent probes share it."""
        loop = asyncio.get_running_loop()
        asked = loop.time()
        async with self._reporting:
            if self._report is None or self._began < asked:
                self._began = loop.time()
                self._report = await self._probed.readiness()
            return self._report


def _refusal(status: HTTPStatus, *, wants_body: bool = True) -> bytes:
    return write_answer(status, f"{status.phrase.lower()}\n".encode(), wants_body=wants_body)
