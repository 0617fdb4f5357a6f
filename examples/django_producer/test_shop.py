"""The view on a real nats-server and a database in memory."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone
from orders_participant import ChargePaymentPayload
from trellis_nats import JobState, NotConnected
from trellis_nats.testing import NatsServer

from examples.django_producer import shop

ORDER = {"customer_id": "c-1", "amount_cents": "990"}


@pytest.fixture
def client(nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setenv("NATS_URL", nats_server.url)
    connection.settings_dict["NAME"] = ":memory:"
    shop.create_table()
    with shop.connections:
        yield Client(SERVER_NAME="localhost")
    shop.connect.cache_clear()
    shop.Order.objects.all().delete()


def test_a_view_creates_a_job_after_the_commit(client: Client) -> None:
    assert client.post("/orders", ORDER).status_code == 202

    stored = shop.Order.objects.get()
    service = shop.orders_service()
    job = service.blocking.run(service.jobs.charge_payment.ref(stored.charge_job).get())
    assert job.state is JobState.PENDING
    assert job.payload == ChargePaymentPayload(order_id=f"o-{stored.pk}", customer_id="c-1", amount_cents=990)


def test_a_rolled_back_order_has_no_job(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    created: list[shop.Order] = []
    monkeypatch.setattr(shop, "create_charge", created.append)
    with transaction.atomic():
        client.post("/orders", ORDER)
        transaction.set_rollback(True)
    assert (shop.Order.objects.count(), created) == (0, [])

    client.post("/orders", ORDER)
    assert (shop.Order.objects.count(), len(created)) == (1, 1)


def test_a_job_that_could_not_be_created_is_created_later(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: shop.Order) -> None:
        raise NotConnected("NATS is away")

    with monkeypatch.context() as away:
        away.setattr(shop, "create_charge", fail)
        assert client.post("/orders", ORDER).status_code == 202
    shop.Order.objects.update(created_at=timezone.now() - timedelta(minutes=2))

    assert shop.create_missing_charges() == 1
    assert shop.create_missing_charges() == 0
    assert shop.Order.objects.get().charge_job
