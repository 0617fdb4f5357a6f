"""Drives every column of a surface with the values of many changes, and compares what happens with what the rules say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from trellis_nats.testing import NatsServer

from tests.support.rolling.deliveries import Delivery, Exchange
from tests.support.rolling.schema_cases import SchemaVersions
from tests.support.rolling.surfaces import SPARED, WAYS
from trellis_codegen.breaking.rules.grades import Direction

__all__ = ["find_contradictions"]


_REFUSED: Final = re.compile(
    r"does not match its schema|^ValidationError: |^RemoteError: |^UnexpectedError: |^it did not arrive$"
)
"""How a value that the reader's model refuses shows from outside; anything else is a mistake of this test."""


async def find_contradictions(it: SchemaVersions) -> list[str]:
    """Send the values of each case in every way of the surface, and return where the rules say something else."""
    found: list[str] = []
    for (direction, column), exchanges in WAYS[it.prefix].items():
        for exchange in exchanges:
            deliveries = await _deliver(it, direction, exchange)
            what = f"{it.prefix} {direction} {column}, {exchange.__name__}"
            found += [f"{what}: {problem}" for problem in _compare(deliveries, direction)]
    for direction, exchange in SPARED.get(it.prefix, ()):
        found += [
            f"{it.prefix} {direction}, {exchange.__name__}: {delivery.describe()}"
            for delivery in await _deliver(it, direction, exchange)
            if delivery.problem is not None
        ]
    return found


async def _deliver(it: SchemaVersions, direction: Direction, exchange: Exchange) -> list[Delivery]:
    deliveries = [Delivery(case, value) for case in it.cases for value in case.list_values(direction)]
    old, new = it.versions.old, it.versions.new
    writer, reader = (old, new) if direction is Direction.FORWARD else (new, old)
    async with NatsServer() as server:
        await exchange(server.url, writer, reader, deliveries)
    return deliveries


def _compare(deliveries: list[Delivery], direction: Direction) -> Iterator[str]:
    for delivery in deliveries:
        breaks, problem = delivery.case.breaks(direction), delivery.problem
        is_expected = problem is None if breaks is False else problem is not None
        if breaks is not None and not (is_expected and (problem is None or _REFUSED.search(problem))):
            yield delivery.describe()
