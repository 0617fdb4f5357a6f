"""The size limits of a contract, so that a hostile file costs neither time nor memory."""

__all__ = ["MAX_NUMBER_LENGTH", "MAX_SIZE_BYTES"]

MAX_SIZE_BYTES = 5_000_000
"""A larger contract is rejected before it is parsed."""
MAX_NUMBER_LENGTH = 400
"""A number with more characters is rejected before it is computed."""
