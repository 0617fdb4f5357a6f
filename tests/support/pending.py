"""How many requests and publishes of a connection wait for a reply."""

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.replies import PendingReplies


def count_pending(connection: Connection) -> int:
    """Count them."""
    return sum(len(part) for part in vars(connection).values() if isinstance(part, PendingReplies))
