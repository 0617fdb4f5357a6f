"""A payment gateway as they are: it times out now and then."""

import asyncio


class PaymentGateway:
    """Takes the money of an order once, however often it is asked. The first call of each order times out."""

    def __init__(self) -> None:
        self._asked: set[str] = set()

    async def charge(self, order_id: str, amount_cents: float) -> str:
        """Take the money, and return the id of the charge.

        Raises:
            TimeoutError: the gateway did not answer.
        """
        await asyncio.sleep(0.05)
        if order_id not in self._asked:
            self._asked.add(order_id)
            raise TimeoutError("the payment gateway did not answer")
        return f"ch_{order_id[-8:].lower()}_{amount_cents:g}"
