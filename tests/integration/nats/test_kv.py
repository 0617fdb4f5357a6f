"""Buckets as JetStream has them: revisions decide."""

from __future__ import annotations

import asyncio

import pytest
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.kv import KvBucket
from trellis_nats.errors import NoResponders, WrongLastSequence
from trellis_nats.provision import BucketRequirement, provision


@pytest.fixture
async def bucket(connection: Connection) -> KvBucket:
    await provision(connection, [BucketRequirement(bucket="things", history=3)], create=True)
    return KvBucket(connection, "things")


async def test_a_value_is_read_back_with_its_revision(bucket: KvBucket) -> None:
    revision = await bucket.put("a.b", b"1")
    record = await bucket.get("a.b")

    assert record is not None
    assert record == await bucket.get("a.b", leader=True)
    assert (record.key, record.value, record.revision, record.operation) == ("a.b", b"1", revision, "PUT")


async def test_a_key_that_was_never_there_is_none(bucket: KvBucket) -> None:
    assert await bucket.get("nothing") is None


async def test_a_write_over_an_old_revision_is_refused(bucket: KvBucket) -> None:
    first = await bucket.put("a", b"1")
    second = (await bucket.update("a", b"2", first)).sequence

    with pytest.raises(WrongLastSequence):
        await bucket.update("a", b"3", first)
    with pytest.raises(WrongLastSequence):
        await bucket.put("a", b"3", expected_revision=first)
    with pytest.raises(WrongLastSequence):
        await bucket.delete("a", expected_revision=first)

    assert (await bucket.update("a", b"3", second)).sequence > second


async def test_of_many_that_create_a_key_one_does(bucket: KvBucket) -> None:
    creates = [bucket.put("a", b"", expected_revision=0) for _ in range(20)]
    outcomes = await asyncio.gather(*creates, return_exceptions=True)

    assert sum(isinstance(outcome, int) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, WrongLastSequence) for outcome in outcomes) == 19


async def test_a_deleted_key_can_be_created_over_its_marker(bucket: KvBucket) -> None:
    revision = await bucket.put("a", b"1")

    marker = await bucket.delete("a", expected_revision=revision)
    deleted = await bucket.get("a")
    created = await bucket.put("a", b"2", expected_revision=marker)

    assert deleted is not None
    assert (deleted.operation, deleted.revision) == ("DEL", marker)
    assert created > marker


async def test_a_bucket_that_does_not_exist_is_an_error_at_once(connection: Connection) -> None:
    with pytest.raises(NoResponders):
        await KvBucket(connection, "missing").get("a")
    with pytest.raises(NoResponders):
        await KvBucket(connection, "missing").put("a", b"1")
