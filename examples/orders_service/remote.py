"""A slow remote system: the help desk, a supplier, the shops."""

import asyncio


class Remote:
    """Answers after a second, so that other jobs of a key are submitted while one runs."""

    async def fetch(self, name: str) -> int:
        """Return the number of entries to copy."""
        await asyncio.sleep(1)
        return len(name)
