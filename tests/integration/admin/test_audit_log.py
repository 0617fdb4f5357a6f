"""The audit log: stored around each action, and read newest first."""

from __future__ import annotations

import pytest
from trellis_admin.audit_log import (
    Action,
    AdminResourceMissing,
    AuditLog,
    CannotRead,
    Kind,
    Phase,
    count_audit,
    parse_audit_filter,
    read_audit,
)
from trellis_nats import TrellisError
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.api import call
from trellis_nats._nats.jetstream.streams import get_stream_info
from trellis_nats.clock import now
from trellis_nats.errors import ApiError, WriteUnknown
from trellis_nats.testing import NatsServer

from tests.support.operating import denying, operator_connection, restricted
from tests.support.versions import VERSIONS, binary_of


def log_of(connection: Connection, actor: str = "anna") -> AuditLog:
    return AuditLog(connection, actor=actor, source="console")


async def act(log: AuditLog, number: int, action: Action = Action.CANCEL) -> str:
    async with log.action(Kind.JOB, action, {"job": f"J{number}"}, reason=f"reason {number}") as audited:
        audited.done(f"cancelled J{number}", sequence=number)
    return audited.id


async def test_an_action_is_stored_before_and_after_it(nats_server: NatsServer) -> None:
    async with operator_connection(nats_server.url) as connection:
        log = log_of(connection)
        async with log.action(Kind.JOB, Action.CANCEL, {"job": "J1"}, reason="wrong\norder") as audited:
            (during,) = (await read_audit(connection)).entries
            audited.done("cancelled", sequence=7)
        (after,) = (await read_audit(connection)).entries

        assert during.outcome is None
        assert (during.record.actor, during.record.source, during.record.reason) == (
            "anna",
            "console",
            "wrong order",
        )
        assert after.record == during.record
        assert after.outcome is not None
        assert (after.outcome.phase, after.outcome.text, after.outcome.detail) == (
            Phase.DONE,
            "cancelled",
            {"sequence": 7},
        )


@pytest.mark.parametrize(
    ("error", "phase"),
    [
        (TrellisError("it had completed"), Phase.REFUSED),
        (WriteUnknown("no answer"), Phase.FAILED),
        (ZeroDivisionError("a fault"), Phase.FAILED),
    ],
)
async def test_an_error_is_the_outcome(nats_server: NatsServer, error: Exception, phase: Phase) -> None:
    async with operator_connection(nats_server.url) as connection:
        with pytest.raises(type(error)):
            async with log_of(connection).action(Kind.JOB, Action.CANCEL, {"job": "J1"}, reason=None):
                raise error
        (entry,) = (await read_audit(connection)).entries

        assert entry.outcome is not None
        assert (entry.outcome.phase, entry.outcome.text) == (phase, str(error))


async def test_a_role_that_does_not_allow_an_action_is_one_record(nats_server: NatsServer) -> None:
    async with operator_connection(nats_server.url) as connection:
        await log_of(connection).deny(
            Kind.BULK, Action.REPLAY, {"count": 318}, reason="limit raised", why="needs the role operator"
        )
        await act(log_of(connection), 1)

        counts = await count_audit(connection)
        refused = await read_audit(connection, parse_audit_filter("outcome:denied,refused", now()))
        assert (counts.total, counts.refused, counts.kinds[Kind.BULK], counts.kinds[Kind.JOB]) == (2, 1, 1, 1)
        (entry,) = refused.entries
        assert entry.outcome is not None
        assert entry.outcome.text == "needs the role operator"


