"""Checks the requests of a service, in the order of the wire (auth.md): proof, time, authority, replay, reply subject."""

from __future__ import annotations

import time
from collections.abc import Mapping
from time import monotonic

from trellis_nats.auth.authority import Admitted, Authority
from trellis_nats.auth.caller import Caller
from trellis_nats.auth.ed25519 import require_ed25519
from trellis_nats.auth.replays import REPLAYS
from trellis_nats.auth.request_proof import SKEW, RequestProof, read_proof
from trellis_nats.errors import AuthError

__all__ = ["Admission"]


class Admission:
    """Decides which requests a service serves."""

    def __init__(self, authority: Authority, *, checks_time: bool = True) -> None:
        """Check signatures, and ask `authority` about requests with a valid one.

        Without `checks_time` the authority judges when they were signed: its clock counts then.

        Raises:
            ConfigurationError: signatures cannot be checked: PyNaCl is not installed.
        """
        require_ed25519()
        self._authority = authority
        self._checks_time = checks_time

    async def admit(
        self,
        headers: Mapping[str, str],
        data: bytes,
        *,
        subject: str,
        reply_subject: str,
        capabilities: tuple[str, ...],
    ) -> Caller:
        """Return who made a request that may be served.

        Raises:
            AuthError: it may not; `reason` is that of the wire.
            RpcError: the authority could not be asked.
        """
        proof = read_proof(headers, subject, data)
        # Before the signature, whose check takes most of the time, and before a control plane is asked again.
        if REPLAYS.is_known(proof.session_key, proof.request_id):
            raise AuthError("invalid_signature")
        if not proof.is_valid():
            raise AuthError("invalid_signature", {"sessionKey": proof.session_key})
        valid_for = self._valid_for(proof)
        admitted = await self._authority.judge(proof, capabilities)
        # Not before it is known who asks: anyone can fill the cache with proofs of keys that no service knows.
        try:
            _require_allowed(admitted, proof, capabilities, reply_subject=reply_subject, valid_for=valid_for)
        except AuthError as error:
            error.caller_name = admitted.caller.name
            raise
        return admitted.caller

    def _valid_for(self, proof: RequestProof) -> float:
        """Return for how many seconds, at most, the same proof would be accepted again.

        Seconds, because the wall clock may be set meanwhile: what was remembered until an instant of a wrong clock would
        stay for hours, or be forgotten while it is valid.

        Raises:
            AuthError: the proof is too old, or of the future.
        """
        if not self._checks_time:
            return 2 * SKEW + 1
        age = time.time() - proof.iat
        if abs(age) > SKEW:
            raise AuthError("iat_out_of_range", {"callerClockBehindSeconds": round(age)})
        return SKEW + 1 - age


def _require_allowed(
    admitted: Admitted,
    proof: RequestProof,
    capabilities: tuple[str, ...],
    *,
    reply_subject: str,
    valid_for: float,
) -> None:
    """Check what a known caller asks for, and remember that it did."""
    caller, at = admitted.caller, monotonic()
    if not REPLAYS.is_new(caller.session_key, proof.request_id, at=at, until=at + valid_for):
        raise AuthError("invalid_signature")
    if not admitted.is_allowed:
        held = sorted(caller.capabilities)
        rights = {"requiredCapabilities": list(capabilities), "userCapabilities": held}
        raise AuthError("insufficient_permissions", rights)
    if not reply_subject.startswith(f"{admitted.inbox_prefix}."):
        subjects = {"expected": admitted.inbox_prefix, "actual": reply_subject}
        raise AuthError("reply_subject_mismatch", subjects)
