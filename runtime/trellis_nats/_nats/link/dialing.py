"""Opens a link, or explains in one sentence why it cannot be opened."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Final

from nats.aio.client import RawCredentials
from nats.errors import Error

from trellis_nats._nats.link.dial_failed import REFUSED, DialFailed
from trellis_nats._nats.link.link import Link, Routes
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats.errors import ConfigurationError

__all__ = ["dial"]

_CREDENTIALS_PARTS: Final = ("BEGIN NATS USER JWT", "BEGIN USER NKEY SEED")
_CREDENTIALS: Final = "--BEGIN NATS USER JWT--\n{jwt}\n--BEGIN USER NKEY SEED--\n{seed}\n"
"""A credentials file, as far as nats-py reads it."""


async def dial(
    address: str,
    settings: ConnectionSettings,
    *,
    routes: Routes,
    on_permission_error: Callable[[str], None],
    login_limit: timedelta,
    limit: timedelta,
) -> Link:
    """Open a link within `limit`, after getting credentials within `login_limit`.

    Raises:
        DialFailed: it could not be opened.
        ConfigurationError: the credentials need a package that is not installed, or the function that returns them is wrong.
    """
    if settings.login is not None:
        settings = settings.with_credentials(await settings.login.renew(login_limit))
    require_tls = settings.tls is not None or address.startswith("tls://")
    link = Link(routes, settings, on_permission_error, require_tls=require_tls)
    try:
        async with asyncio.timeout(limit.total_seconds()):
            await link.open(address, _options(settings))
    except ImportError as error:
        link.shut("never opened")
        raise ConfigurationError(
            "credentials and nkeys require the packages nkeys and PyNaCl: pip install 'trellis-nats[auth]'"
        ) from error
    except Exception as error:  # the supervisor must survive every exception of nats-py, nkeys or TLS
        link.shut("never opened")
        raise _explain(error, limit) from error
    except asyncio.CancelledError:
        link.shut("never opened")
        raise
    return link


def _options(settings: ConnectionSettings) -> dict[str, object]:
    return {
        "name": settings.name,
        "connect_timeout": settings.connect_timeout.total_seconds(),
        "user": settings.user,
        "password": settings.password,
        "token": settings.token,
        "user_credentials": _user_credentials(settings),
        "nkeys_seed_str": _seed(settings),
        "tls": settings.tls,
        "tls_handshake_first": settings.tls_handshake_first,
    }


def _user_credentials(settings: ConnectionSettings) -> RawCredentials | None:
    if settings.jwt is not None and settings.seed is not None:
        return RawCredentials(_CREDENTIALS.format(jwt=settings.jwt.strip(), seed=settings.seed.strip()))
    if settings.credentials is None:
        return None
    text = _read(settings.credentials)
    # Without these lines nats-py loops past the end of the file and blocks the event loop.
    if not all(part in text for part in _CREDENTIALS_PARTS):
        raise DialFailed(
            f"{settings.credentials} is not a credentials file: it has no user JWT and seed", final=True
        )
    return RawCredentials(text)


def _seed(settings: ConnectionSettings) -> str | None:
    if settings.nkey_seed is None:
        return settings.seed
    text = _read(settings.nkey_seed).strip()
    if not text:  # nats-py would speak of something else
        raise DialFailed(f"{settings.nkey_seed} is empty: it must have the seed of an nkey", final=True)
    return text


def _read(path: Path) -> str:
    # An error of decoding would carry the whole file.
    return path.read_text(encoding="utf-8", errors="replace")


def _explain(error: Exception, limit: timedelta) -> DialFailed:
    text = str(error).removeprefix("nats: ").strip("'")
    match error:
        case DialFailed():
            return error
        case TimeoutError():
            return DialFailed(f"no answer within {limit.total_seconds():g} s", final=False)
        case ConnectionRefusedError():
            return DialFailed(REFUSED, final=False)
        case FileNotFoundError() | PermissionError():
            return DialFailed(f"cannot read the credentials {error.filename}: {error.strerror}", final=True)
        case ssl.SSLError():
            return DialFailed(f"TLS failed: {error.reason or text}", final=True)
        case Error() if "authorization violation" in text.lower():
            return DialFailed("the server refused the credentials", final=True)
        case Error() if "TLS" in text:
            return DialFailed(text, final=True)
        case OSError() | Error():
            return DialFailed(text or type(error).__name__, final=False)
        case _ if type(error).__module__ == "nkeys":
            return DialFailed("the seed of the credentials is not an nkey seed", final=True)
        case _:
            return DialFailed(f"{type(error).__name__}: {text}", final=True)
