"""Create a job every five minutes, from as many processes as you like: each scheduled time makes one job.

Run it twice, and kill either. With `--once`, cron, systemd or Kubernetes decides when it runs.
"""

import argparse
import asyncio
import logging
import os
from datetime import UTC, datetime, timedelta

from orders_participant import OrdersService, RefreshCatalogPayload
from trellis_nats import TransportError

log = logging.getLogger(__name__)

EVERY = timedelta(minutes=5)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PAYLOAD = RefreshCatalogPayload(supplier="acme")


def last_due(now: datetime) -> datetime:
    """Return the newest scheduled time that has passed."""
    return now - (now - EPOCH) % EVERY


async def create_due(service: OrdersService, due: datetime) -> None:
    """Create the job of a scheduled time, unless it exists."""
    submission = await service.jobs.refresh_catalog.submit(
        PAYLOAD,
        # The same text in every process that schedules: a queue has one job for each idempotency key.
        idempotency_key=f"refresh {PAYLOAD.supplier} {due.isoformat()}",
        # Where no worker begins it before the next one is due, that one is enough.
        deadline=due + EVERY,
    )
    log.info("%s: %s", due.isoformat(), type(submission).__name__)


async def run(service: OrdersService) -> None:
    """Create the job of the newest scheduled time now, and each further one when it is due."""
    while True:
        due = last_due(datetime.now(UTC))
        try:
            await create_due(service, due)
        except TransportError as error:
            log.warning("%s: %s; again in 5 s", due.isoformat(), error)
            await asyncio.sleep(5)
            continue
        await asyncio.sleep((due + EVERY - datetime.now(UTC)).total_seconds())


async def main(*, once: bool) -> None:
    """Connect, and create one job or go on until the process is ended."""
    url = os.environ.get("NATS_URL", "nats://127.0.0.1:4222")
    async with OrdersService.connect(url) as service:
        await (create_due(service, last_due(datetime.now(UTC))) if once else run(service))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--once", action="store_true", help="create the job of the newest scheduled time, and end"
    )
    asyncio.run(main(once=parser.parse_args().once))
