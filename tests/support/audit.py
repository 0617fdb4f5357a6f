"""A small service with an event consumer group, as trellis-gen would write it."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar, Final

from trellis_nats import (
    RUNTIME_API,
    ConsumerGroup,
    Contract,
    EventPublisher,
    GroupEvent,
    GroupSpec,
    Runtime,
    Service,
)

from tests.support.orders import ORDERS_MOVED, ORDERS_SHIPPED, Moved, Shipped

__all__ = ["AUDIT", "AuditService"]

CONTRACT: Final = Contract(id="audit@v1", digest="w" * 43, generator="0", runtime_api=RUNTIME_API)

AUDIT: Final = GroupSpec(
    name="audit",
    replay="all",
    ack_wait=timedelta(seconds=2),
    max_deliver=3,
    backoff=(timedelta(milliseconds=100), timedelta(milliseconds=300)),
)


class AuditGroup(ConsumerGroup):
    """The group."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime, AUDIT)
        self.shipped: Final = GroupEvent[Shipped](self, ORDERS_SHIPPED)
        self.moved: Final = GroupEvent[Moved](self, ORDERS_MOVED)


class AuditService(Service):
    """The service."""

    contract: ClassVar[Contract] = CONTRACT

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.runtime: Final = runtime
        self.audit: Final = AuditGroup(runtime)
        self.shipped: Final = EventPublisher[Shipped](runtime, ORDERS_SHIPPED)
        self.moved: Final = EventPublisher[Moved](runtime, ORDERS_MOVED)
