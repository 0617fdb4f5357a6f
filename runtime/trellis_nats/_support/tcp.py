"""TCP connections whose host names are looked up outside of asyncio's pool of threads.

The pool belongs to the program. With handlers that wait in `asyncio.to_thread`, all of its threads may be busy for hours, and
asyncio itself looks up names there: a lost connection could not be restored, not even one that those handlers wait for.
"""

from __future__ import annotations

import asyncio
import socket

from trellis_nats._support.threads import run_in_thread

__all__ = ["connect_tcp"]


async def connect_tcp(host: str, port: int) -> socket.socket:
    """Return a socket that is connected to the first address of the host that accepts.

    Raises:
        OSError: the host is not known, or no address accepts.
    """
    failure = OSError(f"{host} has no address")
    for family, kind, protocol, _, address in await run_in_thread(_look_up, (host, port), name="DNS"):
        try:
            return await _connect(socket.socket(family, kind, protocol), address)
        except OSError as error:  # also without IPv6 in the kernel, where the name has such an address
            failure = error
    raise failure


async def _connect(sock: socket.socket, address: tuple[object, ...]) -> socket.socket:
    sock.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


def _look_up(
    target: tuple[str, int],
) -> list[tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[object, ...]]]:
    return list(socket.getaddrinfo(*target, type=socket.SOCK_STREAM))
