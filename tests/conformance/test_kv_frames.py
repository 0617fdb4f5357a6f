"""The recorded frames of buckets: ours are written in the same form, and what others wrote is read.

The package is generated from the contract of the recording.
"""

from __future__ import annotations

import json
from types import ModuleType
from typing import Any, Final

import pytest
from pydantic import JsonValue
from trellis_nats import KeyExists, RevisionMismatch
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats._nats.wire.message import Message
from trellis_nats.testing import NatsServer

from tests.conformance.wire import NEEDS_RECORDINGS, WIRE, Recorded, cases_of, frames_of
from tests.support.eventually import eventually
from tests.support.generated import generated

pytestmark = NEEDS_RECORDINGS

BUCKET: Final = "tr_kv_01m8ksrmg69hsfxebm10cf4cbg"
OURS: Final = "wire_things"
READS: Final = {"kv.get", "kv.get_missing", "kv.keys", "kv.get_deleted"}
MEANING: Final = ("Nats-Expected-Last-Subject-Sequence", "KV-Operation")
"""The headers that say what a write does."""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """Return the package of the recorded contract, without what it uses of others."""
    document: dict[str, JsonValue] = json.loads((WIRE / "contracts" / "wire.manifest.json").read_text())
    left = {name: member for name, member in document.items() if name not in {"uses", "eventConsumers"}}
    return generated(left, tmp_path_factory.mktemp("package"))[0]


def writes_of(case: str) -> list[Recorded]:
    """Return what a case writes into the bucket."""
    return [frame for frame in frames_of("kv.json", case) if frame.subject.startswith(f"$KV.{BUCKET}.")]


def meaning(headers: Any) -> dict[str, str]:
    return {name: headers[name] for name in MEANING if name in headers}


def described(key: str, body: bytes, headers: Any) -> tuple[str, object, dict[str, str]]:
    return key, json.loads(body) if body else None, meaning(headers)


async def test_our_writes_are_as_recorded(nats_server: NatsServer, package: ModuleType) -> None:
    sent: list[Message] = []
    thing = package.Thing
    async with package.WireService.connect(nats_server.url) as service:
        things = service.kv.things
        listener = await Connection.open(nats_server.url, settings=ConnectionSettings())
        # A subscription sees what is published, also where the stream refuses it.
        listener.subscribe(f"$KV.{OURS}.>", sent.append)
        await listener.flush()

        await publish_acked(listener, f"$KV.{OURS}.first", b'{"id":"first","weight":0}')
        sent.clear()
        await things.put("a/b.c", thing(id="a", weight=1.5))
        new = await things.create("new", thing(id="n", weight=2))
        with pytest.raises(KeyExists):
            await things.create("new", thing(id="n", weight=2))
        newer = await things.update(new, thing(id="n", weight=3))
        await things.put("new", thing(id="n", weight=9))
        read = await things.get("new")
        await things.put("new", thing(id="n", weight=10))
        with pytest.raises(RevisionMismatch):
            await things.update(read, thing(id="n", weight=4))
        await things.delete("new")
        recorded = [
            frame
            for case in (
                *("kv.put", "kv.create", "kv.create_exists", "kv.update_revision"),
                *("kv.update_revision_mismatch.second", "kv.delete"),
            )
            for frame in writes_of(case)
        ]
        await eventually(lambda: len(sent) >= len(recorded) + 1)
        await listener.close()

    ours = [described(each.subject.removeprefix(f"$KV.{OURS}."), each.data, each.headers) for each in sent]
    theirs = [
        described(each.subject.removeprefix(f"$KV.{BUCKET}."), each.body, each.headers) for each in recorded
    ]
    # The write of the value 9 is that of another writer; it was not recorded.
    ours.remove(("new", {"id": "n", "weight": 9}, {}))
    assert ours == theirs
    assert newer.revision == 4


async def test_our_reads_find_what_was_recorded(nats_server: NatsServer, package: ModuleType) -> None:
    async with package.WireService.connect(nats_server.url) as service:
        things = service.kv.things
        writer = await Connection.open(nats_server.url, settings=ConnectionSettings())

        async def write(case: str) -> None:
            for frame in writes_of(case):
                subject = frame.subject.replace(BUCKET, OURS)
                await publish_acked(writer, subject, frame.body, headers=meaning(frame.headers))

        await publish_acked(writer, f"$KV.{OURS}.first", b'{"id":"first","weight":0}')
        await write("kv.put")
        entry = await things.get("a/b.c")
        assert (entry.value, entry.revision) == (package.Thing(id="a", weight=1.5), 2)
        assert await things.get("nope") is None
        await write("kv.create")
        assert (await things.get("new")).value == package.Thing(id="n", weight=2)
        assert await things.keys() == ["a/b.c", "first", "new"]
        await write("kv.delete")
        assert await things.get("new") is None
        assert await things.keys() == ["a/b.c", "first"]
        await writer.close()


def test_every_case_is_covered() -> None:
    covered = {"kv.put", "kv.create", "kv.create_exists", "kv.update_revision", "kv.delete"}
    assert covered | READS | {"kv.update_revision_mismatch.second"} == {*cases_of("kv.json")}
