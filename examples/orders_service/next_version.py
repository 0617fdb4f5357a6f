"""What the next version of the service adds to `main.py`: its contract calls the `amountCents` of a payment `totalCents`."""

from orders_next_participant import ChargePaymentPayload, OrdersService
from trellis_nats import JsonObject

WITH_AMOUNT = "mXM5SgH1EIbSxJImkz-WGXMifPhTMI38ewQ0q8qx19w"
"""The digest of the first version, as `trellis-gen digest contracts/orders_service.manifest.json` prints it."""


def register_upcasters(service: OrdersService) -> None:
    """Let the next version read payments of the first one."""

    @service.jobs.charge_payment.upcast(from_digest=WITH_AMOUNT)
    def from_amount(old: JsonObject) -> ChargePaymentPayload:
        old["totalCents"] = old.pop("amountCents")
        return ChargePaymentPayload.model_validate(old)
