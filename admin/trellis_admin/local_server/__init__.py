"""`trellis up`: a nats-server, or a cluster of them, on loopback, for development."""

from trellis_admin.local_server.servers import LocalServers

__all__ = ["LocalServers"]
