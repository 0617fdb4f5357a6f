"""A small service and its client for the tests of RPC, events and KV, as trellis-gen would write them."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, ClassVar, Final, Literal, cast

from pydantic import ConfigDict, Field, JsonValue
from trellis_nats import (
    RUNTIME_API,
    Bucket,
    BucketSpec,
    Client,
    Contract,
    DeclaredError,
    EventPublisher,
    EventSource,
    EventSpec,
    Model,
    RpcCall,
    RpcContext,
    RpcEndpoint,
    RpcSpec,
    Runtime,
    Service,
)
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats._nats.request import request
from trellis_nats._nats.wire.message import Message
from trellis_nats.testing import NatsServer

CONTRACT: Final = Contract(
    id="orders-service@v1", digest="w4an" + "x" * 39, generator="0", runtime_api=RUNTIME_API
)


class Item(Model):
    """A line of an order."""

    product_id: Annotated[str, Field(alias="productId")]
    quantity: Annotated[int, Field(ge=1)]


class CreateRequest(Model):
    """A request."""

    customer_id: Annotated[str, Field(alias="customerId")]
    items: Annotated[list[Item], Field(default_factory=list[Item])]


class CreateResponse(Model):
    """A response."""

    order_id: Annotated[str, Field(alias="orderId", min_length=1)]
    status: str = "pending"
    note: str | None = None


class NotFoundErrorData(Model):
    """What NotFoundError carries."""

    id: str
    type: Literal["NotFoundError"]
    message: str
    resource: str
    resource_id: Annotated[str, Field(alias="resourceId")]
    hint: str | None = None


class NotFoundError(DeclaredError):
    """An order does not exist."""

    error_type: ClassVar[str] = "NotFoundError"
    data_type: ClassVar[object] = NotFoundErrorData

    def __init__(
        self, message: str = "not found", *, resource: str, resource_id: str, hint: str | None = None
    ) -> None:
        super().__init__(message, resource=resource, resourceId=resource_id, hint=hint)

    @property
    def resource(self) -> str:
        """The kind of the missing resource."""
        return cast("str", self.fields["resource"])

    @property
    def resource_id(self) -> str:
        """The id of the missing resource."""
        return cast("str", self.fields["resourceId"])


class BusyError(DeclaredError):
    """Declared without a schema."""

    error_type: ClassVar[str] = "BusyError"


ORDERS_CREATE: Final = RpcSpec(
    name="Orders.Create",
    subject="rpc.v1.Orders.Create",
    input=CreateRequest,
    output=CreateResponse,
    errors=(NotFoundError, BusyError),
)
ORDERS_PEEK: Final = RpcSpec(
    name="Orders.Peek", subject="rpc.v1.Orders.Peek", input=CreateRequest, output=CreateResponse
)


class Shipped(Model):
    """An event."""

    order_id: Annotated[str, Field(alias="orderId")]


class Moved(Model):
    """An event whose schema forbids other members."""

    model_config = ConfigDict(extra="forbid")

    order_id: Annotated[str, Field(alias="orderId")]
    region: str


ORDERS_SHIPPED: Final = EventSpec(name="Orders.Shipped", subject="events.v1.Orders.Shipped", event=Shipped)
ORDERS_MOVED: Final = EventSpec(
    name="Orders.Moved", subject="events.v1.Orders.Moved.{/region}", event=Moved, params=("/region",)
)


class Order(Model):
    """A value of a bucket."""

    order_id: Annotated[str, Field(alias="orderId")]
    total: int = 0
    note: str | None = None


class OrdersService(Service):
    """The service."""

    contract: ClassVar[Contract] = CONTRACT

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.runtime: Final = runtime
        self.create: Final = RpcEndpoint[CreateRequest, CreateResponse](runtime, ORDERS_CREATE)
        self.peek: Final = RpcEndpoint[CreateRequest, CreateResponse](runtime, ORDERS_PEEK)
        self.call_peek: Final = RpcCall[CreateRequest, CreateResponse](runtime, ORDERS_PEEK)
        self.shipped: Final = EventPublisher[Shipped](runtime, ORDERS_SHIPPED)
        self.moved: Final = EventPublisher[Moved](runtime, ORDERS_MOVED)
        self.orders: Final = Bucket[Order](runtime, BucketSpec(name="orders", value=Order))
        self.history: Final = Bucket[Order](runtime, BucketSpec(name="history", value=Order, history=5))
        self.notes: Final = Bucket[JsonValue](runtime, BucketSpec(name="notes", max_value_bytes=256))


class OrdersClient(Client):
    """The client."""

    contract: ClassVar[Contract] = CONTRACT

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.create: Final = RpcCall[CreateRequest, CreateResponse](runtime, ORDERS_CREATE)
        self.peek: Final = RpcCall[CreateRequest, CreateResponse](runtime, ORDERS_PEEK)
        self.shipped: Final = EventSource[Shipped](runtime, ORDERS_SHIPPED)
        self.moved: Final = EventSource[Moved](runtime, ORDERS_MOVED)


REQUEST: Final = CreateRequest(customer_id="c1", items=[Item(product_id="p1", quantity=2)])


async def greet(context: RpcContext, request: CreateRequest) -> CreateResponse:
    """Answer as a handler would."""
    return CreateResponse(order_id=f"{request.customer_id}-{len(request.items)}")


async def raw_call(
    server: NatsServer, data: bytes, headers: dict[str, str] | None = None, *, inbox_prefix: str = "_INBOX"
) -> Message:
    """Call `Orders.Create` with bytes."""
    connection = await Connection.open(server.url, settings=ConnectionSettings(inbox_prefix=inbox_prefix))
    try:
        return await request(
            connection, ORDERS_CREATE.subject, data, headers=headers, timeout=timedelta(seconds=5)
        )
    finally:
        await connection.close()
