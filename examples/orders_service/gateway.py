"""A payment gateway that behaves like a real one: some calls time out."""

import asyncio


class PaymentGateway:
    """Charges an order once, however often it is called. The first call for each order times out."""

    def __init__(self) -> None:
        self._called: set[str] = set()

    async def charge(self, order_id: str, amount_cents: float) -> str:
        """Charge the order and return the id of the charge.

        Raises:
            TimeoutError: the gateway did not answer.
        """
        await asyncio.sleep(0.05)
        if order_id not in self._called:
            self._called.add(order_id)
            raise TimeoutError("the payment gateway did not answer")
        return f"ch_{order_id[-8:].lower()}_{amount_cents:g}"

    async def refund(self, order_id: str) -> None:
        """Pay the charge of an order back, if there is one."""
        await asyncio.sleep(0.05)
        self._called.discard(order_id)
