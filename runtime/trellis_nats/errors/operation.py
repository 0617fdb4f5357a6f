"""Errors of operations."""

from __future__ import annotations

from trellis_nats.errors.rpc import RpcError

__all__ = [
    "OperationAlreadyTerminal",
    "OperationCancelled",
    "OperationError",
    "OperationInterrupted",
    "OperationMismatch",
    "OperationNotFound",
]


class OperationError(RpcError):
    """An operation cannot do what was asked, or ended without a result.

    Remedy: Catch a subclass.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.id: str | None = None
        """The id that the service assigned to the error; None before it has crossed the wire."""


class OperationNotFound(OperationError):
    """No operation with this id is stored.

    Remedy: Check the id. A service removes the record of an operation some time after its end.
    """

    def __init__(self, operation_id: str) -> None:
        super().__init__(f"Operation not found: {operation_id}")
        self.operation_id = operation_id


class OperationAlreadyTerminal(OperationError):
    """The operation has ended: it cannot be cancelled or completed, and takes no signals.

    Remedy: Read how it ended with `run.get()`; start a new operation if its work is needed.
    """

    def __init__(self, operation_id: str, state: str | None = None) -> None:
        super().__init__(f"Operation already terminal: {operation_id}" + (f" ({state})" if state else ""))
        self.operation_id = operation_id
        self.state = state
        """How it ended: `completed`, `failed` or `cancelled`."""


class OperationMismatch(OperationError):
    """The id belongs to another operation of the contract.

    Remedy: Use the operation that `actual` names.
    """

    def __init__(self, operation_id: str, *, expected: str, actual: str | None = None) -> None:
        super().__init__(
            f'operation {operation_id} is not of "{expected}"' + (f' but of "{actual}"' if actual else "")
        )
        self.operation_id = operation_id
        self.expected = expected
        """The name of the operation that was asked."""
        self.actual = actual
        """The name of the operation that has the id."""


class OperationCancelled(OperationError):
    """The operation was cancelled. A handler that stops early may raise it.

    Remedy: Nothing: a caller cancelled it. Start a new one if its work is needed.
    """

    def __init__(self, operation_id: str = "") -> None:
        super().__init__(f"Operation cancelled: {operation_id}" if operation_id else "Operation cancelled")
        self.operation_id = operation_id


class OperationInterrupted(OperationError):
    """The process that ran the operation ended, and its handler may have done part of the work.

    It is not run again, unless its service registers the handler with `resume="run-again"`.

    Remedy: Start it again, or let the service register the handler with `resume="run-again"` if
    repeating it does no harm.
    """
