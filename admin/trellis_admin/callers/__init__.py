"""Edits files of callers, and writes the keys that they list: `trellis callers`."""

from trellis_admin.callers.capabilities import DeclaredCapabilities, find_project_contracts, read_declared
from trellis_admin.callers.changes import (
    CallerNotFound,
    CallersProblem,
    CallersRefused,
    grant,
    revoke,
    revoke_all,
)
from trellis_admin.callers.file import edit, read
from trellis_admin.callers.key_file import write_key

__all__ = [
    "CallerNotFound",
    "CallersProblem",
    "CallersRefused",
    "DeclaredCapabilities",
    "edit",
    "find_project_contracts",
    "grant",
    "read",
    "read_declared",
    "revoke",
    "revoke_all",
    "write_key",
]
