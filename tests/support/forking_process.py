"""A worker of the shop in a process of its own, whose handlers fork children.

A job's note names the way in which its handler forks; its result is how the child ended. The worker prints `working` when it
pulls, `child <process id>` for a child that is left alive, and `stopped` after `run` has returned.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Final

import uvloop

from tests.support.python_process import python_process
from tests.support.shop import ParcelJob, Receipt, Shop
from tests.support.shop_process import ShopProcess, say

_FORK: Final = multiprocessing.get_context("fork")
_JOIN: Final = 20


def terminate(which: signal.Signals = signal.SIGTERM) -> int:
    """Start a child, send it a signal, and return its exit code."""
    child = _FORK.Process(target=time.sleep, args=(60,))
    child.start()
    os.kill(child.pid or 0, which)
    return _end_of(child)


def _end_of(child: BaseProcess) -> int:
    child.join(_JOIN)
    code = child.exitcode
    child.kill()
    return 0 if code is None else code


def interrupt() -> int:
    """Interrupt a child that has begun, as Ctrl-C in a terminal does."""
    reader, writer = _FORK.Pipe(duplex=False)
    child = _FORK.Process(target=_begin, args=(writer,))
    child.start()
    reader.recv()
    os.kill(child.pid or 0, signal.SIGINT)
    return _end_of(child)


def _begin(writer: Connection) -> None:
    writer.send("began")
    # In short pieces: a signal just before a sleep begins does not interrupt that sleep, and Python looks at it afterwards.
    for _ in range(6_000):
        time.sleep(0.01)


def hang_up() -> int:
    """Send a child a signal that the program handles on the event loop."""
    return terminate(signal.SIGHUP)


def pool() -> int:
    """Use a pool, whose end terminates its children."""
    with _FORK.Pool(2) as workers:
        return sum(workers.map(abs, [-1, -2]))


def fork() -> int:
    """Fork without multiprocessing."""
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(9)
    os.kill(child, signal.SIGTERM)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def executor() -> int:
    """Use a pool of the standard library, one of whose children is terminated."""
    with ProcessPoolExecutor(1, mp_context=_FORK) as workers:
        child = workers.submit(os.getpid).result()
        os.kill(child, signal.SIGTERM)
        try:
            workers.submit(time.sleep, 60).result()
        except BrokenProcessPool:
            return -signal.SIGTERM
    return 0


def stray() -> int:
    """Fork a child that leaves the handler as its parent does, and so returns to the event loop."""
    child = os.fork()
    return 0 if child == 0 else os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def leave() -> int:
    """Leave a child alive."""
    child = _FORK.Process(target=time.sleep, args=(60,))
    child.start()
    say("child", child.pid)
    time.sleep(60)
    return 0


WAYS: Final[dict[str, Callable[[], int]]] = {
    way.__name__: way for way in (terminate, interrupt, hang_up, pool, fork, executor, stray, leave)
}


async def main(url: str) -> None:
    """Work until SIGTERM."""
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, os._exit, 5)
    async with Shop.connect(url) as shop:

        @shop.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            return Receipt(total=WAYS[job.payload.note or ""]())

        @shop.jobs.charge.handle
        def charge(job: ParcelJob) -> Receipt:
            return Receipt(total=WAYS[job.payload.note or ""]())

        running = asyncio.create_task(shop.run())
        say("working")
        await running
    say("stopped")


@contextlib.asynccontextmanager
async def forking_process(url: str, loop: str) -> AsyncGenerator[ShopProcess, None]:
    """Run a worker on the given kind of event loop, for the length of an `async with` block."""
    async with python_process("tests.support.forking_process", url, loop) as process:
        worker = ShopProcess(process)
        await worker.wait_for("working")
        yield worker


if __name__ == "__main__":
    (uvloop.run if sys.argv[2] == "uvloop" else asyncio.run)(main(sys.argv[1]))
