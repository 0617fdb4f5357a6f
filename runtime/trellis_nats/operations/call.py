"""The client side of one operation: starting it, and finding one that was started."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar, Generic, TypeVar

from typing_extensions import override

from trellis_nats.binding import Binding
from trellis_nats.errors.configuration import require_text, require_timedelta
from trellis_nats.grants import Grant, Role
from trellis_nats.operations.grants import call_grants
from trellis_nats.operations.link import OperationLink
from trellis_nats.runtime import Runtime
from trellis_nats.specs import OperationSpec
from trellis_nats.surface import Surface

__all__ = ["BaseOperationCall", "CallSurface", "OperationCall"]

InputT = TypeVar("InputT")
RunT = TypeVar("RunT")


@dataclass(frozen=True)
class CallSurface(Surface):
    """What a caller of an operation needs."""

    spec: OperationSpec

    @override
    def grants(self, binding: Binding, role: Role) -> Iterator[Grant]:
        """Return what a caller must be allowed to do."""
        if role in {"worker", "client"}:
            yield from call_grants(self.spec)


class BaseOperationCall(Generic[RunT]):
    """The start of an operation, with or without an object to upload."""

    _surface: ClassVar[type[CallSurface]] = CallSurface

    def __init__(
        self, runtime: Runtime, spec: OperationSpec, run: Callable[[OperationLink, str], RunT]
    ) -> None:
        """Created by the generated package; `run` is the class of what `start` returns."""
        self.spec = spec
        """What the contract declares about the operation."""
        self._link = OperationLink(runtime, spec)
        self._run = run
        runtime.register(self._surface(spec))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.spec.name}>"

    def ref(self, operation_id: str) -> RunT:
        """Return a handle on an operation that was started earlier, by this or another program. Nothing is sent."""
        require_text("operation_id", operation_id)
        return self._run(self._link, operation_id)


class OperationCall(BaseOperationCall[RunT], Generic[InputT, RunT]):
    """An operation to be started."""

    async def start(self, request: InputT, *, timeout: timedelta | None = None) -> RunT:
        """Start an operation, and return a handle on it as soon as the service has stored it.

        With no timeout, wait for `Options.request_timeout`. A start is sent once: when it times out, the operation may
        have been started all the same. An operation started by a handler inherits the handler's trace.

        Raises:
            InvalidPayload: the request does not match its schema, and nothing was sent.
            ValidationError: the service rejects the request.
            AuthError: the caller may not do this.
            UnexpectedError: the service could not accept it; its log has the details under the error's id.
            RpcError: the service refuses for another reason.
            NoResponders: no process serves the operation.
            RequestTimeout: no answer came in time.
            TransportError: NATS could not send the request.
        """
        require_timedelta("timeout", timeout)
        accepted = await self._link.start(request, timeout)
        return self._run(self._link, accepted.snapshot.id)
