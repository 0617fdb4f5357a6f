"""Stores what an actor does: a record before the action, and one after it. Without the first, the action does not happen."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from pydantic import JsonValue
from trellis_nats import TrellisError
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats._nats.jetstream.repeat_write import repeat_write
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats.clock import now
from trellis_nats.errors import (
    NoResponders,
    NotConnected,
    PermissionDenied,
    RequestTimeout,
    TransportError,
    WriteUnknown,
)
from trellis_nats.ids import new_id

from trellis_admin.audit_log.records import (
    AUDIT_STREAM,
    Action,
    AuditRecord,
    Kind,
    Outcome,
    Phase,
    clean_text,
)
from trellis_admin.audit_log.resources import AdminResourceMissing, create_audit_stream

__all__ = ["AuditLog", "Audited"]

_log = logging.getLogger(__name__)

_ACTOR_MAX: Final = 128
"""Characters of the name of an actor or a source."""
_UNKNOWN: Final = (WriteUnknown, RequestTimeout, NotConnected)
"""After these, the action may have happened."""


class Audited:
    """An action that is under way. Its outcome is stored at the end of the `async with` block."""

    def __init__(self, record: AuditRecord) -> None:
        self.record = record
        """As it was stored before the action."""
        self._outcome: Outcome | None = None

    @property
    def id(self) -> str:
        """The id of the records."""
        return self.record.id

    def done(self, text: str = "", **detail: JsonValue) -> None:
        """Note what was done: a sentence, and facts such as `sequence`. Without a call, the outcome is a bare "done"."""
        self._outcome = Outcome(Phase.DONE, text, now(), detail)

    def refused(self, text: str, **detail: JsonValue) -> None:
        """Note why it did not happen. A `TrellisError` that leaves the block notes this automatically."""
        self._outcome = Outcome(Phase.REFUSED, text, now(), detail)

    def outcome_of(self, error: BaseException | None) -> Outcome:
        """Return the outcome of a block that ended, with an error or without one."""
        if error is None:
            return self._outcome or Outcome(Phase.DONE, "", now())
        is_known = isinstance(error, TrellisError) and not isinstance(error, _UNKNOWN)
        text = str(error) or type(error).__name__
        return Outcome(Phase.REFUSED if is_known else Phase.FAILED, text, now())


class AuditLog:
    """Stores the actions of one actor."""

    def __init__(self, connection: Connection, *, actor: str, source: str) -> None:
        """Prepare.

        Args:
            connection: where the log is.
            actor: the person or program that acts.
            source: from where: `console`, `command line`, `Python API`, or `token <name>`.
        """
        self.actor = clean_text(actor, _ACTOR_MAX) or "unknown"
        self.source = clean_text(source, _ACTOR_MAX) or "unknown"
        self._connection = connection

    def new_record(
        self,
        kind: Kind,
        action: Action,
        target: Mapping[str, JsonValue],
        *,
        reason: str | None,
        audit_id: str | None = None,
    ) -> AuditRecord:
        """Return the record of an action that is about to begin."""
        return AuditRecord(
            id=audit_id or new_id(),
            kind=kind,
            action=action,
            actor=self.actor,
            source=self.source,
            target=target,
            reason=clean_text(reason or ""),
            at=now(),
        )

    @asynccontextmanager
    async def action(
        self, kind: Kind, action: Action, target: Mapping[str, JsonValue], *, reason: str | None
    ) -> AsyncGenerator[Audited]:
        """Store the record before an action, run the block, and store how it ended.

        Raises:
            AdminResourceMissing: the record cannot be stored. The block did not run.
            TransportError: NATS did not answer. The block did not run.
        """
        audited = Audited(self.new_record(kind, action, target, reason=reason))
        await self.store(audited.record)
        try:
            yield audited
        except (Exception, asyncio.CancelledError) as error:
            await self.store_outcome(audited.record, audited.outcome_of(error))
            raise
        await self.store_outcome(audited.record, audited.outcome_of(None))

    async def deny(
        self, kind: Kind, action: Action, target: Mapping[str, JsonValue], *, reason: str | None, why: str
    ) -> None:
        """Store an attempt that the role of the actor does not allow. Raises as `action`."""
        record = self.new_record(kind, action, target, reason=reason)
        await self.store(record.ended(Outcome(Phase.DENIED, why, now())))

    async def store(self, record: AuditRecord) -> None:
        """Store a record, in a stream that is created if it does not exist.

        Raises:
            AdminResourceMissing: the account may not store it, or may not create the stream.
            TransportError: NATS did not answer.
        """
        try:
            await self._publish(record, waits_for_jetstream=False)
        except NoResponders:
            await create_audit_stream(self._connection)
            await self._publish(record, waits_for_jetstream=True)
        except PermissionDenied as denial:
            raise AdminResourceMissing(
                f"nothing was done, because the audit log cannot be written: {denial} (stream {AUDIT_STREAM}); connect with "
                'an account that has the role operator: permissions(…, "operator") lists what it needs'
            ) from denial

    async def store_outcome(self, record: AuditRecord, outcome: Outcome) -> None:
        """Store how an action ended. The action stands even if NATS does not take the record: that is logged."""
        ended = record.ended(outcome)
        try:
            await self._publish(ended, waits_for_jetstream=True)
        except TransportError as error:
            _log.warning(
                "the outcome of %s %s (%s) is missing in the audit log: %s",
                record.action,
                record.id,
                outcome.phase,
                error,
                extra=log_fields(LogEvent.AUDIT_OUTCOME_NOT_STORED),
            )

    async def _publish(self, record: AuditRecord, *, waits_for_jetstream: bool) -> None:
        await repeat_write(
            partial(
                publish_acked,
                self._connection,
                record.subject,
                record.encode(),
                message_id=f"{record.id}.{record.phase}",
                waits_for_jetstream=waits_for_jetstream,
            ),
            what=record.subject,
        )
