"""Writes the file of a new session key."""

from __future__ import annotations

import os
from pathlib import Path

from trellis_nats import SessionKey

from trellis_admin.callers.changes import CallersProblem, CallersRefused

__all__ = ["write_key"]


def write_key(path: Path, name: str) -> SessionKey:
    """Write a new key to a file that only this user can read. What exists is never overwritten.

    Raises:
        CallersRefused: there is such a file.
        CallersProblem: it cannot be written, or the name has several lines.
        ConfigurationError: PyNaCl is not installed.
    """
    if not name.isprintable() or not name.strip():
        raise CallersProblem("a name has printable characters")
    key = SessionKey.generate()
    while key.public.startswith("-"):  # commands would take it for an option
        key = SessionKey.generate()
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise CallersRefused(f"{path} exists: a key is never overwritten; name another file") from None
    except OSError as error:
        raise CallersProblem(f"{path} cannot be written: {error.strerror}") from None
    with os.fdopen(handle, "w") as file:
        file.write(f"# the session key of {name}: a secret\n# public key {key.public}\n{key.seed}\n")
        file.flush()
        os.fsync(handle)
    return key
