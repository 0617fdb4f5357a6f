"""Object stores of a service: files and other large values, read and written as streams."""

from trellis_nats.stores.object import ObjectInfo, StoredObject
from trellis_nats.stores.source import ObjectSource
from trellis_nats.stores.store import Store

__all__ = ["ObjectInfo", "ObjectSource", "Store", "StoredObject"]
