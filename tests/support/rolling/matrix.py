"""Drives every column of a surface with the values of many changes, and compares what happens with what the rules say."""

from __future__ import annotations

import re
from typing import Final

from trellis_nats.testing import NatsServer

from tests.support.rolling.deliveries import Delivery, Exchange
from tests.support.rolling.schema_cases import SchemaCase, SchemaVersions
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
            what = f"{it.prefix} {direction} {column}, {exchange.__name__}"
            for case, delivery in await _deliver(it, direction, exchange):
                breaks = case.breaks(direction)
                if breaks is not None and not _is_as_said(delivery.problem, breaks=breaks):
                    found.append(f"{what}: {_describe(case, delivery)}")
    for direction, exchange in SPARED.get(it.prefix, ()):
        what = f"{it.prefix} {direction}, {exchange.__name__}"
        found += [
            f"{what}: {_describe(case, delivery)}"
            for case, delivery in await _deliver(it, direction, exchange)
            if delivery.problem is not None
        ]
    return found


async def _deliver(
    it: SchemaVersions, direction: Direction, exchange: Exchange
) -> list[tuple[SchemaCase, Delivery]]:
    deliveries = [
        (case, Delivery(case.name, case.name, value))
        for case in it.cases
        for value in case.list_values(direction)
    ]
    assert {case.name for case, _ in deliveries} == {case.name for case in it.cases}, "no value was drawn"
    old, new = it.versions.old, it.versions.new
    writer, reader = (old, new) if direction is Direction.FORWARD else (new, old)
    async with NatsServer() as server:
        await exchange(server.url, writer, reader, [delivery for _, delivery in deliveries])
    return deliveries


def _is_as_said(problem: str | None, *, breaks: bool) -> bool:
    return problem is None if not breaks else problem is not None and bool(_REFUSED.search(problem))


def _describe(case: SchemaCase, delivery: Delivery) -> str:
    """Return what was sent, what the rules say about it, and what was seen."""
    rules = ", ".join(finding.rule for finding in case.findings) or "no rule"
    return f"{case.name} ({rules}), value {delivery.value!r}: {delivery.problem or 'it arrived'}"
