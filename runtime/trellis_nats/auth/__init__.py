"""Who may call: the keys that sign requests, and the checks of a service.

Importing this package imports no cryptography: the extra `trellis-nats[auth]` is needed only by programs that sign, or
check signatures.
"""

from trellis_nats.auth.admission import Admission
from trellis_nats.auth.authority import Admitted, Authority
from trellis_nats.auth.caller import Caller
from trellis_nats.auth.callers_file import CallersFile
from trellis_nats.auth.request_proof import RequestProof
from trellis_nats.auth.session_key import SessionKey
from trellis_nats.auth.session_proofs import SessionProofs
from trellis_nats.auth.signer import Signer

__all__ = [
    "Admission",
    "Admitted",
    "Authority",
    "Caller",
    "CallersFile",
    "RequestProof",
    "SessionKey",
    "SessionProofs",
    "Signer",
]
