"""A service that joins a deployment, and a program that calls it."""

from __future__ import annotations

from typing import ClassVar, Final

from trellis_nats import Client, Contract, RpcCall, RpcEndpoint, RpcSpec, Runtime, Service

from tests.support.orders import CONTRACT, ORDERS_CREATE, CreateRequest, CreateResponse

__all__ = ["SECRET", "MemberClient", "MemberService"]

SECRET: Final = RpcSpec(
    name="Orders.Secret",
    subject="rpc.v1.Orders.Secret",
    input=CreateRequest,
    output=CreateResponse,
    capabilities=("orders.secret",),
)


class MemberService(Service):
    """The service."""

    contract: ClassVar[Contract] = CONTRACT

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.create: Final = RpcEndpoint[CreateRequest, CreateResponse](runtime, ORDERS_CREATE)
        self.secret: Final = RpcEndpoint[CreateRequest, CreateResponse](runtime, SECRET)


class MemberClient(Client):
    """The program."""

    contract: ClassVar[Contract] = CONTRACT

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.create: Final = RpcCall[CreateRequest, CreateResponse](runtime, ORDERS_CREATE)
        self.secret: Final = RpcCall[CreateRequest, CreateResponse](runtime, SECRET)
