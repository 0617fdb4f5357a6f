"""A system far away that takes its time: the help desk, a supplier, the shops."""

import asyncio


class Remote:
    """Answers after half a second."""

    async def fetch(self, name: str) -> int:
        """Return how much there is to copy from a place."""
        await asyncio.sleep(0.5)
        return len(name)
