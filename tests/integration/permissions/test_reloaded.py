"""Permissions that are revoked while a service runs make it unhealthy; it recovers when they are restored."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from datetime import timedelta

import pytest
from trellis_nats import Permissions, permissions
from trellis_nats.testing import NatsServer

from tests.support.depot import Depot, accounts, login, register, standing
from tests.support.eventually import eventually
from tests.support.shop import Parcel

WORKER = permissions(Depot, "worker")
PULLING = tuple(subject for subject in WORKER.publish if "MSG.NEXT" not in subject)
SOON = timedelta(seconds=20)
RELOADED = "Reloaded server configuration"


def users(worker: Permissions | None) -> dict[str, Permissions | None]:
    """Return the users of the server; without a worker when it is None."""
    others: dict[str, Permissions | None] = {"root": None, "provisioner": permissions(Depot, "provisioner")}
    return others if worker is None else {**others, "worker": worker}


async def reload(server: NatsServer, now: Mapping[str, Permissions | None]) -> None:
    """Write other users into the server's file, and return when the server has reloaded it.

    What is published in the moment before would still be pulled by the old permissions, with a request that the server then holds.
    """
    file = server.store / "server.conf"
    head, _, _ = file.read_text().partition("accounts {")
    file.write_text(head + accounts(now))
    before = server.log.count(RELOADED)
    os.kill(server.pid, signal.SIGHUP)
    await eventually(lambda: server.log.count(RELOADED) > before)


def serving() -> AbstractAsyncContextManager[NatsServer]:
    return standing(users(WORKER))


@pytest.mark.parametrize(
    "cut",
    [
        pytest.param(None, id="the user is gone"),
        pytest.param(Permissions(publish=PULLING, subscribe=WORKER.subscribe), id="pulling is denied"),
        pytest.param(Permissions(publish=WORKER.publish, subscribe=("none",)), id="the inbox is denied"),
        pytest.param(Permissions(publish=("none",), subscribe=("none",)), id="everything is denied"),
    ],
)
async def test_a_worker_whose_permissions_are_revoked_is_unhealthy_until_they_are_restored(
    cut: Permissions | None,
) -> None:
    async with (
        serving() as server,
        Depot.connect(server.url, options=login("root")) as root,
        Depot.connect(server.url, options=login("worker")) as worker,
    ):
        register(worker)
        await worker.start()
        assert (await worker.health.report()).ready
        first = await root.jobs.weigh.create(Parcel(number=1))
        assert (await first.result(timeout=SOON)).total == 1

        await reload(server, users(cut))

        # The server holds a request from before: only the next one is denied.
        await root.jobs.weigh.create(Parcel(number=0))

        async def is_unwell() -> bool:
            report = await worker.health.report()
            return not report.ready and report.status == "unhealthy"

        # The request that the server holds ends first, and then the next one has to be refused.
        await eventually(is_unwell, within=timedelta(seconds=20))
        assert all([await is_unwell() for _ in range(20)])
        waiting = await root.jobs.weigh.create(Parcel(number=2))

        await reload(server, users(WORKER))

        assert (await waiting.result(timeout=SOON)).total == 2

        async def is_well() -> bool:
            return (await worker.health.report()).ready

        await eventually(is_well, within=timedelta(seconds=20))
