"""User JWTs that expire while work goes on: the function of `Options.credentials` renews them, and nothing is lost."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Final

import pytest
from trellis_nats import Credentials, JobNotEnqueued, JobRef, JobState, Options, RpcContext, permissions

from tests.support.depot import NO_MAINTENANCE, Depot, DepotClient, SortJob
from tests.support.eventually import eventually
from tests.support.orders import REQUEST, CreateRequest, CreateResponse
from tests.support.realm import CalloutRealm, Realm, running
from tests.support.shop import ACK_WAIT, Parcel, ParcelJob, Receipt

LIFETIME: Final = timedelta(seconds=2)
SOON: Final = timedelta(seconds=30)


def options(realm: Realm, program: str) -> Options:
    return Options(
        credentials=partial(realm.login, program),
        maintenance=NO_MAINTENANCE,
        request_timeout=SOON,
        shutdown_grace=timedelta(seconds=1),
    )


def own_jwts() -> Realm:
    """Return a realm in which each program has JWTs of its account."""
    return Realm(LIFETIME)


def jwts_of_a_callout() -> Realm:
    """Return a realm in which programs have a sentinel and a token, and least privileges."""
    worker, client = permissions(Depot, "worker"), permissions(DepotClient, "client")
    return CalloutRealm(LIFETIME, rights={"provisioner": None, "worker": worker, "client": client})


class Work:
    """Handlers that began, and wait until they may go on."""

    def __init__(self, depot: Depot) -> None:
        self.began: list[str] = []
        self.sorted: set[int] = set()
        self.go_on = asyncio.Event()
        depot.jobs.pack.handle(self.pack)
        depot.jobs.ship.handle(self.ship)
        depot.jobs.sort.handle(self.sort)
        depot.create.handle(self.create)

    async def pack(self, job: ParcelJob) -> Receipt:
        self.began.append("pack")
        await self.go_on.wait()
        return Receipt(total=job.payload.number)

    async def ship(self, job: ParcelJob) -> Receipt:
        self.began.append("ship")
        await self.go_on.wait()
        return Receipt(total=job.payload.number)

    async def sort(self, job: SortJob) -> None:
        self.sorted.add(job.payload.number)

    async def create(self, _: RpcContext, request: CreateRequest) -> CreateResponse:
        self.began.append("call")
        await self.go_on.wait()
        return CreateResponse(order_id=request.customer_id)


@pytest.mark.parametrize("version", [None, "2.10.26"])
@pytest.mark.parametrize("make_realm", [own_jwts, jwts_of_a_callout])
async def test_work_goes_on_while_credentials_expire(
    make_realm: Callable[[], Realm], version: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    realm = make_realm()
    async with running(realm, version) as server:
        async with Depot.connect(server.url, options=options(realm, "provisioner")):
            pass
        async with (
            Depot.connect(server.url, options=options(realm, "worker")) as depot,
            DepotClient.connect(server.url, options=options(realm, "client")) as client,
        ):
            work = Work(depot)
            await depot.start()
            keyed = Parcel(number=7)
            long = [await depot.jobs.pack.create(Parcel(number=1)), await depot.jobs.ship.create(keyed)]
            call = asyncio.create_task(client.create(REQUEST))
            await eventually(lambda: len(work.began) == 3)
            short: list[JobRef[Parcel, None]] = []
            for logins in (3, 4):  # of two connections, which expire
                short += [await depot.jobs.sort.create(Parcel(number=len(short) + n)) for n in range(5)]
                await eventually(lambda: realm.logins["worker"] >= logins)  # noqa: B023 - called in this turn
            await eventually(lambda: realm.logins["client"] > 1)
            assert sorted(work.began) == ["call", "pack", "ship"]
            with pytest.raises(JobNotEnqueued):  # the running job holds its key
                await depot.jobs.ship.create(keyed)
            work.go_on.set()

            assert (await call).order_id == "c1"
            assert [(await ref.wait(timeout=SOON)).tries for ref in long] == [1, 1]
            for ref in short:
                await ref.wait(timeout=SOON)
            assert work.sorted == set(range(len(short)))
            assert sorted(work.began) == ["call", "pack", "ship"]
            await (await depot.jobs.ship.create(keyed)).result(timeout=SOON)
    assert "connection lost" not in "".join(
        record.message for record in caplog.records if record.levelno > logging.INFO
    ), "an expiry is not worth a warning"


async def test_a_handler_that_blocks_the_event_loop_keeps_its_job_over_an_expiry() -> None:
    """Only the connection of the progress thread can renew its credentials meanwhile."""
    realm = own_jwts()
    async with running(realm) as server, Depot.connect(server.url, options=options(realm, "worker")) as depot:

        @depot.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            logins = realm.logins["worker"]
            block_until(lambda: realm.logins["worker"] > logins)
            renewed = time.monotonic()
            block_until(lambda: time.monotonic() > renewed + 1.5 * ACK_WAIT.total_seconds())
            return Receipt(total=1)

        await depot.start()
        job = await (await depot.jobs.pack.create(Parcel(number=1))).wait(timeout=SOON)

        assert (job.state, job.tries) == (JobState.COMPLETED, 1)


def block_until(condition: Callable[[], bool]) -> None:
    """Wait as a handler that blocks the event loop does: nothing else may run on it meanwhile."""
    due = time.monotonic() + SOON.total_seconds()
    while not condition():
        assert time.monotonic() < due, "the credentials were not renewed"
        time.sleep(0.01)


async def test_a_refusal_is_reported_until_the_credentials_are_good_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    realm, made = Realm(timedelta(hours=1)), list[Credentials]()
    failure = OSError("s3cret-value")

    def login() -> Credentials:
        made.append(realm.login("worker"))
        return made[-1]

    chosen = replace(options(realm, "worker"), credentials=login)
    reports: list[str] = []
    caplog.set_level("DEBUG")
    async with running(realm) as server, Depot.connect(server.url, options=chosen) as depot:

        async def reports_nats(problem: str) -> bool:
            report = await depot.health.report()
            reports.append(repr(report))
            return any(re.fullmatch(f"nats: {problem}", found) for found in report.problems)

        @depot.jobs.pack.handle
        async def pack(job: ParcelJob) -> Receipt:
            return Receipt(total=1)

        await depot.start()
        realm.revoked["*"] = int(time.time()) + 3600
        realm.reload(server)
        await eventually(lambda: reports_nats("disconnected: the server refused the credentials"))
        creating = asyncio.create_task(depot.jobs.pack.create(Parcel(number=1)))
        realm.failure = failure
        await eventually(lambda: reports_nats(r"disconnected: the function .* raised OSError \(login, .*\)"))
        realm.failure = None
        realm.revoked.clear()
        realm.reload(server)

        assert (await (await creating).result(timeout=SOON)).total == 1
        assert not await reports_nats(".*")
    warned = Counter(record.message for record in caplog.records if "cannot connect to" in record.message and record.levelname == "WARNING")  # fmt: skip
    assert len(warned) == 2
    assert max(warned.values()) <= 2, "once for each of the two connections"
    shown = caplog.text + "".join(reports)
    for secret in ("s3cret-value", *(text for one in made for text in (one.jwt, one.seed) if text)):
        assert secret not in shown
