"""What says who a caller is and what it may do, after its proof was checked: a file of keys, or a control plane."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from trellis_nats.auth.caller import Caller
from trellis_nats.auth.request_proof import RequestProof

__all__ = ["Admitted", "Authority"]


class Admitted(NamedTuple):
    """An authority's answer about a request."""

    caller: Caller
    is_allowed: bool
    """Whether the caller holds all capabilities that were asked for."""
    inbox_prefix: str
    """Below it the caller receives its answers."""


class Authority(Protocol):
    """Says who makes a request, and whether it may."""

    async def judge(self, proof: RequestProof, capabilities: tuple[str, ...]) -> Admitted:
        """Judge a request, whose proof is valid and recent. A request is judged once, unless it is a replay.

        Raises:
            RpcError: the caller is unknown, or may not call at all; the caller gets this error. A `RemoteError` reaches it as it
                is: JSON that another program wrote.
        """
        ...
