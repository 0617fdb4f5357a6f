"""Create a job for each row of a CSV file: `python import_charges.py charges.csv`.

Run it again after any error or kill: rows that have a job get no second one.
"""

import argparse
import asyncio
import csv
import hashlib
import os
from itertools import islice
from pathlib import Path

from orders_participant import ChargePaymentPayload, OrdersService
from pydantic import ValidationError

IN_FLIGHT = 64
"""How many jobs are created at a time."""


def name_of(file: Path) -> str:
    """Return a name for the content of the file: the next file has another one, whatever it is called."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def read_rows(file: Path) -> list[ChargePaymentPayload]:
    """Read the whole file before the first job is created: a mistake in its last row creates nothing."""
    with file.open(newline="", encoding="utf-8") as text:
        rows: list[ChargePaymentPayload] = []
        for row in csv.DictReader(text):
            try:
                rows.append(ChargePaymentPayload.model_validate_strings(row))
            except ValidationError as error:
                raise SystemExit(f"{file}, row {len(rows) + 1}: {error}") from None
        return rows


async def import_restartable(service: OrdersService, file: Path) -> int:
    """Create a job for each row, unless it exists. Return the number of rows."""
    name = name_of(file)
    numbered = enumerate(read_rows(file), start=1)
    count = 0
    while batch := [*islice(numbered, IN_FLIGHT)]:
        await asyncio.gather(
            *(
                service.jobs.charge_payment.create(payload, idempotency_key=f"charges {name} row {row}")
                for row, payload in batch
            )
        )
        count += len(batch)
    return count


async def import_at_once(service: OrdersService, file: Path) -> int:
    """Create a job for each row in batches of a thousand, each stored completely or not at all. Return the number of rows.

    This is faster, and not for files that may have to be imported again: `create_many` takes no idempotency keys.
    """
    return len(await service.jobs.charge_payment.create_many(read_rows(file)))


async def main(file: Path, *, at_once: bool) -> None:
    """Import a file, and print how many rows it has."""
    url = os.environ.get("NATS_URL", "nats://127.0.0.1:4222")
    async with OrdersService.connect(url) as service:
        count = await (import_at_once if at_once else import_restartable)(service, file)
    print(f"{file}: {count} rows, each has a job")  # noqa: T201 - the command's output


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "file", type=Path, help="a CSV file with the columns orderId, customerId and amountCents"
    )
    parser.add_argument(
        "--at-once", action="store_true", help="faster; a file that is imported again has more jobs"
    )
    arguments = parser.parse_args()
    asyncio.run(main(arguments.file, at_once=arguments.at_once))
