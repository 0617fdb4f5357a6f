"""Stores the records of bulk actions in bucket TRELLIS_ADMIN, and changes them by compare-and-set."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple, Self, cast

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.kv import KvBucket
from trellis_nats._support.bounded_gather import bounded_gather
from trellis_nats.errors import (
    ApiError,
    NoResponders,
    PermissionDenied,
    WriteUnknown,
    WrongLastSequence,
)
from trellis_nats.ids import is_token

from trellis_admin.audit_log import ADMIN_BUCKET, AdminResourceMissing, clean_text, open_admin_bucket
from trellis_admin.bulk.changes import BulkProblem
from trellis_admin.bulk.record import BulkAction, BulkRecord

__all__ = ["REFUSALS_MAX", "BulkNotFound", "BulkPage", "BulkStore", "lease_key"]

REFUSALS_MAX: Final = 1_000
"""How many refused jobs are kept with their reasons; the counts have all of them."""
_REASON_MAX: Final = 200
_ATTEMPTS: Final = 50
_PAUSE: Final = 0.02
_NO_STREAM: Final = 10059

Reducer = Callable[[BulkRecord], BulkRecord]


class BulkNotFound(BulkProblem):
    """There is no bulk action of this id."""


class BulkPage(NamedTuple):
    """Some bulk actions, the newest first."""

    records: tuple[BulkRecord, ...]
    """Those of the page that can be read."""
    total: int
    """How many bulk actions there are, on all pages."""
    next: str | None
    """Where the next page begins; None for the last one."""


def lease_key(bulk_id: str) -> str:
    """Return the key of the lease of the process that runs a bulk action."""
    return f"lease.bulk.{bulk_id}"


class BulkStore:
    """The records of bulk actions. `open` creates their bucket; without it, there may be none to read."""

    def __init__(self, connection: Connection) -> None:
        self.bucket = KvBucket(connection, ADMIN_BUCKET)
        """Where the records and the leases are."""

    @classmethod
    async def open(cls, connection: Connection) -> Self:
        """Return the store, whose bucket is created if it does not exist.

        Raises:
            AdminResourceMissing: it does not exist, and the account may not create it.
            TransportError: the server did not answer.
        """
        await open_admin_bucket(connection)
        return cls(connection)

    async def create(self, record: BulkRecord) -> None:
        """Store a new record.

        Raises:
            AdminResourceMissing: the account may not write it.
            TransportError: NATS did not answer or refused.
        """
        try:
            await self.bucket.put(_key(record.id), record.encode(), expected_revision=0)
        except PermissionDenied as denial:
            raise AdminResourceMissing(
                f"nothing was done, because the bulk action cannot be stored: {denial}; connect with an account that has the "
                'role operator: permissions(…, "operator") lists what it needs'
            ) from denial

    async def read(self, bulk_id: str) -> BulkRecord:
        """Return a record.

        Raises:
            BulkNotFound: there is none.
            BulkProblem: another version of this program wrote it, and this one cannot read it.
            TransportError: NATS did not answer.
        """
        record, _ = await self._read(bulk_id)
        return record

    async def list_all(self) -> list[BulkRecord]:
        """Return all records that can be read, newest first. There are none where the bucket does not exist.

        Raises:
            TransportError: NATS did not answer.
        """
        records = await self._read_all(await self._keys())
        return sorted(records, key=lambda record: (record.created_at, record.id), reverse=True)

    async def list_page(self, *, before: str | None = None, limit: int) -> BulkPage:
        """Return the newest records, and read no others: ids begin with the time. Raises as `list_all`.

        Args:
            before: `BulkPage.next` of the page before; None for the first page.
            limit: how many records at most.
        """
        keys = sorted(await self._keys(), reverse=True)
        left = [key for key in keys if before is None or key < f"bulk.{before}"]
        following = left[limit - 1].removeprefix("bulk.") if len(left) > limit else None
        return BulkPage(tuple(await self._read_all(left[:limit])), len(keys), following)

    async def list_newest(self, actions: Collection[BulkAction], *, limit: int) -> list[BulkRecord]:
        """Return the newest records of some actions, and read hardly more of them. Raises as `list_all`."""
        keys = sorted(await self._keys(), reverse=True)
        found: list[BulkRecord] = []
        while keys and len(found) < limit:
            page, keys = keys[:limit], keys[limit:]
            found += [record for record in await self._read_all(page) if record.action in actions]
        return found[:limit]

    async def _keys(self) -> list[str]:
        try:
            return await self.bucket.keys("bulk.*")
        except NoResponders:
            return []
        except ApiError as error:
            if error.err_code == _NO_STREAM:
                return []
            raise

    async def _read_all(self, keys: Sequence[str]) -> list[BulkRecord]:
        found = await bounded_gather(keys, self.bucket.get)
        records = [BulkRecord.parse(stored.value) for stored in found if stored is not None]
        return [record for record in records if record is not None]

    async def change(self, bulk_id: str, reduce: Reducer) -> BulkRecord:
        """Change a record, and return it as it is stored. The reducer may be called several times.

        Raises:
            BulkProblem: raised by the reducer; or there is no such record, or it changes all the time.
            TransportError: NATS did not answer or refused; the change may be stored.
        """
        for attempt in range(_ATTEMPTS):
            record, revision = await self._read(bulk_id)
            changed = reduce(record)
            if changed == record:
                return record
            try:
                await self.bucket.update(_key(bulk_id), changed.encode(), revision)
            except WrongLastSequence:
                await asyncio.sleep(_PAUSE * attempt)
            except WriteUnknown:
                if (await self._read(bulk_id))[0] == changed:
                    return changed
            else:
                return changed
        raise BulkProblem(
            f"bulk action {bulk_id} could not be changed: other processes changed it {_ATTEMPTS} times in a row"
        )

    async def prune(self, before: datetime) -> None:
        """Remove the records of bulk actions that ended before an instant, with their refusals.

        Raises:
            PermissionDenied: the account may not.
            TransportError: NATS did not answer.
        """
        for record in await self.list_all():
            if record.is_final and record.ended_at is not None and record.ended_at < before:
                for key in (f"refused.{record.id}", lease_key(record.id), _key(record.id)):
                    if await self.bucket.get(key) is not None:
                        await self.bucket.delete(key)

    async def read_refusals(self, bulk_id: str) -> dict[str, str]:
        """Return the reasons of refused jobs by `<prefix>.<id>`, at most `REFUSALS_MAX` of them.

        Raises:
            TransportError: NATS did not answer.
        """
        stored = await self.bucket.get(f"refused.{_checked(bulk_id)}")
        if stored is None or stored.operation != "PUT":
            return {}
        try:
            body = json.loads(stored.value)
        except ValueError:
            return {}
        return cast("dict[str, str]", body) if isinstance(body, dict) else {}

    async def add_refusals(self, bulk_id: str, refusals: Mapping[str, str]) -> None:
        """Add reasons of refused jobs. Only the process that runs the action writes them.

        Raises:
            TransportError: NATS did not answer.
        """
        known = await self.read_refusals(bulk_id)
        if len(known) >= REFUSALS_MAX:
            return
        added = {job: clean_text(reason, _REASON_MAX) for job, reason in refusals.items()}
        kept = dict(list((known | added).items())[:REFUSALS_MAX])
        await self.bucket.put(f"refused.{bulk_id}", json.dumps(kept, separators=(",", ":")).encode())

    async def _read(self, bulk_id: str) -> tuple[BulkRecord, int]:
        try:
            stored = await self.bucket.get(_key(bulk_id), leader=True)
        except ApiError as error:
            if error.err_code != _NO_STREAM:
                raise
            stored = None
        if stored is None or stored.operation != "PUT":
            raise BulkNotFound(f'there is no bulk action "{bulk_id:.100}"; `trellis bulk list` lists them')
        record = BulkRecord.parse(stored.value)
        if record is None:
            raise BulkProblem(
                f"the record of bulk action {bulk_id} cannot be read by this version of trellis-admin: another one wrote it"
            )
        return record, stored.revision


def _key(bulk_id: str) -> str:
    return f"bulk.{_checked(bulk_id)}"


def _checked(bulk_id: str) -> str:
    """Return an id that is a part of a key.

    Raises:
        BulkNotFound: it cannot be one.
    """
    if not is_token(bulk_id):
        raise BulkNotFound(f'"{bulk_id:.100}" is not the id of a bulk action; `trellis bulk list` lists them')
    return bulk_id
