"""Ed25519, by PyNaCl: imported where a key is used, because services without signatures do not need it.

PyNaCl, because nkeys, which NATS credentials need, needs it too. A signature takes 21 us and its check 56 us
(AMD EPYC, PyNaCl 1.6.2; 36 and 114 us with cryptography 50.0).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

from trellis_nats.errors import ConfigurationError

if TYPE_CHECKING:
    from nacl.signing import SigningKey

__all__ = ["KEY_BYTES", "SIGNATURE_BYTES", "is_public_key", "is_signed", "load_key", "require_ed25519"]

KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64


def require_ed25519() -> None:
    """Check that signatures can be made and checked.

    Raises:
        ConfigurationError: PyNaCl is not installed.
    """
    try:
        importlib.import_module("nacl.signing")
    except ImportError as error:
        raise ConfigurationError(
            "signed requests require the package PyNaCl: pip install 'trellis-nats[auth]'"
        ) from error


def load_key(seed: bytes) -> SigningKey:
    """Return the key of a seed of 32 bytes. Raises as `require_ed25519`."""
    require_ed25519()
    from nacl.signing import SigningKey  # noqa: PLC0415 - an extra

    return SigningKey(seed)


def is_signed(public_key: bytes, signature: bytes, digest: bytes) -> bool:
    """Return whether the holder of a key has signed a digest. Both have their right size."""
    from nacl.exceptions import BadSignatureError  # noqa: PLC0415 - an extra
    from nacl.signing import VerifyKey  # noqa: PLC0415 - an extra

    try:
        VerifyKey(public_key).verify(digest, signature)
    except BadSignatureError:
        return False
    return True


def is_public_key(data: bytes) -> bool:
    """Return whether 32 bytes can be a public key. Of 16 seeds, 15 cannot. It takes 50 us. Raises as `require_ed25519`."""
    require_ed25519()
    from nacl import bindings  # noqa: PLC0415 - an extra

    # A libsodium that was built without these functions cannot say.
    return not bindings.has_crypto_core_ed25519 or bindings.crypto_core_ed25519_is_valid_point(data)
