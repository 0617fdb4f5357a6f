"""Asks a control plane to let a service join its deployment, until it may."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from pydantic import JsonValue

from trellis_nats.auth import SessionKey
from trellis_nats.contract import Contract
from trellis_nats.control_plane.answers import ManifestRequired, Ready, Waiting, WrongTime, read_answer
from trellis_nats.control_plane.claims import bootstrap_request, connect_token
from trellis_nats.control_plane.clock import PlatformClock
from trellis_nats.control_plane.http_post import Unreachable, parse_endpoint, post_json
from trellis_nats.control_plane.progress import Progress
from trellis_nats.errors import BootstrapFailed

__all__ = ["Bootstrap", "pause_before"]

_PATH: Final = "/bootstrap/service"
_EXCHANGE: Final = timedelta(seconds=10)
"""How long one request and its answer may take."""
_WAIT: Final = timedelta(seconds=5)
_WAIT_MAX: Final = timedelta(seconds=60)
_WAIT_MIN: Final = timedelta(seconds=1)
"""A `Retry-After: 0` is not a reason to ask without a pause."""
_ABSENT_MAX: Final = timedelta(seconds=30)
_UNAVAILABLE: Final = "unavailable"


def pause_before(waiting: Waiting, failures: int) -> timedelta:
    """Return how long to wait before the next request (reference, 12.1); `failures` counts those without a useful answer."""
    if waiting.retry_after is not None:
        return min(max(waiting.retry_after, _WAIT_MIN), _WAIT_MAX)
    if failures:
        return min(timedelta(seconds=2 ** min(failures - 1, 5)), _ABSENT_MAX)
    return _WAIT


class Bootstrap:
    """The requests of one service to one control plane."""

    def __init__(
        self, url: str, key: SessionKey, contract: Contract, read_manifest: Callable[[], JsonValue]
    ) -> None:
        """Prepare.

        Raises:
            ConfigurationError: the URL is malformed.
        """
        self._endpoint = parse_endpoint(url, _PATH)
        self.key: Final = key
        """What signs."""
        self._contract = contract
        self._read_manifest = read_manifest
        self._manifest: JsonValue | None = None
        """What is sent in addition, once the control plane has asked for it."""
        self.clock: Final = PlatformClock()
        """The time with which signatures are made."""
        self.progress: Final = Progress(contract.id)
        """How far it is."""

    def connect_token(self) -> str:
        """Return a new token for one connection."""
        return connect_token(self.key, self._contract, int(self.clock.now()))

    async def until_ready(self) -> Ready:
        """Ask until the service may connect.

        Raises:
            BootstrapFailed: the control plane refuses the service, or it is not a control plane that answers.
            ConfigurationError: the package lacks its manifest, for which the control plane asks.
        """
        failures = 0
        while True:
            try:
                answer = await self._ask()
            except Unreachable as problem:
                text = f"the control plane {self._endpoint} cannot be reached: {problem}"
                answer = Waiting("unreachable", text, None, needs_admin=False)
            if isinstance(answer, Ready):
                self.progress.join()
                return answer
            failures = failures + 1 if answer.reason in {"unreachable", _UNAVAILABLE} else 0
            self.progress.wait(answer)
            await asyncio.sleep(pause_before(answer, failures).total_seconds())

    async def _ask(self) -> Ready | Waiting:
        """Ask once; again at once with the right time, and with the manifest, where that is asked for."""
        has_set_time = False
        while True:
            was_sent, has_manifest = int(self.clock.now()), self._manifest is not None
            body = bootstrap_request(self.key, self._contract, was_sent, self._manifest)
            answer = read_answer(
                await post_json(self._endpoint, body, limit=_EXCHANGE), self._contract, self.key.public
            )
            match answer:
                case Ready(server_now=server_now):
                    if server_now is not None:
                        self.clock.set(server_now)
                    return answer
                case Waiting():
                    return answer
                case WrongTime(server_now=server_now) if not has_set_time:
                    has_set_time = True
                    self.clock.set(server_now)
                case ManifestRequired() if not has_manifest:
                    self._manifest = self._read_manifest()
                case WrongTime(server_now=server_now):
                    raise BootstrapFailed(
                        "iat_out_of_range",
                        f"the control plane says that its time is {server_now}, and refuses a request with this time",
                    )
                case ManifestRequired():
                    raise BootstrapFailed(
                        "manifest_required",
                        "the control plane asks for the manifest that it has just received",
                    )
