"""Every revision of every key's record, in the order in which the server stored them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from pydantic import JsonValue
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.api import call, parse_object
from trellis_nats._nats.jetstream.streams import create_stream, get_stream_info
from trellis_nats._nats.wire.message import Message
from trellis_nats.clock import parse_timestamp

from tests.faults.harness.dump import stored_messages

__all__ = [
    "Key",
    "Revision",
    "Slot",
    "admitted_beyond",
    "keep_every_revision",
    "lost_updates",
    "revisions",
    "slots_beyond",
]

BUCKET: Final = "KV_JOBS_KEYS_harbour"
_COPIES: Final = "REVISIONS"
_EXPECTED: Final = "Nats-Expected-Last-Subject-Sequence"

Key = tuple[str, str]
"""The queue and the display key."""
Slot = tuple[str, int]
"""The job and its try."""


@dataclass(frozen=True, slots=True)
class Revision:
    """One stored record."""

    key: Key
    number: int
    expected: int | None
    """The revision that its writer had read; None where the write had no condition."""
    at: int
    """When it was stored, in nanoseconds."""
    previous: int | None = None
    """The revision that it took the place of, as the server says; None where that is not known."""
    active: tuple[Slot, ...] = ()
    queued: tuple[str, ...] = ()
    """The jobs that wait."""
    takeovers: int = 0


async def keep_every_revision(connection: Connection) -> None:
    """Have the server store every revision a second time: the bucket itself keeps the newest one alone."""
    subjects = f"{_COPIES.lower()}.>"
    await create_stream(connection, {"name": _COPIES, "subjects": [subjects], "storage": "file"})
    info = await get_stream_info(connection, BUCKET)
    config = None if info is None else info.get("config")
    if not isinstance(config, dict):
        raise TypeError(f"there is no stream {BUCKET}")
    republish: dict[str, JsonValue] = {"src": ">", "dest": subjects}
    await call(connection, f"STREAM.UPDATE.{BUCKET}", {**config, "republish": republish})


async def revisions(connection: Connection, *, clock: int) -> list[Revision]:
    """Read them all. `clock`: what is taken from the server's clock, to have the one of the history.

    A server that is killed between the two writes keeps a revision in the bucket alone, until the next one.
    """
    newest = [
        _newest(message, clock)
        for message in await stored_messages(connection, BUCKET)
        if _is_of_a_key(message)
    ]
    copied = [
        _copied(message, clock)
        for message in await stored_messages(connection, _COPIES)
        if _is_of_a_key(message)
    ]
    found = {each.number: each for each in (*newest, *copied)}
    return sorted(found.values(), key=lambda each: each.number)


def _is_of_a_key(message: Message) -> bool:
    """Return whether it is the record of a key; the bucket also has the lease of the leader."""
    return ".harbour." in message.subject


def slots_beyond(stored: Iterable[Revision], limits: Mapping[str, tuple[int, int]]) -> Iterator[str]:
    """Name each revision with more active jobs than its queue allows."""
    for each in stored:
        if len(each.active) > limits[each.key[0]][0]:
            yield f"{each.key} revision {each.number}: {each.active}"


def admitted_beyond(stored: Iterable[Revision], limits: Mapping[str, tuple[int, int]]) -> Iterator[str]:
    """Name each revision that let a job in for which there was no place. A retry comes in again without one."""
    for before, after in _successive(stored):
        most_active, most_queued = limits[after.key[0]]
        places = most_queued + max(0, most_active - len(after.active))
        is_new = bool(after.queued) and after.queued[-1] not in before.queued
        if is_new and len(after.queued) > max(places, len(before.queued)):
            yield f"{after.key} revision {after.number}: {len(after.queued)} wait, {places} places"


def lost_updates(stored: Iterable[Revision]) -> Iterator[str]:
    """Name each revision whose writer did not know the one before it."""
    for each in stored:
        if each.previous is not None and each.expected != each.previous:
            yield f"{each.key} revision {each.number}: over {each.expected}, not {each.previous}"


def _successive(stored: Iterable[Revision]) -> Iterator[tuple[Revision, Revision]]:
    of_key: dict[Key, list[Revision]] = defaultdict(list)
    for each in stored:
        of_key[each.key].append(each)
    for key, its in of_key.items():
        yield from pairwise([Revision(key, 0, None, 0), *its])


def _newest(message: Message, clock: int) -> Revision:
    acknowledgement = message.reply.split(".")
    return _revision(message, int(acknowledgement[-4]), int(acknowledgement[-2]) - clock, None)


def _copied(message: Message, clock: int) -> Revision:
    said = message.headers
    at = int(parse_timestamp(said["Nats-Time-Stamp"]).timestamp() * 1e6) * 1000
    return _revision(message, int(said["Nats-Sequence"]), at - clock, int(said["Nats-Last-Sequence"]))


def _revision(message: Message, number: int, at: int, previous: int | None) -> Revision:
    content = parse_object(message.data)
    expected = message.headers.get(_EXPECTED)
    return Revision(
        key=(str(content["jobType"]), str(content["key"])),
        number=number,
        expected=None if expected is None else int(expected),
        previous=previous,
        at=at,
        active=tuple((str(each["jobId"]), int(str(each["tries"]))) for each in _objects(content["active"])),
        queued=tuple(str(each["jobId"]) for each in _objects(content["queued"])),
        takeovers=int(str(content["staleTakeoverCount"])),
    )


def _objects(found: JsonValue) -> Sequence[Mapping[str, JsonValue]]:
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
