"""The importer on a real nats-server."""

from pathlib import Path

import pytest
from orders_participant import ChargePaymentPayload, OrdersService
from trellis_nats.testing import service_under_test

from examples.batch_importer import import_charges

HEAD = "orderId,customerId,amountCents\n"


async def test_an_import_that_was_interrupted_is_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_charges, "IN_FLIGHT", 2)
    file = tmp_path / "charges.csv"
    file.write_text(HEAD + "".join(f"o-{row},c-1,{row}99\n" for row in range(1, 6)))
    async with service_under_test(OrdersService) as orders:
        queue = orders.service.jobs.charge_payment
        create, calls = queue.create, 0

        async def fail_once(payload: ChargePaymentPayload, **options: str) -> object:
            nonlocal calls
            calls += 1
            if calls == 4:
                raise ConnectionError("the importer dies here")
            return await create(payload, idempotency_key=options["idempotency_key"])

        monkeypatch.setattr(queue, "create", fail_once)
        with pytest.raises(ConnectionError):
            await import_charges.import_restartable(orders.service, file)
        assert await import_charges.import_restartable(orders.service, file) == 5

        created = await orders.created(queue)
        assert sorted(job.payload.order_id for job in created) == [f"o-{row}" for row in range(1, 6)]
        assert await import_charges.import_at_once(orders.service, file) == 5
        assert len(await orders.created(queue)) == 10


async def test_a_row_that_is_wrong_creates_nothing(tmp_path: Path) -> None:
    file = tmp_path / "charges.csv"
    file.write_text(HEAD + "o-1,c-1,990\no-2,c-1,much\n")

    with pytest.raises(SystemExit, match=r"row 2: 1 validation error for .*\namountCents"):
        import_charges.read_rows(file)
