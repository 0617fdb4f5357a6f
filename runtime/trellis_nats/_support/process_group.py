"""The link of a process to the group that it runs in: `python -m trellis_nats.run`.

The link is a socket pair. The process tells the group what happens in it; the group sends nothing. The link ends with the
group's own process, however that dies: then the process stops as at SIGTERM.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from contextlib import suppress

from trellis_nats._support.forked_child import drop_descriptor, in_forked_children

__all__ = ["is_in_group", "join_group", "tell_group"]

_link: socket.socket | None = None


def join_group(descriptor: int, *, kill_after: float | None) -> None:
    """Make this process one of a group, for the rest of its life.

    Args:
        descriptor: of the link. Programs that this process starts do not inherit it.
        kill_after: how many seconds after the end of the group this process is killed if it still runs.
    """
    global _link  # noqa: PLW0603 - a property of the process
    os.set_inheritable(descriptor, False)
    _link = socket.socket(fileno=descriptor)
    # A forked child is not a process of the group.
    in_forked_children(_leave)
    threading.Thread(target=_watch, args=(_link, kill_after), name="process group", daemon=True).start()


def is_in_group() -> bool:
    """Return whether this process is one of a group."""
    return _link is not None


def tell_group(*words: str | None) -> None:
    """Tell the group something; do nothing without one, or when its process has died."""
    if _link is not None:
        with suppress(OSError):  # then the thread that watches the link stops this process
            _link.sendall(json.dumps(words).encode() + b"\n")


def _leave() -> None:
    global _link  # noqa: PLW0603 - a property of the process
    if _link is not None:
        drop_descriptor(_link.fileno())
        _link = None


def _watch(link: socket.socket, kill_after: float | None) -> None:
    with suppress(OSError):  # it is reset where the group's process died with something unread
        link.recv(1)
    os.kill(os.getpid(), signal.SIGTERM)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(os.getpid(), signal.SIGKILL)
