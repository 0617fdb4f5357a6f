"""Errors of state stores."""

from __future__ import annotations

from trellis_nats.errors.base import TrellisError

__all__ = ["InvalidStateKey", "StateConflict", "StateError", "StateValueTooLarge"]


class StateError(TrellisError):
    """The root of the errors of state stores.

    Remedy: Catch a subclass.
    """

    def __init__(self, message: str, *, store: str, key: str) -> None:
        place = f'key "{key:.100}" of state "{store}"' if key else f'state "{store}"'
        super().__init__(f"{message}: {place}")
        self.store = store
        self.key = key
        """Empty for a store of one value."""


class StateConflict(StateError):
    """`create` found a value, or `update` found another revision than the one of its entry. Nothing was written.

    Remedy: Apply the change to `current`, and write again.
    """

    def __init__(self, message: str, *, store: str, key: str, current: object) -> None:
        super().__init__(message, store=store, key=key)
        self.current = current
        """What the store holds: a `StateEntry`, or an `OldStateEntry`. None: nothing."""


class InvalidStateKey(StateError):
    """The key is empty or longer than 512 bytes; nothing was sent.

    Remedy: Use a key of 1 to 512 bytes.
    """


class StateValueTooLarge(StateError):
    """The value is longer than 64 KiB as JSON text; nothing was sent.

    Remedy: Keep large data in a service's store, and its key in the state.
    """

    def __init__(self, *, store: str, key: str, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(
            f"a value of {size_bytes} bytes exceeds the limit of {limit_bytes} bytes; "
            "keep large data outside of the state, for instance in a service's store",
            store=store,
            key=key,
        )
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes
