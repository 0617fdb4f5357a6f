"""Many jobs at once: by `create_many`, by nats-py's own publishing, and as fast as the server takes what was encoded before.

Every column stores the same messages: a job that `create_many` stored is read back, and its copies have other ids.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Coroutine, Iterable, Iterator
from functools import partial
from typing import Final, NamedTuple

from nats.aio.client import Client
from trellis_nats._nats.jetstream.streams import get_last_message
from trellis_nats.ids import new_id

from .meter import Measured, Meter
from .service import PREFIX, WITHOUT_DUTIES, Bench, payload

__all__ = ["COLUMNS"]

BATCH: Final = 1000
"""The most messages of an atomic batch."""
WINDOW: Final = 500
"""How many publishes await their acknowledgement at a time."""
FLOW: Final = 500
"""How many messages of a fast batch the server acknowledges at once; two such parts are under way."""
_INBOX: Final = "_INBOX.many"
_PATIENCE: Final = 60


class Sent(NamedTuple):
    """A message."""

    subject: str
    headers: dict[str, str]
    data: bytes


class Socket:
    """A connection without a client: what it sends is encoded before the clock starts."""

    def __init__(self, url: str) -> None:
        host, _, port = url.rpartition("//")[2].partition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=_PATIENCE)
        self._lines = self._socket.makefile("rb")
        self.send(b'CONNECT {"verbose":false,"headers":true}\r\nSUB %b.> 1\r\nPING\r\n' % _INBOX.encode())
        while self._lines.readline() != b"PONG\r\n":
            pass

    def send(self, data: bytes) -> None:
        """Write."""
        self._socket.sendall(data)

    def answer(self) -> dict[str, object]:
        """Return the next answer of the stream.

        Raises:
            RuntimeError: it is an error.
        """
        while not (line := self._lines.readline()).startswith(b"MSG"):
            if line == b"PING\r\n":
                self.send(b"PONG\r\n")
        body = self._lines.read(int(line.split()[-1]) + 2)
        found: dict[str, object] = json.loads(body) if body.strip() else {}
        if "error" in found:
            raise RuntimeError(f"refused: {found}")
        return found


async def _copies(url: str, jobs: int) -> list[Sent]:
    """Return the messages of as many jobs as wanted, none of which is stored."""
    async with Bench.connect(url, options=WITHOUT_DUTIES) as bench:
        (ref,) = await bench.jobs.work.create_many([payload(1)])
        stored = await get_last_message(bench.jobs.runtime.connection, "JOBS", f"{PREFIX}.{ref.id}.created")
    if stored is None:
        raise RuntimeError("the job is not stored")
    headers = {name: text for name, text in stored.headers.items() if not name.startswith("Nats-")}
    place, data = ref.id.encode(), stored.data
    ids = [new_id() for _ in range(jobs)]
    return [Sent(f"{PREFIX}.{job}.created", headers, data.replace(place, job.encode())) for job in ids]


async def _create_many(url: str, jobs: int, meter: Meter) -> Measured:
    async with Bench.connect(url, options=WITHOUT_DUTIES) as bench:
        await bench.jobs.work.create_many([payload(0)])
        payloads = [payload(number) for number in range(jobs)]
        meter.start()
        await bench.jobs.work.create_many(payloads)
        return meter.stop(jobs)


async def _nats_py_batches(url: str, jobs: int, meter: Meter) -> Measured:
    messages, client = await _copies(url, jobs), Client()
    await client.connect(url)  # pyright: ignore[reportUnknownMemberType] - nats-py leaves it untyped
    meter.start()
    for batch in _slices(messages, BATCH):
        for subject, headers, data in (controlled := list(_controlled(batch)))[:-1]:
            await client.publish(subject, data, headers=headers)
        subject, headers, data = controlled[-1]
        answer = await client.request(subject, data, headers=headers, timeout=_PATIENCE)  # pyright: ignore[reportUnknownMemberType] - likewise
        if json.loads(answer.data).get("count") != len(batch):
            raise RuntimeError(f"not stored: {answer.data.decode()}")
    measured = meter.stop(jobs)
    await client.close()
    return measured


async def _nats_py_publishes(url: str, jobs: int, meter: Meter) -> Measured:
    messages, client = await _copies(url, jobs), Client()
    await client.connect(url)  # pyright: ignore[reportUnknownMemberType] - nats-py leaves it untyped
    stream = client.jetstream()  # pyright: ignore[reportUnknownMemberType] - likewise
    meter.start()
    for window in _slices(messages, WINDOW):
        await asyncio.gather(
            *(
                stream.publish(subject, data, timeout=_PATIENCE, headers=headers)
                for subject, headers, data in window
            )
        )
    measured = meter.stop(jobs)
    await client.close()
    return measured


async def _encoded_batches(url: str, jobs: int, meter: Meter) -> Measured:
    batches = [
        b"".join(
            _command(sent, f"{_INBOX}.a" if "Nats-Batch-Commit" in sent.headers else "") for sent in batch
        )
        for batch in map(list, map(_controlled, _slices(await _copies(url, jobs), BATCH)))
    ]
    link = Socket(url)
    meter.start()
    for batch in batches:
        link.send(batch)
        link.answer()
    return meter.stop(jobs)


async def _encoded_fast(url: str, jobs: int, meter: Meter, *, ids: bool) -> Measured:
    messages = await _copies(url, jobs)
    await _allow_fast_batches(url)
    commands = [
        _command(
            Sent(sent.subject, {**sent.headers, "Nats-Msg-Id": sent.subject}, sent.data) if ids else sent,
            f"{_INBOX}.{FLOW}.fail.{number}.{0 if number == 1 else 2 if number == jobs else 1}.$FI",
        )
        for number, sent in enumerate(messages, start=1)
    ]
    link = Socket(url)
    meter.start()
    link.send(commands[0])
    answer = link.answer()
    sent, known, flow = 1, 0, _number(answer, "msgs")
    while "stream" not in answer:
        until = min(jobs, known + 2 * flow)
        if until > sent:
            link.send(b"".join(commands[sent:until]))
            sent = until
        answer = link.answer()
        if answer.get("type") == "ack":
            known, flow = _number(answer, "seq"), _number(answer, "msgs")
    if answer.get("count") != jobs:
        raise RuntimeError(f"not stored: {answer}")
    return meter.stop(jobs)


def _number(answer: dict[str, object], name: str) -> int:
    found = answer.get(name)
    return found if isinstance(found, int) else 0


async def _allow_fast_batches(url: str) -> None:
    client = Client()
    await client.connect(url)  # pyright: ignore[reportUnknownMemberType] - nats-py leaves it untyped
    info = await client.request("$JS.API.STREAM.INFO.JOBS")  # pyright: ignore[reportUnknownMemberType] - likewise
    config = {**json.loads(info.data)["config"], "allow_batched": True}
    answer = await client.request("$JS.API.STREAM.UPDATE.JOBS", json.dumps(config).encode())  # pyright: ignore[reportUnknownMemberType] - likewise
    await client.close()
    if "error" in json.loads(answer.data):
        raise RuntimeError(f"no fast batches: {answer.data.decode()}")


def _controlled(batch: Iterable[Sent]) -> Iterator[Sent]:
    """Add the headers of an atomic batch."""
    messages, batch_id = list(batch), new_id()
    for number, (subject, headers, data) in enumerate(messages, start=1):
        controls = {"Nats-Batch-Id": batch_id, "Nats-Batch-Sequence": str(number)}
        if number == len(messages):
            controls |= {"Nats-Batch-Commit": "1", "Nats-Expected-Last-Subject-Sequence": "0"}
        yield Sent(subject, {**headers, **controls}, data)


def _command(sent: Sent, reply: str) -> bytes:
    lines = "".join(f"{name}: {text}\r\n" for name, text in sent.headers.items())
    block = f"NATS/1.0\r\n{lines}\r\n".encode()
    size = f"{len(block)} {len(block) + len(sent.data)}"
    return f"HPUB {sent.subject} {reply} {size}\r\n".encode() + block + sent.data + b"\r\n"


def _slices(messages: list[Sent], size: int) -> Iterator[list[Sent]]:
    return (messages[start : start + size] for start in range(0, len(messages), size))


COLUMNS: Final[dict[str, Callable[[str, int, Meter], Coroutine[None, None, Measured]]]] = {
    "create_many": _create_many,
    "nats-py: atomic batches": _nats_py_batches,
    "nats-py: publishes": _nats_py_publishes,
    "encoded before: atomic batches": _encoded_batches,
    "encoded before: fast batch": partial(_encoded_fast, ids=False),
    "encoded before: fast batch, message ids": partial(_encoded_fast, ids=True),
}
"""What stores the jobs. What was encoded before costs the client nothing, and shows how many the server can store."""
