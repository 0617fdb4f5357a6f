"""State stores, against a stand-in for the platform: written, read, compared, listed and refused."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import cast

import pytest
from trellis_nats import (
    ConfigurationError,
    InvalidPayload,
    InvalidStateKey,
    NoResponders,
    OldStateEntry,
    StateConflict,
    StateEntry,
    StateValueTooLarge,
    TimedeltaExpected,
    permissions,
)
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats.clock import now
from trellis_nats.testing import NatsServer

from tests.support.gadget import NEW_RULES, OLD_RULES, Gadget, NewGadget, Note, Pref, SizedPref
from tests.support.state_service import state_platform

DARK, LIGHT = Pref(theme="dark"), Pref(theme="light")


async def test_what_was_put_is_read_with_its_revision_and_time(nats_server: NatsServer) -> None:
    async with state_platform(nats_server.url, OLD_RULES), Gadget.connect(nats_server.url) as gadget:
        written = await gadget.prefs.put(DARK)
        read = await gadget.prefs.get()

    assert written == read
    assert (written.key, written.value, written.revision, written.expires) == ("", DARK, "1", None)
    assert abs(now() - written.updated) < timedelta(seconds=30)


async def test_each_key_of_a_map_has_a_value_of_its_own(nats_server: NatsServer) -> None:
    async with state_platform(nats_server.url, OLD_RULES), Gadget.connect(nats_server.url) as gadget:
        await gadget.notes.put("a", Note(text="one"))
        await gadget.notes.put("b/c", Note(text="two"))
        read = [await gadget.notes.get(key) for key in ("a", "b/c")]

        assert [(entry.key, entry.value.text) for entry in read if entry] == [("a", "one"), ("b/c", "two")]
        assert await gadget.notes.get("c") is None


async def test_create_refuses_a_value_that_exists_and_names_it(nats_server: NatsServer) -> None:
    async with state_platform(nats_server.url, OLD_RULES), Gadget.connect(nats_server.url) as gadget:
        first = await gadget.notes.create("a", Note(text="one"))

        with pytest.raises(
            StateConflict, match='there is a value already: key "a" of state "notes"'
        ) as refused:
            await gadget.notes.create("a", Note(text="two"))

        assert refused.value.current == first
        assert await gadget.notes.get("a") == first


async def test_an_update_of_a_changed_value_is_refused(nats_server: NatsServer) -> None:
    async with state_platform(nats_server.url, OLD_RULES), Gadget.connect(nats_server.url) as gadget:
        first = await gadget.prefs.create(DARK)
        second = await gadget.prefs.update(first, LIGHT)

        with pytest.raises(
            StateConflict, match=r'it has changed since revision 1: state "prefs"$'
        ) as refused:
            await gadget.prefs.update(first, DARK)

        assert refused.value.current == second
        assert await gadget.prefs.get() == second


async def test_an_update_of_a_deleted_value_is_refused(nats_server: NatsServer) -> None:
    async with state_platform(nats_server.url, OLD_RULES), Gadget.connect(nats_server.url) as gadget:
        first = await gadget.notes.put("a", Note(text="one"))
        await gadget.notes.delete("a")

        with pytest.raises(StateConflict, match="it is gone, and was at revision 1") as refused:
            await gadget.notes.update(first, Note(text="two"))

        assert refused.value.current is None
        assert await gadget.notes.get("a") is None


async def test_delete_returns_whether_something_was_deleted(nats_server: NatsServer) -> None:
    async with state_platform(nats_server.url, OLD_RULES), Gadget.connect(nats_server.url) as gadget:
        old = await gadget.prefs.put(DARK)
        new = await gadget.prefs.put(LIGHT)

        assert not await gadget.prefs.delete(entry=old)
        assert await gadget.prefs.delete(entry=new)
        assert not await gadget.prefs.delete()

        note = await gadget.notes.put("a", Note(text="one"))
        with pytest.raises(ConfigurationError, match='the entry belongs to key "a", not to key "b"'):
            await gadget.notes.delete("b", entry=note)
        assert await gadget.notes.delete("a", entry=note)


async def test_a_value_with_a_ttl_says_when_it_expires(nats_server: NatsServer) -> None:
    async with state_platform(nats_server.url, OLD_RULES) as platform:
        async with Gadget.connect(nats_server.url) as gadget:
            written = await gadget.prefs.put(DARK, ttl=timedelta(minutes=1))
            read = await gadget.prefs.get()
            for ttl in (timedelta(0), timedelta(microseconds=999)):
                with pytest.raises(ConfigurationError, match="ttl must be at least a millisecond"):
                    await gadget.prefs.put(DARK, ttl=ttl)
            with pytest.raises(TimedeltaExpected):
                await gadget.prefs.put(DARK, ttl=cast("timedelta", 60))

        assert [request.get("ttlMs") for name, request in platform.calls if name == "State.Put"] == [60_000]
    assert read == written
    assert written.expires == written.updated + timedelta(minutes=1)


@pytest.mark.parametrize(("page_size", "requests"), [(100, 1), (2, 3), (1, 5)])
async def test_a_list_reads_page_by_page(nats_server: NatsServer, page_size: int, requests: int) -> None:
    async with state_platform(nats_server.url, OLD_RULES) as platform:
        async with Gadget.connect(nats_server.url) as gadget:
            for key in "edcba":
                await gadget.notes.put(key, Note(text=key))

            keys = [entry.key async for entry in gadget.notes.list(page_size=page_size)]

        listed = [request for name, request in platform.calls if name == "State.List"]
    assert keys == list("abcde")
    assert [(each["offset"], each["limit"]) for each in listed] == [
        (number * page_size, page_size) for number in range(requests)
    ]


async def test_a_list_may_have_a_prefix_and_no_larger_page_than_the_platform_allows(
    nats_server: NatsServer,
) -> None:
    async with state_platform(nats_server.url, OLD_RULES), Gadget.connect(nats_server.url) as gadget:
        for key in ("a", "work/a", "work/b"):
            await gadget.notes.put(key, Note(text=key))

        assert [entry.key async for entry in gadget.notes.list("work")] == ["work/a", "work/b"]
        assert [entry.key async for entry in gadget.notes.list("none")] == []
        for page_size in (0, 101):
            with pytest.raises(ConfigurationError, match="page_size must be 1 to 100"):
                await anext(gadget.notes.list(page_size=page_size))
        with pytest.raises(InvalidStateKey):
            await anext(gadget.notes.list(""))


async def test_what_exceeds_a_limit_is_never_sent(nats_server: NatsServer) -> None:
    async with (
        state_platform(nats_server.url, OLD_RULES) as platform,
        Gadget.connect(nats_server.url) as gadget,
    ):
        for key in ("", "k" * 513, "ü" * 257):
            with pytest.raises(InvalidStateKey, match="a key must be 1 to 512 bytes"):
                await gadget.notes.get(key)
            with pytest.raises(InvalidStateKey):
                await gadget.notes.put(key, Note(text="x"))
            with pytest.raises(InvalidStateKey):
                await gadget.notes.create(key, Note(text="x"))
            with pytest.raises(InvalidStateKey):
                await gadget.notes.delete(key)
        with pytest.raises(StateValueTooLarge, match=r"a value of 65537 bytes exceeds .* 65536") as large:
            await gadget.notes.put("a", Note(text="x" * (65536 - 11 + 1)))
        with pytest.raises(InvalidPayload, match='the value for state "prefs"'):
            await gadget.prefs.put(cast("Pref", {"theme": 5}))

        assert platform.calls == []
        await gadget.notes.put("k" * 512, Note(text="x" * (65536 - 11)))

    assert (large.value.size_bytes, large.value.limit_bytes, large.value.key) == (65537, 65536, "a")


async def test_a_value_of_an_older_version_is_read_as_such_and_replaced(nats_server: NatsServer) -> None:
    async with state_platform(nats_server.url, OLD_RULES) as platform:
        async with Gadget.connect(nats_server.url) as gadget:
            await gadget.prefs.put(DARK)
        platform.declare(NEW_RULES)

        async with NewGadget.connect(nats_server.url) as gadget:
            old = await gadget.prefs.get()
            assert isinstance(old, OldStateEntry)
            assert (old.value, old.version, old.revision) == (DARK, "v1", "1")
            with pytest.raises(StateConflict) as refused:
                await gadget.prefs.create(SizedPref(theme="dark", size=1))
            assert refused.value.current == old

            new = await gadget.prefs.update(old, SizedPref(theme=old.value.theme, size=1))
            assert isinstance(new, StateEntry)
            assert await gadget.prefs.get() == new


async def test_a_value_of_a_version_that_is_not_accepted_is_an_error(nats_server: NatsServer) -> None:
    async with state_platform(nats_server.url, NEW_RULES) as platform:
        async with NewGadget.connect(nats_server.url) as gadget:
            await gadget.prefs.put(SizedPref(theme="dark", size=1))
        platform.declare(OLD_RULES)

        async with Gadget.connect(nats_server.url) as gadget:
            with pytest.raises(
                InvalidPayload, match='version "v2" is not the current one, and the contract does not'
            ):
                await gadget.prefs.get()


async def test_a_stored_value_that_breaks_its_schema_is_named(nats_server: NatsServer) -> None:
    async with state_platform(nats_server.url, NEW_RULES) as platform:
        async with NewGadget.connect(nats_server.url) as gadget:
            await gadget.prefs.put(SizedPref(theme="secret", size=1))
        entry = platform.values.kept["prefs", ""].entry
        entry["value"] = {"theme": "secret"}

        async with NewGadget.connect(nats_server.url) as gadget:
            with pytest.raises(InvalidPayload, match=r'the value for state "prefs" .*#/size') as caught:
                await gadget.prefs.get()

    assert "secret" not in str(caught.value)


async def test_without_a_platform_the_call_says_so(nats_server: NatsServer) -> None:
    async with Gadget.connect(nats_server.url) as gadget:
        with pytest.raises(NoResponders, match=r"State\.Get"):
            await gadget.prefs.get()


def test_a_device_needs_no_other_permissions() -> None:
    allowed = permissions(Gadget, "client")

    assert set(allowed.publish) == {
        "rpc.v1.State.Get",
        "rpc.v1.State.Put",
        "rpc.v1.State.Delete",
        "rpc.v1.State.List",
    }
    assert allowed.subscribe == ("_INBOX_wire-gadget.client.>",)
    assert allowed.allow_responses is None


@pytest.mark.parametrize(
    "answer",
    [b"", b"{nope", b"[]", b"{}", b'{"found":1}', b'{"found":true}', b'{"found":true,"entry":{"value":1}}'],
)
async def test_a_malformed_answer_is_an_error(nats_server: NatsServer, answer: bytes) -> None:
    async with answering(nats_server.url, answer), Gadget.connect(nats_server.url) as gadget:
        with pytest.raises(InvalidPayload, match=r'the response of rpc "State\.Get"'):
            await gadget.prefs.get()


async def test_a_page_that_leads_back_ends_the_list(nats_server: NatsServer) -> None:
    page = b'{"entries":[],"count":1,"offset":0,"limit":100,"nextOffset":0}'
    async with answering(nats_server.url, page), Gadget.connect(nats_server.url) as gadget:
        with pytest.raises(InvalidPayload, match=r'a page of state "notes" .*#/nextOffset'):
            await anext(gadget.notes.list())


@asynccontextmanager
async def answering(url: str, answer: bytes) -> AsyncGenerator[None]:
    """Answer every call of state with the same bytes."""
    platform = await Connection.open(url, settings=ConnectionSettings())
    platform.subscribe("rpc.v1.State.*", lambda call: platform.send(call.reply, answer))
    await platform.flush()
    yield
    await platform.close()
