"""A slow remote system: the help desk, a supplier, the shops."""

import asyncio


class Remote:
    """Answers after half a second."""

    async def fetch(self, name: str) -> int:
        """Return the number of entries to copy."""
        await asyncio.sleep(0.5)
        return len(name)
