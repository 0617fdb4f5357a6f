"""Key-value buckets of a service."""

from trellis_nats.kv.bucket import Bucket
from trellis_nats.kv.entry import DeletedEntry, Entry

__all__ = ["Bucket", "DeletedEntry", "Entry"]
