"""The server refuses what each role may not do."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats._nats.request import request
from trellis_nats.errors import PermissionDenied, TrellisError
from trellis_nats.permissions import VIEWER_INBOX
from trellis_nats.testing import NatsServer

from tests.support.depot import accounts, role_accounts

ROLES = ("worker", "producer", "operator", "viewer", "provisioner", "auditor", "client")
INBOX = {
    **dict.fromkeys(ROLES, "_INBOX_depot"),
    "client": "_INBOX_depot.client",
    "viewer": VIEWER_INBOX,
}
SOON = timedelta(seconds=5)

OTHERS = [
    # another service's jobs
    "trellis.jobs.other.pack.J1.created",
    "trellis.jobs.other.pack.J1.cancelled",
    "trellis.jobs.depot.unknown.J1.created",
    "trellis.work.other.pack",
    "trellis.job_updates.other.pack.J1",
    "trellis.job_claims.other.I1",
    "trellis.job_stacks.other.pack",
    "trellis.jobs.workers.other.pack.I1.heartbeat",
    "$JS.API.CONSUMER.MSG.NEXT.JOBS_WORK.other__pack",
    "$JS.API.CONSUMER.INFO.JOBS_WORK.other__pack",
    "$JS.ACK.JOBS_WORK.other__pack.1.1.1.1.0",
    # another service's buckets, events and procedures
    "$KV.other_orders.key",
    "$KV.JOBS_KEYS_other.other.pack.key",
    "$KV.JOBS_KEYS_other.duty.jobs",
    "$KV.JOBS_KEYS_other.pause.pack",
    "$JS.API.STREAM.MSG.GET.KV_other_orders",
    "$JS.API.DIRECT.GET.KV_other_orders.$KV.other_orders.key",
    "events.v1.Other.Happened",
    "rpc.v1.Other.Call",
    "_INBOX_other.1.1",
    "_INBOX_depot.1.1",
    # management that no role has
    "$JS.API.STREAM.NAMES",
    "$JS.API.STREAM.LIST",
    "$JS.API.STREAM.CREATE.OTHER",
    "$JS.API.STREAM.UPDATE.JOBS",
    "$JS.API.STREAM.UPDATE.JOBS_WORK",
    "$JS.API.STREAM.DELETE.JOBS",
    "$JS.API.STREAM.DELETE.JOBS_WORK",
    "$JS.API.STREAM.DELETE.KV_depot_orders",
    "$JS.API.STREAM.DELETE.OBJ_depot_labels",
    "$JS.API.STREAM.MSG.DELETE.OBJ_depot_labels",
    "$O.other_labels.C.x",
    "$O.other_labels.M.x",
    "$JS.API.STREAM.PURGE.JOBS_WORK",
    "$JS.API.STREAM.PURGE.KV_depot_orders",
    "$JS.API.STREAM.MSG.DELETE.JOBS",
    "$JS.API.STREAM.MSG.DELETE.JOBS_WORK",
    "$JS.API.STREAM.DELETE.TRELLIS_AUDIT",
    "$JS.API.STREAM.UPDATE.TRELLIS_AUDIT",
    "$JS.API.STREAM.PURGE.TRELLIS_AUDIT",
    "$JS.API.STREAM.MSG.DELETE.TRELLIS_AUDIT",
    "$JS.API.STREAM.DELETE.KV_TRELLIS_ADMIN",
    "$JS.API.STREAM.SNAPSHOT.JOBS",
    "$JS.API.STREAM.LEADER.STEPDOWN.JOBS",
    "$JS.API.DIRECT.GET.JOBS",
    "$JS.API.CONSUMER.NAMES.JOBS_WORK",
    "$JS.API.CONSUMER.CREATE.JOBS_WORK",
    "$JS.API.CONSUMER.CREATE.JOBS_WORK.mine",
    "$JS.API.CONSUMER.CREATE.JOBS_WORK.mine.trellis.work.>",
    "$JS.API.CONSUMER.DURABLE.CREATE.JOBS.mine",
    "$JS.API.CONSUMER.DURABLE.CREATE.JOBS_WORK.mine",
    "$JS.API.CONSUMER.DELETE.JOBS_WORK.depot__pack",
    "$JS.API.CONSUMER.PAUSE.JOBS_WORK.other__pack",
    "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.JOBS_WORK.depot__pack",
    "$SYS.REQ.SERVER.PING",
]
DUTIES = [
    "$JS.API.STREAM.PURGE.JOBS",
    "$JS.API.STREAM.INFO.JOBS",
    "$JS.API.STREAM.INFO.JOBS_WORK",
    "$JS.API.DIRECT.GET.JOBS_WORK",
    "$JS.API.CONSUMER.CREATE.JOBS",
    "$JS.API.CONSUMER.CREATE.JOBS.mine",
    "$JS.API.CONSUMER.CREATE.JOBS.mine.trellis.jobs.>",
    "$JS.API.CONSUMER.DELETE.JOBS.mine",
    "$JS.API.CONSUMER.MSG.NEXT.JOBS.mine",
    "$JS.ACK.JOBS.mine.1.1.1.1.0",
    "trellis.work.depot.pack",
    "$KV.JOBS_KEYS_depot.duty.jobs",
    "$KV.JOBS_KEYS_depot.pause.pack",
    "$JS.API.CONSUMER.PAUSE.JOBS_WORK.depot__pack",
    "$JS.API.CONSUMER.PAUSE.JOBS_DELAYED.depot__pack",
    "trellis.job_stacks.depot.pack",
]
PAUSING = [subject for subject in DUTIES if ".pause." in subject.lower() or "stacks" in subject]
OPERATING = [
    "trellis.audit.job.cancel.A1.began",
    "$KV.TRELLIS_ADMIN.bulk.A1",
    "$JS.API.STREAM.CREATE.TRELLIS_AUDIT",
    "$JS.API.STREAM.CREATE.KV_TRELLIS_ADMIN",
    "$JS.API.STREAM.MSG.GET.JOBS",
    "$JS.API.CONSUMER.CREATE.JOBS_ADVISORIES.mine",
]
LOOKING = [
    "$JS.API.DIRECT.GET.JOBS.trellis.jobs.other.pack.J1.>",
    "$JS.API.DIRECT.GET.JOBS.trellis.jobs.*.pack.J1.>",
    "$JS.API.DIRECT.GET.JOBS.trellis.jobs.>",
    "$JS.API.INFO",
    "$JS.API.CONSUMER.LIST.JOBS_WORK",
    "$JS.API.STREAM.MSG.GET.JOBS_WORK",
    "$JS.API.STREAM.INFO.TRELLIS_AUDIT",
    "$JS.API.CONSUMER.CREATE.TRELLIS_AUDIT.mine",
    "$JS.API.DIRECT.GET.TRELLIS_AUDIT.trellis.audit.>",
    "$JS.API.DIRECT.GET.KV_TRELLIS_ADMIN.$KV.TRELLIS_ADMIN.bulk.A1",
    "$JS.API.CONSUMER.CREATE.KV_JOBS_KEYS_depot.mine",
]
STEERING = [f"trellis.jobs.depot.pack.J1.{event}" for event in ("retried", "dismissed", "expired", "dead")]
MAKING = [
    "$JS.API.STREAM.CREATE.JOBS",
    "$JS.API.STREAM.CREATE.KV_depot_orders",
    "$JS.API.STREAM.CREATE.OBJ_depot_labels",
    "$JS.API.CONSUMER.CREATE.JOBS_WORK.depot__pack.trellis.work.depot.pack",
]
WORKING = [
    "trellis.jobs.depot.pack.J1.started",
    "trellis.jobs.depot.pack.J1.completed",
    "$JS.API.CONSUMER.MSG.NEXT.JOBS_WORK.depot__pack",
    "$JS.ACK.JOBS_WORK.depot__pack.1.1.1.1.0",
    "trellis.job_updates.depot.weigh.J1",
    "$KV.depot_orders.key",
    "$JS.API.STREAM.MSG.GET.KV_depot_orders",
    "$O.depot_labels.C.x",
    "$O.depot_labels.M.x",
    "$JS.API.STREAM.MSG.GET.OBJ_depot_labels",
    "$JS.API.STREAM.PURGE.OBJ_depot_labels",
    "$JS.API.STREAM.PURGE.KV_trellis_operations_depot",
    "events.v1.Orders.Shipped",
]
CREATING = ["trellis.jobs.depot.pack.J1.created"]
KEEPING_KEYS = ["$KV.JOBS_KEYS_depot.depot.ship.key"]
CLAIMING = ["trellis.job_claims.depot.I1", "trellis.jobs.depot.ship.J1.stale"]
CALLING = ["rpc.v1.Orders.Create", "transfer.v1.download.depot.x", "transfer.v1.upload.depot.x"]
READING = [
    "$JS.API.CONSUMER.CREATE.JOBS.mine",
    "$JS.API.CONSUMER.CREATE.JOBS.mine.trellis.jobs.>",
    "$JS.API.CONSUMER.DELETE.JOBS.mine",
    "$JS.API.CONSUMER.MSG.NEXT.JOBS.mine",
]
PUBLISHING = {
    "worker": [*OTHERS, *DUTIES, *OPERATING, *LOOKING, *MAKING, *CALLING],
    "producer": [*OTHERS, *DUTIES, *OPERATING, *LOOKING, *STEERING, *MAKING, *WORKING, *CALLING],
    "operator": [*OTHERS, *MAKING, *WORKING, *CALLING],
    "viewer": [
        *OTHERS,
        *(subject for subject in DUTIES if subject not in READING and ".STREAM.INFO." not in subject),
        *OPERATING,
        *STEERING,
        *MAKING,
        *WORKING,
        *CREATING,
        *KEEPING_KEYS,
        *CLAIMING,
        *CALLING,
        "trellis.jobs.depot.pack.J1.cancelled",
        "trellis.jobs.depot.pack.I1.claim",
        "events.v1.Health.Heartbeat",
    ],
    "provisioner": [
        *OTHERS,
        *OPERATING,
        *LOOKING,
        *STEERING,
        "$JS.API.STREAM.PURGE.JOBS",
        *PAUSING,
        *WORKING,
        *CREATING,
        *KEEPING_KEYS,
        *CALLING,
    ],
    "auditor": [
        *OTHERS,
        *OPERATING,
        *LOOKING,
        *STEERING,
        *(subject for subject in DUTIES if subject not in READING),
        *MAKING,
        *WORKING,
        *CREATING,
        *KEEPING_KEYS,
        *CALLING,
    ],
    "client": [
        *CLAIMING,
        *OTHERS,
        *OPERATING,
        *LOOKING,
        *STEERING,
        *DUTIES,
        *MAKING,
        *WORKING,
        *CREATING,
        *KEEPING_KEYS,
    ],
}

NEVER_RECEIVED = [
    ">",
    "*.>",
    "_INBOX.>",
    "_INBOX_other.>",
    "_INBOX_other.client.>",
    "trellis.>",
    "trellis.jobs.>",
    "trellis.jobs.*.*.*.*",
    "trellis.jobs.other.>",
    "trellis.jobs.depot.>",
    "trellis.jobs.workers.>",
    "trellis.work.>",
    "trellis.work.depot.pack",
    "trellis.job_updates.>",
    "trellis.job_updates.other.>",
    "trellis.job_claims.>",
    "trellis.job_claims.other.*",
    "trellis.job_stacks.other.pack",
    "$KV.>",
    "$KV.depot_orders.>",
    "$KV.JOBS_KEYS_other.>",
    "$JS.>",
    "$JS.ACK.>",
    "$JS.API.>",
    "$JS.EVENT.>",
    "$SYS.>",
    "events.>",
    "events.v1.Other.>",
    "rpc.>",
    "rpc.v1.Other.Call",
    "transfer.>",
    "transfer.v1.download.other.*",
]
SERVED = ["rpc.v1.Orders.Create", "transfer.v1.download.depot.*", "transfer.v1.upload.depot.*"]
JOBS_RECEIVED = ["trellis.jobs.depot.pack.*.*", "trellis.job_updates.depot.weigh.*"]
EVENTS_RECEIVED = ["events.v1.Orders.Shipped"]
INBOXES = ["_INBOX_depot.>", "_INBOX_trellis-admin.>", "_INBOX_trellis-admin.*.*", "_INBOX_trellis-admin.1.1"]
CLAIMS = ["trellis.job_claims.depot.*", "trellis.job_stacks.depot.pack"]
SUBSCRIBING = {
    "worker": NEVER_RECEIVED,
    "producer": [*NEVER_RECEIVED, *SERVED, *EVENTS_RECEIVED, *CLAIMS, "$KV.JOBS_KEYS_depot.depot.>"],
    "operator": [*NEVER_RECEIVED, *SERVED, *EVENTS_RECEIVED, *CLAIMS],
    "viewer": [*NEVER_RECEIVED, *SERVED, *JOBS_RECEIVED, *EVENTS_RECEIVED, *CLAIMS, *INBOXES],
    "provisioner": [*NEVER_RECEIVED, *SERVED, *JOBS_RECEIVED, *EVENTS_RECEIVED, *CLAIMS],
    "auditor": [*NEVER_RECEIVED, *SERVED, *JOBS_RECEIVED, *EVENTS_RECEIVED, *CLAIMS],
    "client": [*NEVER_RECEIVED, *SERVED, *JOBS_RECEIVED, *CLAIMS, "_INBOX_depot.>", "_INBOX_depot.*"],
}


@pytest.fixture(scope="module")
def server() -> Iterator[NatsServer]:
    with NatsServer(config=accounts(role_accounts())) as running:
        yield running


async def as_role(server: NatsServer, role: str) -> Connection:
    settings = ConnectionSettings(user=role, password=role, inbox_prefix=INBOX[role])
    return await Connection.open(server.url, settings=settings)


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_may_not_publish_what_is_not_its_own(server: NatsServer, role: str) -> None:
    connection = await as_role(server, role)
    try:
        denied = [await denied_publish(connection, subject) for subject in PUBLISHING[role]]
    finally:
        await connection.close()
    assert denied == PUBLISHING[role]


async def denied_publish(connection: Connection, subject: str) -> str | None:
    """Publish to a subject, and return the one that the server denied."""
    try:
        await request(connection, subject, b"{}", timeout=SOON)
    except PermissionDenied as denied:
        return denied.subject
    except TrellisError:
        return None  # for another reason: the server has let it through
    return None


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_may_not_subscribe_to_what_is_not_its_own(server: NatsServer, role: str) -> None:
    connection = await as_role(server, role)
    try:
        denied = [await denied_subscription(connection, subject) for subject in SUBSCRIBING[role]]
    finally:
        await connection.close()
    assert denied == SUBSCRIBING[role]


async def denied_subscription(connection: Connection, subject: str) -> str | None:
    """Subscribe to a subject, and return the one that the server denied."""
    subscription = connection.subscribe(subject, lambda _: None)
    try:
        await connection.flush()
    except PermissionDenied as denied:
        return denied.subject
    finally:
        subscription.cancel()
    return None
