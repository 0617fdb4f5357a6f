"""What a contract says about the values of stored jobs: whether a worker reads them, and what in them is secret."""

from trellis_admin.payloads.contract import PayloadContract, find_contract
from trellis_admin.payloads.revealing import Revealed, RevealedValue, reveal_job

__all__ = ["PayloadContract", "Revealed", "RevealedValue", "find_contract", "reveal_job"]
