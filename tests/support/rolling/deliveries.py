"""Values on their way from one version to the other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final, TypeAlias

from pydantic import JsonValue
from trellis_nats import Maintenance, Options

from tests.support.rolling.versions import Version

__all__ = ["IMPATIENT", "PATIENT", "SOON", "Delivery", "Exchange", "for_each"]

SOON: Final = timedelta(seconds=30)
IMPATIENT: Final = Options(
    connect_timeout=SOON,
    request_timeout=SOON,
    version_patience=timedelta(0),
    shutdown_grace=timedelta(0),
    maintenance=Maintenance(rescue_every=None, purge_every=None, lease=timedelta(seconds=1.5)),
)
"""What happens after the patience of a worker shows at once."""
PATIENT: Final = replace(IMPATIENT, version_patience=timedelta(hours=1))


@dataclass(eq=False)
class Delivery:
    """One value that one version writes, for the other one to read."""

    name: str
    """The surface, by its name in the contract."""
    schema: str
    value: JsonValue
    problem: str | None = "it did not arrive"
    """What was seen from outside; None if all is well."""
    sequence: int = 0
    """The place of its event in the stream."""

    def read(self, version: Version) -> Any:  # Any: each schema has its own type
        """Return the value as the model of a version."""
        return version.read(self.schema, self.value)


Exchange: TypeAlias = Callable[[str, Version, Version, list[Delivery]], Awaitable[None]]
"""Lets the first version write values and the second one read them, on a server, and notes the problem of each."""


async def for_each(deliveries: Iterable[Delivery], deliver: Callable[[Delivery], Awaitable[None]]) -> None:
    """Deliver values next to each other, and note what is raised as their problem."""

    async def attempt(delivery: Delivery) -> None:
        try:
            await deliver(delivery)
        except Exception as error:  # noqa: BLE001 - it is what the test is about
            delivery.problem = f"{type(error).__name__}: {error}"

    await asyncio.gather(*map(attempt, deliveries))
