"""The orders service notifies customers where a notifications service is deployed, and does without one elsewhere."""

from datetime import UTC, datetime

import main
import pytest
from orders_participant import Order, OrdersService
from orders_participant.uses.notifications import NoChannelError, Notification, NotificationSent
from orders_participant.uses.notifications.rpc import NOTIFICATIONS_SEND
from trellis_nats import RUNTIME_API, Contract, Options, RpcContext, RpcEndpoint, Runtime, Service
from trellis_nats.testing import NatsServer

ORDER = Order(order_id="o-1", customer_id="c-42", status="shipped", items=[], created_at=datetime.now(UTC))


class Notifications(Service):
    """The other service."""

    contract = Contract(id="notifications@v1", digest="n" * 43, generator="0", runtime_api=RUNTIME_API)

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.send = RpcEndpoint[Notification, NotificationSent](runtime, NOTIFICATIONS_SEND)


async def test_the_customer_is_notified(nats_server: NatsServer, capsys: pytest.CaptureFixture[str]) -> None:
    sent: list[Notification] = []
    async with (
        Notifications.connect(nats_server.url) as notifications,
        OrdersService.connect(nats_server.url) as service,
    ):

        @notifications.send.handle
        async def send(context: RpcContext, request: Notification) -> NotificationSent:
            sent.append(request)
            if len(sent) > 1:
                raise NoChannelError(customer_id=request.customer_id)
            return NotificationSent(notification_id="n-1")

        await notifications.start()
        await main.notify_customer(service, ORDER)
        await main.notify_customer(service, ORDER)

    assert [(each.customer_id, each.text) for each in sent] == [("c-42", "Order o-1 has shipped.")] * 2
    assert capsys.readouterr().out.count("customer not notified") == 1


async def test_an_order_ships_while_the_other_service_is_down(
    nats_server: NatsServer, capsys: pytest.CaptureFixture[str]
) -> None:
    async with OrdersService.connect(nats_server.url) as service:
        await main.notify_customer(service, ORDER)

    assert "customer not notified" in capsys.readouterr().out


async def test_an_order_ships_where_there_is_none(
    nats_server: NatsServer, capsys: pytest.CaptureFixture[str]
) -> None:
    options = Options(absent_uses=frozenset({"notifications"}))
    async with OrdersService.connect(nats_server.url, options=options) as service:
        assert service.uses.notifications is None
        await main.notify_customer(service, ORDER)

    assert capsys.readouterr().out == ""