async def test_the_log_is_read_newest_first_page_by_page(nats_server: NatsServer) -> None:
    async with operator_connection(nats_server.url) as connection:
        assert (await read_audit(connection)).entries == ()
        assert (await count_audit(connection)).total == 0
        anna, bob = log_of(connection), log_of(connection, "Bob")
        for number in range(23):
            await act(bob if number % 5 == 0 else anna, number, Action.CANCEL if number % 2 else Action.RETRY)

        seen: list[str] = []
        before: int | None = None
        while True:
            page = await read_audit(connection, before=before, limit=5)
            assert all(entry.outcome is not None for entry in page.entries)
            seen += [str(entry.record.target["job"]) for entry in page.entries]
            before = page.older
            if before is None:
                break
        assert seen == [f"J{number}" for number in reversed(range(23))]

        async def jobs(text: str) -> list[str]:
            found = await read_audit(connection, parse_audit_filter(text, now()))
            return [str(entry.record.target["job"]) for entry in found.entries]

        assert await jobs("actor:bob") == ["J20", "J15", "J10", "J5", "J0"]
        assert await jobs("actor:bob action:cancel") == ["J15", "J5"]
        assert await jobs("J22") == ["J22"]
        assert await jobs("kind:bulk") == []
        assert len(await jobs("since:1h outcome:done")) == 23


async def test_a_filter_that_matches_little_is_read_to_the_end(nats_server: NatsServer) -> None:
    """More records than a window has."""
    async with operator_connection(nats_server.url) as connection:
        await act(log_of(connection, "first"), 0)
        log = log_of(connection)
        for number in range(1, 700):
            await log.deny(Kind.JOB, Action.CANCEL, {"job": f"J{number}"}, reason=None, why="no")

        page = await read_audit(connection, parse_audit_filter("actor:first", now()))

        assert [entry.record.target["job"] for entry in page.entries] == ["J0"]
        assert page.older is None


async def test_nothing_in_the_log_can_be_removed(nats_server: NatsServer) -> None:
    async with operator_connection(nats_server.url) as connection:
        await act(log_of(connection), 1)
        info = await get_stream_info(connection, "TRELLIS_AUDIT")

        assert info is not None
        config = info["config"]
        assert isinstance(config, dict)
        assert config["max_age"] == 400 * 86_400 * 10**9
        with pytest.raises(ApiError):
            await call(connection, "STREAM.PURGE.TRELLIS_AUDIT")
        with pytest.raises(ApiError):
            await call(connection, "STREAM.MSG.DELETE.TRELLIS_AUDIT", {"seq": 1})


@pytest.mark.parametrize(
    ("denied", "said"),
    [
        (["trellis.audit.>"], r'may not publish to "trellis\.audit\.job\.cancel.*role operator'),
        (["$JS.API.STREAM.CREATE.*"], r"TRELLIS_AUDIT.*does not exist.*STREAM\.CREATE\.TRELLIS_AUDIT.*once"),
    ],
)
async def test_an_action_that_cannot_be_recorded_does_not_happen(denied: list[str], said: str) -> None:
    with NatsServer(config=denying({"clerk": denied})) as server:
        async with operator_connection(server.url, restricted("clerk")) as connection:
            happened = False
            with pytest.raises(AdminResourceMissing, match=said):
                async with log_of(connection).action(Kind.JOB, Action.CANCEL, {"job": "J1"}, reason=None):
                    happened = True

            assert not happened


async def test_an_account_that_may_not_create_the_stream_uses_one_that_exists() -> None:
    config = denying({"clerk": ["$JS.API.STREAM.CREATE.*"], "blind": ["$JS.API.>"]})
    with NatsServer(config=config) as server:
        async with operator_connection(server.url, restricted("admin")) as connection:
            await act(log_of(connection), 1)
        async with operator_connection(server.url, restricted("clerk")) as connection:
            await act(log_of(connection), 2)
            assert len((await read_audit(connection)).entries) == 2
        async with operator_connection(server.url, restricted("blind")) as connection:
            with pytest.raises(CannotRead, match=r"the audit log cannot be read.*role viewer"):
                await read_audit(connection)


@pytest.mark.parametrize("version", VERSIONS)
async def test_older_servers_keep_the_log(version: str) -> None:
    with NatsServer(binary=binary_of(version)) as server:
        async with operator_connection(server.url) as connection:
            for number in range(3):
                await act(log_of(connection), number)

            page = await read_audit(connection, limit=2)
            counts = await count_audit(connection)

            assert [entry.record.target["job"] for entry in page.entries] == ["J2", "J1"]
            assert counts.total == 3
