"""A service and an app that use the orders contract, as trellis-gen would write them."""

from __future__ import annotations

from typing import ClassVar, Final

from trellis_nats import (
    RUNTIME_API,
    Client,
    ConsumerGroup,
    Contract,
    EventChannel,
    EventOutlet,
    EventSource,
    EventSpec,
    GroupEvent,
    GroupSpec,
    RpcCall,
    Runtime,
    Service,
)

from tests.support.orders import (
    ORDERS_CREATE,
    ORDERS_MOVED,
    ORDERS_SHIPPED,
    CreateRequest,
    CreateResponse,
    Moved,
    Shipped,
)

__all__ = ["DeskApp", "DeskService", "OrdersUse", "StockUse", "Uses"]

CONTRACT: Final = Contract(id="desk@v1", digest="d" * 43, generator="0", runtime_api=RUNTIME_API)
ORDERS_SHIPPED_V2: Final = EventSpec(name="Orders.Shipped", subject="events.v2.Orders.Shipped", event=Moved)


class OrdersUse:
    """What is used of the orders service."""

    def __init__(self, runtime: Runtime) -> None:
        self.create: Final = RpcCall[CreateRequest, CreateResponse](runtime, ORDERS_CREATE)
        self.shipped: Final = EventOutlet[Shipped](runtime, ORDERS_SHIPPED)
        self.moved: Final = EventChannel[Moved](runtime, ORDERS_MOVED)


class StockUse:
    """What is used of another one."""

    def __init__(self, runtime: Runtime) -> None:
        self.shipped: Final = EventSource[Moved](runtime, ORDERS_SHIPPED_V2)


class Uses:
    """The uses: one required, one optional."""

    def __init__(self, runtime: Runtime) -> None:
        self.stock: Final = StockUse(runtime)
        self.orders: Final = OrdersUse(runtime) if runtime.has_use("orders") else None


class ShippedGroup(ConsumerGroup):
    """Two events of one name, of two contracts."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime, GroupSpec(name="shipped", replay="all"))
        self.first: Final = GroupEvent[Shipped](self, ORDERS_SHIPPED)
        self.second: Final = GroupEvent[Moved](self, ORDERS_SHIPPED_V2)


class DeskService(Service):
    """The service."""

    contract: ClassVar[Contract] = CONTRACT

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.runtime: Final = runtime
        self.shipped: Final = ShippedGroup(runtime)
        self.uses: Final = Uses(runtime)


class DeskApp(Client):
    """The app."""

    contract: ClassVar[Contract] = CONTRACT

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.runtime: Final = runtime
        self.uses: Final = Uses(runtime)
