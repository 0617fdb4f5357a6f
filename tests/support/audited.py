"""Two versions of a contract for audits: the next one has another type for the amount, another key, and one queue less."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Annotated, ClassVar, Final

from pydantic import ConfigDict, Field
from trellis_nats import (
    RUNTIME_API,
    Contract,
    EventPublisher,
    EventSpec,
    JobQueue,
    Jobs,
    JobSpec,
    KeySpec,
    Maintenance,
    Model,
    Options,
    Runtime,
    Service,
)

__all__ = ["ONCE", "Line", "NextPayment", "NextTill", "Paid", "Payment", "Receipt", "Till"]

ONCE: Final = Options(
    shutdown_grace=timedelta(seconds=1), maintenance=Maintenance(rescue_every=None, purge_every=None)
)
"""Without the maintenance, which is not what these tests are about."""
_V1: Final = Contract(id="till@v1", digest="1" * 43, generator="0.1.0", runtime_api=RUNTIME_API)


class Line(Model):
    """A part of a payload."""

    sku: str
    quantity: int


class Payment(Model):
    """A payload."""

    amount: int
    ending: str = "completed"
    """How the handler of a test ends the job."""
    lines: list[Line] = Field(default_factory=list[Line])
    labels: dict[str, int] = Field(default_factory=dict[str, int])
    customer: str | None = None


class Receipt(Model):
    """A result."""

    number: int


class Paid(Model):
    """An event."""

    amount: int


class NextLine(Model):
    """A part of a payload: the quantity has an upper bound."""

    sku: str
    quantity: Annotated[int, Field(le=10)]


class NextPayment(Model):
    """The payload of the next version."""

    amount: str
    lines: list[NextLine] = Field(default_factory=list[NextLine])
    labels: dict[str, str] = Field(default_factory=dict[str, str])
    customer: str | None = None


class NextKeyed(Model):
    """The payload of the keyed queue in the next version: the same, and the key is taken from the customer."""

    amount: int
    customer: str | None = None


class NextReceipt(Model):
    """The result of the next version."""

    number: str


class _Pay(JobQueue[Payment, Receipt]):
    spec: ClassVar[JobSpec] = JobSpec(
        name="pay", payload=Payment, result=Receipt, max_deliver=2, backoff=(timedelta(hours=1),)
    )


class _Once(JobQueue[Payment, Receipt]):
    spec: ClassVar[JobSpec] = JobSpec(name="once", payload=Payment, result=Receipt, max_deliver=1)


class _Keyed(JobQueue[Payment, None]):
    spec: ClassVar[JobSpec] = JobSpec(name="keyed", payload=Payment, key=KeySpec(template=("/amount",)))


class _Old(JobQueue[Payment, None]):
    spec: ClassVar[JobSpec] = JobSpec(name="old", payload=Payment)


class _NextPay(JobQueue[NextPayment, NextReceipt]):
    spec: ClassVar[JobSpec] = replace(_Pay.spec, payload=NextPayment, result=NextReceipt)


class _NextOnce(JobQueue[NextPayment, NextReceipt]):
    spec: ClassVar[JobSpec] = replace(_Once.spec, payload=NextPayment, result=NextReceipt)


class _NextKeyed(JobQueue[NextKeyed, None]):
    spec: ClassVar[JobSpec] = replace(
        _Keyed.spec, payload=NextKeyed, key=KeySpec(template=("pay", "/customer"))
    )


class _TillJobs(Jobs):
    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.pay: Final = _Pay(runtime)
        self.once: Final = _Once(runtime)
        self.keyed: Final = _Keyed(runtime)
        self.old: Final = _Old(runtime)


class _NextJobs(Jobs):
    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.pay: Final = _NextPay(runtime)
        self.once: Final = _NextOnce(runtime)
        self.keyed: Final = _NextKeyed(runtime)


class Till(Service):
    """The version that has written what is stored."""

    contract: ClassVar[Contract] = _V1

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.runtime: Final = runtime
        self.jobs: Final = _TillJobs(runtime)
        self.paid: Final = EventPublisher[Paid](
            runtime, EventSpec(name="Till.Paid", subject="events.v1.Till.Paid", event=Paid)
        )


class NextPaid(Model):
    """The event of the next version: a closed schema, which forbids the header that every event has."""

    model_config = ConfigDict(extra="forbid")

    amount: Annotated[int, Field(ge=0)]


class NextTill(Service):
    """The next version."""

    contract: ClassVar[Contract] = replace(_V1, digest="2" * 43)

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.runtime: Final = runtime
        self.jobs: Final = _NextJobs(runtime)
        self.paid: Final = EventPublisher[NextPaid](
            runtime, EventSpec(name="Till.Paid", subject="events.v1.Till.Paid", event=NextPaid)
        )
