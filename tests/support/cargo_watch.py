"""Handlers of a keyed queue that report which jobs run, and end when the test lets them."""

import asyncio
from collections import Counter

from tests.support.ferry import CargoJob, CargoQueue, Stowed


class Watch:
    """Handlers that report which jobs run, and end when the test lets them."""

    def __init__(self) -> None:
        self.running: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.began: list[int] = []
        self.go_on = asyncio.Event()

    def works(self, queue: CargoQueue) -> None:
        @queue.handle
        async def work(job: CargoJob) -> Stowed:
            ship = job.payload.ship
            self.began.append(job.payload.number)
            self.running[ship] += 1
            self.most[ship] = max(self.most[ship], self.running[ship])
            try:
                await self.go_on.wait()
            finally:
                self.running[ship] -= 1
            return Stowed(number=job.payload.number)
