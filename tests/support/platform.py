"""A control plane's resources, names and grants, as the reference one makes them for two queues without keys."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

from trellis_nats import Binding, Credentials, Options, Permissions, parse_binding
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats.binding import JobsBinding, QueueBinding
from trellis_nats.testing import NatsServer

from tests.support.deployment import create_job_resources, job_lines
from tests.support.depot import accounts
from tests.support.versions import binary_of

__all__ = ["BINDING", "JOBS", "PACK", "PLATFORM", "as_platform_service", "platform_server"]

_SERVICE: Final = "tr_jobs_01m8ksrme46ep3fhr949k199"
_TOKENS: Final = {
    "charge": (_SERVICE, "tr_jq_01m8ksrme4db58hk6x3dmph8m1"),
    "pack": ("tr_jobs_01m8ksrmfxprr342m44f6kjw", "tr_jq_01m8ksrmfx525jqztvqjn1vx37"),
}
"""Each queue has a namespace of its own; that of the service is one of them."""


def _queue(name: str) -> dict[str, object]:
    namespace, token = _TOKENS[name]
    return {
        "queueType": name,
        "payload": {"schema": "Parcel"},
        "result": {"schema": "Receipt"},
        "maxDeliver": 5,
        "backoffMs": [1000, 2000],
        "ackWaitMs": 3000,
        "progress": True,
        "logs": True,
        "dlq": True,
        "concurrency": 2,
        "publishPrefix": f"trellis.jobs.{namespace}.{token}",
        "workSubject": f"trellis.work.{namespace}.{token}",
        "consumerName": f"{namespace}_{token}"[:64],
    }


BINDING: Final[Binding] = parse_binding(
    json.dumps(
        {
            "jobs": {
                "namespace": _SERVICE,
                "workStream": "JOBS_WORK",
                "queues": {name: _queue(name) for name in _TOKENS},
            }
        }
    )
)


def _jobs() -> JobsBinding:
    assert BINDING.jobs is not None
    return BINDING.jobs


JOBS: Final = _jobs()
PACK: Final[QueueBinding] = JOBS.queues["pack"]

PLATFORM: Final = Permissions(
    publish=(*job_lines(JOBS), "$JS.API.INFO"),
    subscribe=(
        "_INBOX.0EqyMnQrtKs6E2i9.>",
        *(f"{queue.publish_prefix}.*.*" for queue in JOBS.queues.values()),
        *(f"{queue.publish_prefix}.*.cancelled" for queue in JOBS.queues.values()),
    ),
    allow_responses=timedelta(minutes=2),
)
"""What a service's session may do, and nothing else."""


def as_platform_service(user: str = "service") -> Options:
    """Return the options of a session. Two instances of a service have the same grants."""
    return Options(credentials=Credentials(user=user, password=user), inbox_prefix="_INBOX.0EqyMnQrtKs6E2i9")


@asynccontextmanager
async def platform_server(
    service: Permissions = PLATFORM, *, version: str | None = None, denied: str | None = None
) -> AsyncGenerator[NatsServer]:
    """Run a server with the platform's resources, a user `service` with the given grants, and `root`, who may do everything.

    The service may not subscribe to `denied`, although it is among its grants.
    """
    binary = None if version is None else binary_of(version)
    config = accounts({"root": None, "service": service})
    if denied is not None:
        allowed, end, rest = config.rpartition("] }\n    allow_responses")
        config = f'{allowed}], deny: ["{denied}"] }}{end[3:]}{rest}'
    async with NatsServer(config=config, binary=binary) as server:
        root = await Connection.open(server.url, settings=ConnectionSettings(user="root", password="root"))  # noqa: S106
        await create_job_resources(root, JOBS)
        await root.close()
        yield server
