"""A slow remote system: the help desk, a supplier, the shops."""

import asyncio


class Remote:
    """Answers after a quarter of a second."""

    async def fetch(self, name: str) -> int:
        """Return the number of entries to copy."""
        await asyncio.sleep(0.25)
        return len(name)
