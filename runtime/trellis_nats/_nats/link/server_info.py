"""The INFO in which a server describes itself. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, cast

__all__ = ["ServerInfo", "parse_info"]

_VERSION: Final = re.compile(r"(\d+)\.(\d+)\.(\d+)")


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """The parts of an INFO that this runtime uses."""

    version: tuple[int, int, int] = (0, 0, 0)
    max_payload_bytes: int = 1024 * 1024
    """By default as the server's own default."""
    cluster_hosts: tuple[str, ...] = ()
    """`host:port` of every server of the cluster; empty for a standalone server."""
    is_stopping: bool = False
    """Whether the server is in lame duck mode: JetStream has stopped, and the connections end one by one."""


def parse_info(info: Mapping[str, object]) -> ServerInfo:
    """Parse an INFO; fields that are missing or of another type keep their defaults."""
    version = _VERSION.match(str(info.get("version", "")))
    limit = info.get("max_payload")
    hosts = info.get("connect_urls")
    return ServerInfo(
        version=(int(version[1]), int(version[2]), int(version[3]))
        if version is not None
        else ServerInfo().version,
        max_payload_bytes=limit if isinstance(limit, int) else ServerInfo().max_payload_bytes,
        cluster_hosts=tuple(map(str, cast("list[object]", hosts))) if isinstance(hosts, list) else (),
        is_stopping=info.get("ldm") is True,
    )
