"""What a contract says about the payloads of stored jobs: whether a worker reads them, and what in them is secret."""

from trellis_admin.payloads.contract import PayloadContract
from trellis_admin.payloads.revealing import Revealed, reveal_payload

__all__ = ["PayloadContract", "Revealed", "reveal_payload"]
