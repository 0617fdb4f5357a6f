"""The client side of a procedure that answers with an object."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, TypeVar

from typing_extensions import override

from trellis_nats.binding import Binding
from trellis_nats.grants import Grant, Role
from trellis_nats.rpc.call import RpcCall
from trellis_nats.runtime import Runtime
from trellis_nats.specs import DownloadSpec
from trellis_nats.surface import Surface
from trellis_nats.transfers.download import Download
from trellis_nats.transfers.endpoint import rpc_spec
from trellis_nats.transfers.grant import TransferGrant
from trellis_nats.transfers.grants import download_grants

__all__ = ["DownloadCall"]

RequestT = TypeVar("RequestT")


class DownloadCall(Generic[RequestT]):
    """A procedure to be called, whose answer is an object."""

    def __init__(self, runtime: Runtime, spec: DownloadSpec) -> None:
        self.spec = spec
        """What the contract declares about the procedure."""
        self._runtime = runtime
        self._call = RpcCall[RequestT, TransferGrant](runtime, rpc_spec(spec))
        runtime.register(_CallSurface(spec))

    def __repr__(self) -> str:
        return f"<DownloadCall {self.spec.name}>"

    async def __call__(self, request: RequestT, *, timeout: timedelta | None = None) -> Download:
        """Call the procedure, and return the object that it grants: iterate over it, or `read` it, within a minute.

            async for chunk in await client.rpc.files.download(request):
                ...

        `timeout` is for the call, not for the download. Raises as `RpcCall`.
        """
        grant = await self._call(request, timeout=timeout)
        runtime = self._runtime
        return Download(runtime.connection, grant, runtime.signer, timeout=runtime.options.request_timeout)


@dataclass(frozen=True)
class _CallSurface(Surface):
    spec: DownloadSpec

    @override
    def grants(self, binding: Binding, role: Role) -> Iterable[Grant]:
        return download_grants(self.spec.name) if role in {"worker", "client"} else ()
