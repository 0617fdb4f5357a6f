"""Remote procedures: what a service serves and what a client calls."""

from trellis_nats.rpc.call import RpcCall
from trellis_nats.rpc.context import RpcContext
from trellis_nats.rpc.endpoint import RpcEndpoint

__all__ = ["RpcCall", "RpcContext", "RpcEndpoint"]
