"""Serves `/metrics` over HTTP, for a process that serves nothing else."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self

from trellis_nats import ConfigurationError
from typing_extensions import override

from trellis_admin.metrics.exposition import CONTENT_TYPE

__all__ = ["MetricsEndpoint"]

_WITHIN: Final = 25.0
"""Seconds for one answer: longer than a server may take, shorter than what Prometheus is usually told to wait for."""
_POLL: Final = 0.2
"""Seconds after which a server without requests looks whether it is to stop."""
_IDLE: Final = 30.0
"""Seconds after which a client that sends nothing is disconnected."""


class MetricsEndpoint:
    """An HTTP server with one page. Use it as a context manager, on the event loop on which the text is made."""

    def __init__(self, text: Callable[[], Awaitable[str]], *, host: str, port: int) -> None:
        """Prepare.

        Args:
            text: returns the text of the page.
            host: the address to listen on; `127.0.0.1` is reached from this machine only.
            port: the port; 0 chooses one.
        """
        self.port = port
        """The port that is listened on."""
        self._text = text
        self._host = host
        self._server: _Server | None = None

    async def __aenter__(self) -> Self:
        """Listen.

        Raises:
            ConfigurationError: the address or the port cannot be used.
        """
        loop, make = asyncio.get_running_loop(), self._text

        async def text() -> str:
            return await make()

        def read() -> str:
            return asyncio.run_coroutine_threadsafe(text(), loop).result(_WITHIN)

        try:
            self._server = _Server((self._host, self.port), partial(_Handler, read))
        except (OSError, OverflowError) as error:
            raise ConfigurationError(
                f"metrics cannot be served on {self._host}:{self.port}: {error}; choose another port"
            ) from error
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve, name="metrics", daemon=True).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop listening."""
        server, self._server = self._server, None
        if server is not None:
            await asyncio.to_thread(server.stop)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    timeout = _POLL

    def __init__(self, address: tuple[str, int], handler: Callable[..., BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self._is_stopping = threading.Event()
        self._has_stopped = threading.Event()

    def serve(self) -> None:
        """Answer requests until `stop` is called from another thread."""
        while not self._is_stopping.is_set():
            self.handle_request()
        self.server_close()
        self._has_stopped.set()

    def stop(self) -> None:
        """Stop within the time of a poll, and wait for it."""
        self._is_stopping.set()
        self._has_stopped.wait()


class _Handler(BaseHTTPRequestHandler):
    timeout = _IDLE
    server_version = "trellis"
    sys_version = ""

    def __init__(self, read: Callable[[], str], *args: Any) -> None:  # Any: those of the server
        self._read = read
        super().__init__(*args)  # it answers a request

    def do_GET(self) -> None:
        """Answer a request."""
        if self.path.partition("?")[0] != "/metrics":
            self._answer(HTTPStatus.NOT_FOUND, "the metrics are at /metrics\n")
            return
        try:
            text = self._read()
        except Exception as error:  # noqa: BLE001 - Prometheus must see a failure as one, whatever it is
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, f"{type(error).__name__}: {error}\n")
        else:
            self._answer(HTTPStatus.OK, text)

    def _answer(self, status: HTTPStatus, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    @override
    def log_message(self, format: str, *args: object) -> None:
        """Log no request: there is one every few seconds."""
