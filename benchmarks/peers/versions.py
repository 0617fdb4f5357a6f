"""On what a measurement was made: the machine, the programs and the packages, by version."""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import subprocess
from importlib.metadata import version
from typing import Final, TypedDict, cast

from trellis_nats.testing import NatsServer

from .columns import PEERS_PYTHON
from .redis_server import find_redis

_PACKAGES: Final = ("taskiq", "taskiq-nats", "faststream", "arq", "redis", "nats-py", "pydantic")
_ASK: Final = "import json, sys; from importlib.metadata import version as v; print(json.dumps({n: v(n) for n in sys.argv[1:]}))"


class Setting(TypedDict):
    """What the figures depend on."""

    date: str
    machine: str
    load: float
    """Of the minute before."""
    versions: dict[str, str]


def setting() -> Setting:
    """Return the setting of this machine."""
    versions = {"trellis-nats": version("trellis-nats"), "nats-server": _nats_server()}
    redis = find_redis()
    if redis is not None:
        versions["redis-server"] = _redis_server(redis)
    if PEERS_PYTHON.exists():
        asked = subprocess.run(  # noqa: S603 - our own statement
            [PEERS_PYTHON, "-c", _ASK, *_PACKAGES], capture_output=True, text=True, check=True
        )
        versions |= cast("dict[str, str]", json.loads(asked.stdout))
    machine = (
        f"{os.cpu_count()} x {platform.machine()}, Python {platform.python_version()}, {platform.system()}"
    )
    today = dt.datetime.now(tz=dt.UTC).date().isoformat()
    return Setting(date=today, machine=machine, load=round(os.getloadavg()[0], 2), versions=versions)


def _nats_server() -> str:
    with NatsServer() as server:
        return server.log.partition("Version:")[2].split()[0]


def _redis_server(program: str) -> str:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout  # noqa: S603 - the program that was found
    return said.partition("v=")[2].split()[0]
