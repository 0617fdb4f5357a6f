"""The recorded frames of state: our client sends and reads what was recorded, and the stand-in of the tests answers so."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Final, Never, cast

import pytest
from pydantic import JsonValue
from trellis_nats import OldStateEntry, StateConflict, StateEntry
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats._nats.request import request
from trellis_nats._nats.wire.message import Message
from trellis_nats.clock import now
from trellis_nats.testing import NatsServer

from tests.conformance.wire import NEEDS_RECORDINGS, Recorded, cases_of, frames_of
from tests.support.gadget import NEW_RULES, OLD_RULES, Gadget, NewGadget, Note, Pref, SizedPref
from tests.support.state_service import state_platform

pytestmark = NEEDS_RECORDINGS

VARYING: Final = {"revision", "updatedAt", "expiresAt", "id", "context", "traceId", "writerContractDigest"}
"""Revisions count all values of the platform; the stand-in has those of one caller. And times, ids, digests."""

REFUSED_BY_US: Final = {
    "state.invalid_store",
    "state.value_store_with_key",
    "state.map_store_without_key",
    "state.put_invalid_value",
    "state.put_key_too_long",
    "state.put_value_too_large",
    "state.list_value_store",
    "state.list_limit_too_large",
}
"""Requests that our client does not send: it has no such method, or refuses the argument."""


async def get_prefs(gadget: Gadget) -> object:
    return await gadget.prefs.get()


async def put_prefs(gadget: Gadget) -> object:
    return await gadget.prefs.put(Pref(theme="dark"))


async def list_notes(gadget: Gadget, prefix: str | None = None) -> object:
    return [entry.key async for entry in gadget.notes.list(prefix)]


DONE: Final[dict[str, Callable[[Gadget], Awaitable[object]]]] = {
    "state.get_missing": get_prefs,
    "state.put": put_prefs,
    "state.get": get_prefs,
    "state.put_expected_revision": lambda gadget: gadget.prefs.update(seen("1"), Pref(theme="light")),
    "state.put_stale_revision": lambda gadget: gadget.prefs.update(seen("1"), Pref(theme="blue")),
    "state.put_create_only_exists": lambda gadget: gadget.prefs.create(Pref(theme="blue")),
    "state.put_ttl": lambda gadget: gadget.notes.put("temp", Note(text="short"), ttl=timedelta(minutes=1)),
    "state.map_put": lambda gadget: gadget.notes.put("a", Note(text="one")),
    "state.map_put_create_only": lambda gadget: gadget.notes.create("b", Note(text="two")),
    "state.map_put_prefixed": lambda gadget: gadget.notes.put("work/c", Note(text="three")),
    "state.map_get": lambda gadget: gadget.notes.get("a"),
    "state.map_get_missing": lambda gadget: gadget.notes.get("zz"),
    "state.list": list_notes,
    "state.list_prefix": lambda gadget: list_notes(gadget, "work"),
    "state.delete_stale_revision": lambda gadget: gadget.notes.delete("a", entry=seen_note("a", "999")),
    "state.delete": lambda gadget: gadget.notes.delete("a"),
    "state.delete_missing": lambda gadget: gadget.notes.delete("a"),
    "state.value_delete": lambda gadget: gadget.prefs.delete(),
    "state.migration.put_by_v1": put_prefs,
}
"""What was done in each case."""

DONE_BY_NEW: Final[dict[str, Callable[[NewGadget], Awaitable[object]]]] = {
    "state.migration.get_by_v2": lambda gadget: gadget.prefs.get(),
    "state.migration.put_stale_by_v2": lambda gadget: gadget.prefs.create(SizedPref(theme="dark", size=1)),
    "state.migration.put_by_v2": lambda gadget: gadget.prefs.update(
        seen("9"), SizedPref(theme="dark", size=1)
    ),
    "state.migration.get_after": lambda gadget: gadget.prefs.get(),
}

RESULTS: Final[dict[str, object]] = {
    "state.get_missing": None,
    "state.put": (Pref(theme="dark"), "1"),
    "state.get": (Pref(theme="dark"), "1"),
    "state.put_expected_revision": (Pref(theme="light"), "2"),
    "state.put_stale_revision": ("conflict", (Pref(theme="light"), "2")),
    "state.put_create_only_exists": ("conflict", (Pref(theme="light"), "2")),
    "state.put_ttl": (Note(text="short"), "3"),
    "state.map_put": (Note(text="one"), "4"),
    "state.map_put_create_only": (Note(text="two"), "5"),
    "state.map_put_prefixed": (Note(text="three"), "6"),
    "state.map_get": (Note(text="one"), "4"),
    "state.map_get_missing": None,
    "state.list": ["a", "b", "temp", "work/c"],
    "state.list_prefix": ["work/c"],
    "state.delete_stale_revision": False,
    "state.delete": True,
    "state.delete_missing": False,
    "state.value_delete": True,
    "state.migration.put_by_v1": (Pref(theme="dark"), "9"),
    "state.migration.get_by_v2": ("v1", Pref(theme="dark"), "9"),
    "state.migration.put_stale_by_v2": ("conflict", ("v1", Pref(theme="dark"), "9")),
    "state.migration.put_by_v2": (SizedPref(theme="dark", size=1), "10"),
    "state.migration.get_after": (SizedPref(theme="dark", size=1), "10"),
}
"""What our client makes of the recorded answer: value and revision, the version before them where it is an older one."""


def seen(revision: str) -> StateEntry[Never]:
    """Return an entry that was read earlier; its value does not matter."""
    return cast("StateEntry[Never]", StateEntry(value=None, revision=revision, updated=now()))


def seen_note(key: str, revision: str) -> StateEntry[Note]:
    """Return an entry of the map that was read earlier."""
    return StateEntry(key=key, value=Note(text="earlier"), revision=revision, updated=now())


@asynccontextmanager
async def answering(url: str, answers: Iterable[Recorded]) -> AsyncGenerator[list[Message]]:
    """Answer calls with recorded answers, one after the other; yield the list of the calls that arrive."""
    platform = await Connection.open(url, settings=ConnectionSettings())
    calls: list[Message] = []
    left = iter(answers)

    def answer(call: Message) -> None:
        calls.append(call)
        frame = next(left)
        platform.send(call.reply, frame.body, headers=frame.headers)

    platform.subscribe("rpc.v1.State.*", answer)
    await platform.flush()
    yield calls
    await platform.close()


def described(result: object) -> object:
    """Describe a result as `RESULTS` does."""
    if isinstance(result, StateEntry):
        entry = cast("StateEntry[object]", result)
        return entry.value, entry.revision
    if isinstance(result, OldStateEntry):
        old = cast("OldStateEntry[object]", result)
        return old.version, old.value, old.revision
    return result


@pytest.mark.parametrize("case", RESULTS)
async def test_our_client_sends_what_was_recorded_and_reads_the_answer(
    nats_server: NatsServer, case: str
) -> None:
    asked, *answers = frames_of("state.json", case)
    async with answering(nats_server.url, answers) as calls:
        try:
            if case in DONE:
                async with Gadget.connect(nats_server.url) as gadget:
                    result = described(await DONE[case](gadget))
            else:
                async with NewGadget.connect(nats_server.url) as new_gadget:
                    result = described(await DONE_BY_NEW[case](new_gadget))
        except StateConflict as conflict:
            result = "conflict", described(conflict.current)

    (call,) = calls
    assert (call.subject, parsed(call.data)) == (asked.subject, parsed(asked.body))
    assert call.headers["request-id"]
    assert result == RESULTS[case]


async def test_our_client_asks_for_the_next_page_as_recorded(nats_server: NatsServer) -> None:
    asked, answer = frames_of("state.json", "state.list_page")
    first = {
        "count": 4,
        "offset": 0,
        "limit": 1,
        "nextOffset": 1,
        "entries": [
            {"key": "a", "value": {"text": "one"}, "revision": "4", "updatedAt": "2026-11-29T14:09:59.095Z"}
        ],
    }
    answers = [replace(answer, body=json.dumps(first).encode()), answer]
    async with (
        answering(nats_server.url, answers) as calls,
        Gadget.connect(nats_server.url) as gadget,
        aclosing(gadget.notes.list(page_size=1)) as entries,
    ):
        keys = [(await anext(entries)).key for _ in answers]

    assert keys == ["a", "b"]
    assert parsed(calls[1].data) == parsed(asked.body)


def test_every_case_is_covered() -> None:
    assert {*RESULTS, *REFUSED_BY_US, "state.list_page"} == {*cases_of("state.json")}
    assert RESULTS.keys() == {**DONE, **DONE_BY_NEW}.keys()


async def test_the_stand_in_of_our_tests_answers_as_the_platform_did(nats_server: NatsServer) -> None:
    """Each request is sent as it was recorded, in order; a revision that it names is the stand-in's own.

    The stand-in does not know the schemas of values.
    """
    caller = await Connection.open(nats_server.url, settings=ConnectionSettings())
    revisions: dict[object, JsonValue] = {"999": "999"}
    async with state_platform(nats_server.url, OLD_RULES) as platform:
        for case in [case for case in cases_of("state.json") if case != "state.put_invalid_value"]:
            if case.endswith("by_v2"):
                platform.declare(NEW_RULES)
            asked, expected = frames_of("state.json", case)
            body = parsed(asked.body)
            if body.get("expectedRevision") is not None:
                body["expectedRevision"] = revisions[body["expectedRevision"]]
            answer = await request(
                caller, asked.subject, json.dumps(body).encode(), timeout=timedelta(seconds=5)
            )
            learn(parsed(answer.data), parsed(expected.body), revisions)

            assert answer.headers.get("status") == expected.headers.get("status"), case
            assert comparable(parsed(answer.data)) == comparable(parsed(expected.body)), case
    await caller.close()


def learn(ours: JsonValue, theirs: JsonValue, revisions: dict[object, JsonValue]) -> None:
    """Note which revision of the stand-in stands for which recorded one."""
    match ours, theirs:
        case {"entry": {"revision": own}}, {"entry": {"revision": recorded}}:
            revisions[recorded] = own
        case _:
            pass


def parsed(body: bytes) -> dict[str, JsonValue]:
    """Parse a body."""
    return cast("dict[str, JsonValue]", json.loads(body))


def comparable(value: JsonValue) -> JsonValue:
    """Leave out what differs from one run to the next."""
    match value:
        case dict():
            return {name: comparable(member) for name, member in value.items() if name not in VARYING}
        case list():
            return [comparable(member) for member in value]
        case _:
            return value
