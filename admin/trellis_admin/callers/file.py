"""Reads and replaces a file of callers. Two commands at once do not lose a change of each other."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, cast

from trellis_nats.auth.callers_format import CALLERS_FORMAT, CALLERS_SIZE_MAX, parse_callers
from trellis_nats.auth.ed25519 import require_ed25519
from trellis_nats.auth.owned_files import find_fault_of_rules, read_owned
from trellis_nats.errors import ConfigurationError
from trellis_nats.ids import new_id

from trellis_admin.callers.changes import CallersProblem, CallersRefused, Entries

__all__ = ["edit", "read"]

_MODE: Final = 0o644
_WHAT: Final = "the file of callers"
_KEY: Final = re.compile(r'"([A-Za-z0-9_-]{43})"')


def read(path: Path, *, needs_pynacl: bool = True) -> Entries:
    """Return the callers of a file, checked as a service does.

    Args:
        path: of the file.
        needs_pynacl: False: where PyNaCl is not installed, what has the form of a key is taken for one.

    Raises:
        ConfigurationError: the file cannot be read, can be changed by other users, or has errors; all of those are listed.
    """
    # A service demands that its own user or root owns the file. A person may look at files of other users.
    data, _ = read_owned(
        path.resolve(),
        what=_WHAT,
        size_max=CALLERS_SIZE_MAX,
        find_fault=lambda mode, owner, _: find_fault_of_rules(mode, owner, owner),
    )
    known = frozenset[str]()
    if not needs_pynacl and not _can_check_keys():
        known = frozenset(_KEY.findall(data.decode(errors="replace")))
    parse_callers(data, where=f"{_WHAT} {path}", known=known)
    return cast("Entries", json.loads(data)["callers"])


def _can_check_keys() -> bool:
    try:
        require_ed25519()
    except ConfigurationError:
        return False
    return True


@contextmanager
def edit(path: Path, *, may_create: bool = False, dry_run: bool = False) -> Generator[Entries]:
    """Provide the callers of a file, and replace it with what they are at the end: at once, with its owner and mode.

    With `dry_run` it is checked what would replace it, and nothing is written.

    Raises:
        ConfigurationError: as `read`, for the file and for what would replace it.
        CallersProblem: the folder cannot be written.
    """
    path = path.resolve()
    with _lock(path.parent):
        entries: Entries = [] if may_create and not path.exists() else read(path)
        yield entries
        text = json.dumps({"format": CALLERS_FORMAT, "callers": entries}, indent=2, ensure_ascii=False) + "\n"
        data = text.encode(errors="surrogatepass")
        parse_callers(data, where="what would be written")
        if not dry_run and (not path.exists() or path.read_bytes() != data):
            _replace(path, data)


@contextmanager
def _lock(folder: Path) -> Generator[None]:
    import fcntl  # noqa: PLC0415 - Windows does not have it, and other commands need not fail there

    # The folder, because the file is replaced by another one.
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise CallersProblem(f"{folder} cannot be read: {error.strerror}") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _replace(path: Path, data: bytes) -> None:
    old = path.stat() if path.exists() else None
    new = path.with_name(f".{path.name}.{new_id()}")
    try:
        handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            if old is not None and (old.st_uid, old.st_gid) != (os.getuid(), os.getgid()):
                os.fchown(handle, old.st_uid, old.st_gid)
            os.fchmod(handle, _MODE if old is None else stat.S_IMODE(old.st_mode))
            file.flush()
            os.fsync(handle)
        new.replace(path)
    except OSError as error:
        new.unlink(missing_ok=True)
        whose = "" if old is None else f"; it belongs to user {old.st_uid}: edit it as that user or as root"
        raise CallersRefused(f"{path} cannot be replaced: {error.strerror}{whose}") from None
