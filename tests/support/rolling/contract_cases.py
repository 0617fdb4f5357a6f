"""One change of a contract outside of schemas: both versions, and what was seen of each column."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

from pydantic import JsonValue
from trellis_nats.testing import NatsServer

from tests.support.rolling.deliveries import Delivery, Exchange
from tests.support.rolling.versions import Version, Versions
from tests.support.rule_contracts import JsonObject, complete
from trellis_codegen.breaking.rules.contract_examples import CONTRACT_EXAMPLES
from trellis_codegen.breaking.rules.grades import Column

__all__ = ["RECORD", "ContractCase", "Scenario", "Seen", "deliver"]

Seen: TypeAlias = Mapping[Column, str | None]
"""The problem of each column that was driven; None if all is well there."""
Scenario: TypeAlias = Callable[[Versions], Awaitable[Seen]]

RECORD: Final[JsonObject] = {"id": "1", "origin": "east", "account": "a", "kind": "k", "file": "f"}
"""A value of the schemas that the examples refer to."""


@dataclass(frozen=True, kw_only=True)
class ContractCase:
    """A change, and what drives it."""

    rule: str
    scenario: Scenario
    pair: tuple[JsonObject, JsonObject] | None = None
    """The old and the new fragment; None: the example of the rule."""
    unseen: Mapping[Column, str] = field(default_factory=dict[Column, str])
    """The columns that nothing shows in a run, with the reason."""
    name: str = ""
    """What tells several cases of one rule apart."""

    def generate(self, folder: Path) -> Versions:
        """Generate both packages."""
        old, new = self.pair or CONTRACT_EXAMPLES[self.rule].fails
        others = (_other("pay@v1"), _other("bank@v1"))
        return Versions.generate(complete(old), complete(new), folder, *others)


def _other(contract_id: str) -> JsonValue:
    """Return a contract that others use."""
    record: JsonValue = {"schema": "R"}
    calls: JsonObject = {
        name: {"version": "v1", "subject": f"rpc.v1.{name}", "input": record, "output": record}
        for name in ("X", "Y")
    }
    return complete({"id": contract_id, "rpc": calls})


async def deliver(
    exchange: Exchange, writer: Version, reader: Version, name: str, value: JsonValue = RECORD
) -> str | None:
    """Let one version write a record for a surface, and the other one read it; return the problem."""
    delivery = Delivery(name, "R", value)
    async with NatsServer() as server:
        await exchange(server.url, writer, reader, [delivery])
    return delivery.problem
