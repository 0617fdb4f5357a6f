"""Forks Python processes from one that has imported the runtime: the import alone takes half a second of processor time.

Run as `python -m tests.support.fork_server PATH`, where PATH is the socket that it listens on; it prints `ready`. Each
connection may ask for one process: it sends the length of a request in JSON, the standard streams, and the request. It is
answered with a line that has the process id, and another with the exit code. The server ends with its last connection.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final, NamedTuple

__all__ = ["LENGTH_BYTES", "STREAMS", "Request"]

LENGTH_BYTES: Final = 4
STREAMS: Final = 3
_IMPORTS: Final = ("trellis_nats.testing", "tests.support.ferry", "tests.support.shop", "pytest", "uvloop")
"""What the processes have in common; not the modules that they run, which must be imported once, as `__main__`."""


class Request(NamedTuple):
    """A process that is asked for."""

    module: str
    arguments: list[str]
    folder: str
    environment: dict[str, str]


class _Forks:
    """The server."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._asking: dict[int, socket.socket] = {}
        self._connections: set[socket.socket] = set()
        self._woken, self._wakes = socket.socketpair()
        self._selector = selectors.DefaultSelector()

    def serve(self) -> Request | None:
        """Serve to the end. In a child, return at once with what it is to run."""
        self._wakes.setblocking(False)
        signal.set_wakeup_fd(self._wakes.fileno())
        signal.signal(signal.SIGCHLD, _ignore)  # without a handler, there is no wake-up
        for each in (self._listener, self._woken):
            self._selector.register(each, selectors.EVENT_READ)
        has_served = False
        while self._connections or not has_served:
            for key, _ in self._selector.select():
                connection = key.fileobj
                if connection is self._listener:
                    self._add(self._listener.accept()[0])
                    has_served = True
                elif connection is self._woken:
                    self._woken.recv(1024)
                    self._reap()
                elif isinstance(connection, socket.socket):
                    request = self._answer(connection)
                    if request is not None:
                        return request
        self.close()
        return None

    def close(self) -> None:
        """Close what a child must not keep."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._selector.close()
        for each in (self._listener, self._woken, self._wakes, *self._connections):
            each.close()

    def _add(self, connection: socket.socket) -> None:
        self._connections.add(connection)
        self._selector.register(connection, selectors.EVENT_READ)

    def _remove(self, connection: socket.socket) -> None:
        self._connections.discard(connection)
        self._selector.unregister(connection)
        connection.close()

    def _answer(self, connection: socket.socket) -> Request | None:
        length, streams = b"", list[int]()
        with suppress(ConnectionError):
            length, streams, _, _ = socket.recv_fds(connection, LENGTH_BYTES, STREAMS)
        if not length:
            self._asking = {pid: other for pid, other in self._asking.items() if other is not connection}
            self._remove(connection)
            return None
        with connection.makefile("rb") as reader:
            request = Request(*json.loads(reader.read(int.from_bytes(length, "big"))))
        child = os.fork()
        if child == 0:
            self.close()
            for number, stream in enumerate(streams):
                os.dup2(stream, number)
                os.close(stream)
            return request
        for stream in streams:
            os.close(stream)
        self._asking[child] = connection
        connection.sendall(b"%d\n" % child)
        return None

    def _reap(self) -> None:
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                connection = self._asking.pop(ended[0], None)
                if connection is not None:
                    with suppress(ConnectionError):
                        connection.sendall(b"%d\n" % os.waitstatus_to_exitcode(ended[1]))


def _ignore(_: int, __: object) -> None:
    """Stand for a handler of signals."""


def _become(request: Request) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(request.folder)
    os.environ.clear()
    os.environ.update(request.environment)
    sys.argv[1:] = request.arguments
    runpy.run_module(request.module, run_name="__main__", alter_sys=True)


def _main(path: Path) -> Request | None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # its clients say when it ends
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(str(path))
        listener.listen(64)
        for name in _IMPORTS:
            importlib.import_module(name)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        request = _Forks(listener).serve()
        if request is None:
            path.unlink()
        return request


if __name__ == "__main__":
    ASKED = _main(Path(sys.argv[1]))
    if ASKED is not None:
        _become(ASKED)
