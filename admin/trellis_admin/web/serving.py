"""Serves the console until a signal stops it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Collection, Generator
from contextlib import contextmanager
from functools import partial
from typing import Final

import uvicorn
from starlette.types import ASGIApp
from trellis_nats import ConfigurationError

from trellis_admin.web.app import app
from trellis_admin.web.console import Console, Settings
from trellis_admin.web.rendering import compile_templates

__all__ = ["listen", "serve", "serve_application"]

_GRACE: Final = 2
"""Seconds for which pages that are being made are waited for at the end. Those that wait for events are ended."""
_BACKLOG: Final = 128
_CONNECTIONS_MAX: Final = 800
"""Connections at once; more are answered with 503. Those of live pages have a lower limit of their own, so that pages can be loaded still."""


class _Server(uvicorn.Server):
    """A server that ends with its signal handled: what comes after it still runs."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Stop at SIGINT and SIGTERM."""
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGINT, signal.SIGTERM)
        for number in numbers:
            loop.add_signal_handler(number, partial(self.handle_exit, number, None))
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises:
        ConfigurationError: the address is in use, or not one of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise ConfigurationError(
            f"the console cannot listen on {host} port {port}: {os.strerror(error.errno or 0)}; choose another with --host or --port"
        ) from None


async def serve(
    settings: Settings,
    listening: socket.socket,
    *,
    hosts: Collection[str] | None,
    root_path: str = "",
    ready: Callable[[], None],
) -> None:
    """Serve the console until SIGINT or SIGTERM.

    Args:
        settings: see `app`.
        listening: of `listen`.
        hosts: see `app`.
        root_path: the path under which a proxy shows the console, such as `/trellis`; it removes that path or leaves it.
        ready: called once pages can be asked for.

    Raises:
        CannotConnect: the NATS server cannot be reached.
        TrellisError: the jobs cannot be read.
    """
    application = app(settings, hosts=hosts)
    console: Console = application.state.console
    await asyncio.gather(console.start(), asyncio.to_thread(compile_templates))
    try:
        ready()
        await serve_application(application, listening, root_path=root_path)
    finally:
        await console.stop()


async def serve_application(application: ASGIApp, listening: socket.socket, *, root_path: str = "") -> None:
    """Serve an application on a socket until SIGINT or SIGTERM."""
    config = uvicorn.Config(
        application,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        root_path=root_path,
        timeout_graceful_shutdown=_GRACE,
        limit_concurrency=_CONNECTIONS_MAX,
    )
    await _Server(config).serve(sockets=[listening])
