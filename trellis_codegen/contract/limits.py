"""How large a contract may be, so that a hostile file costs neither time nor memory."""

__all__ = ["MAX_NUMBER_LENGTH", "MAX_SIZE_BYTES"]

MAX_SIZE_BYTES = 5_000_000
"""A contract larger than this is refused unread."""
MAX_NUMBER_LENGTH = 400
"""A number with more characters than this is refused uncomputed."""
