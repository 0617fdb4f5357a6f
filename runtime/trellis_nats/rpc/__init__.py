"""Remote procedures: a service serves them, and its clients call them."""

from trellis_nats.rpc.call import RpcCall
from trellis_nats.rpc.context import RpcContext
from trellis_nats.rpc.endpoint import RpcEndpoint

__all__ = ["RpcCall", "RpcContext", "RpcEndpoint"]
