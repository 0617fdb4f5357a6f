"""The RPCs of `trellis.state@v1` that a state store calls, with their answers (reference, 9). Pure.

The contract of the platform is not needed to generate a package that has state: it is the same for all of them.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

from pydantic import Field

from trellis_nats.json_types import AwareDatetime, JsonValue
from trellis_nats.model import Model
from trellis_nats.specs import RpcSpec

__all__ = [
    "DELETE",
    "GET",
    "LIST",
    "PUT",
    "Applied",
    "DeleteAnswer",
    "Found",
    "GetAnswer",
    "ListAnswer",
    "Missing",
    "NotApplied",
    "OldStored",
    "PutAnswer",
    "StateRequest",
    "Stored",
]

StateRequest: TypeAlias = dict[str, JsonValue]
"""A request: `store`, and what applies of `key`, `value`, `expectedRevision`, `ttlMs`, `prefix`, `offset` and `limit`."""


class Stored(Model):
    """An entry of the current version."""

    value: JsonValue
    revision: Annotated[str, Field(min_length=1)]
    updated_at: Annotated[AwareDatetime, Field(alias="updatedAt")]
    key: str | None = None
    expires_at: Annotated[AwareDatetime | None, Field(alias="expiresAt")] = None


class OldStored(Model):
    """An entry of an older version that the contract accepts."""

    migration_required: Annotated[Literal[True], Field(alias="migrationRequired")]
    entry: Stored
    state_version: Annotated[str, Field(alias="stateVersion")]
    writer_digest: Annotated[str, Field(alias="writerContractDigest")]


class Found(Model):
    """The store has a value."""

    found: Literal[True]
    entry: Stored


class Missing(Model):
    """The store has no value."""

    found: Literal[False]


class Applied(Model):
    """A value was written."""

    applied: Literal[True]
    entry: Stored


class NotApplied(Model):
    """A value was not written: the store has another revision than the expected one."""

    applied: Literal[False]
    entry: OldStored | Stored | None = None


class DeleteAnswer(Model):
    """Whether a value was deleted."""

    deleted: bool


class ListAnswer(Model):
    """One page of a store."""

    entries: list[OldStored | Stored]
    next_offset: Annotated[int | None, Field(alias="nextOffset")] = None


GetAnswer: TypeAlias = OldStored | Found | Missing
PutAnswer: TypeAlias = Applied | NotApplied


def _spec(name: str, output: object) -> RpcSpec:
    return RpcSpec(name=name, subject=f"rpc.v1.{name}", input=StateRequest, output=output)


GET: Final = _spec("State.Get", GetAnswer)
PUT: Final = _spec("State.Put", PutAnswer)
DELETE: Final = _spec("State.Delete", DeleteAnswer)
LIST: Final = _spec("State.List", ListAnswer)
