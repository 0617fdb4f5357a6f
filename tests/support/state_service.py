"""A stand-in for the platform's `trellis.state@v1`: what a recorded device asked, it answers as recorded."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import ClassVar, Final, TypeAlias

from pydantic import JsonValue
from trellis_nats import (
    RUNTIME_API,
    Contract,
    RpcContext,
    RpcEndpoint,
    RpcSpec,
    Runtime,
    Service,
    ValidationError,
)
from trellis_nats.clock import now, timestamp
from trellis_nats.codec import encode_json

__all__ = ["JsonObject", "StatePlatform", "StoreRules", "state_platform"]

JsonObject: TypeAlias = dict[str, JsonValue]
Endpoint: TypeAlias = RpcEndpoint[JsonObject, JsonObject]


@dataclass(frozen=True, kw_only=True)
class StoreRules:
    """What the contract of the caller declares about a store."""

    is_map: bool
    version: str = "v1"


@dataclass(frozen=True, kw_only=True)
class _Kept:
    entry: JsonObject
    version: str
    expires: datetime | None


@dataclass
class _Values:
    """The values of one caller."""

    rules: Mapping[str, StoreRules]
    kept: dict[tuple[str, str], _Kept] = field(default_factory=dict[tuple[str, str], _Kept])
    revision: int = 0

    def check(self, request: JsonObject, *, needs_key: bool = True) -> tuple[str, str]:
        """Return the store and the key of a request, as the platform checks them."""
        store, key = str(request["store"]), request.get("key")
        rules = self.rules.get(store)
        if rules is None:
            raise invalid("/store", f"state store '{store}' is not declared by the contract")
        if not rules.is_map and key is not None:
            raise invalid("/key", "value stores do not accept key")
        if rules.is_map and needs_key and key is None:
            raise invalid("/key", "map stores require key")
        if len(str(key or "").encode()) > 512:
            raise invalid("/key", "state key exceeds 512 bytes")
        return store, str(key or "")

    def find(self, place: tuple[str, str]) -> _Kept | None:
        kept = self.kept.get(place)
        return None if kept is None or (kept.expires is not None and kept.expires <= now()) else kept

    def write(self, kept: _Kept) -> JsonObject:
        """Write an entry; one of another version in the form that says so."""
        store = next(place[0] for place, each in self.kept.items() if each is kept)
        current = self.rules[store].version
        if kept.version == current:
            return kept.entry
        return {
            "migrationRequired": True,
            "entry": kept.entry,
            "stateVersion": kept.version,
            "currentStateVersion": current,
            "writerContractDigest": "w" * 43,
        }


class StatePlatform(Service):
    """The service."""

    contract: ClassVar[Contract] = Contract(
        id="trellis.state@v1", digest="s" * 43, generator="0", runtime_api=RUNTIME_API
    )

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.get: Final = endpoint(runtime, "State.Get")
        self.put: Final = endpoint(runtime, "State.Put")
        self.delete: Final = endpoint(runtime, "State.Delete")
        self.list: Final = endpoint(runtime, "State.List")
        self.values = _Values({})
        self.calls: list[tuple[str, JsonObject]] = []
        """The name and the request of each call, in order."""

    def declare(self, rules: Mapping[str, StoreRules]) -> None:
        """Serve a contract; the values that another one wrote stay."""
        self.values.rules = rules


def endpoint(runtime: Runtime, name: str) -> Endpoint:
    spec = RpcSpec(name=name, subject=f"rpc.v1.{name}", input=JsonObject, output=JsonObject)
    return Endpoint(runtime, spec)


def invalid(path: str, message: str) -> ValidationError:
    return ValidationError(f"Validation failed. {path}: {message}.", [(path, message)])


@asynccontextmanager
async def state_platform(url: str, rules: Mapping[str, StoreRules]) -> AsyncGenerator[StatePlatform]:
    """Run the stand-in for one caller, whose contract has these stores."""
    async with StatePlatform.connect(url) as platform:
        platform.declare(rules)
        _serve_values(platform, platform.values)
        _serve_lists(platform, platform.values)
        await platform.start()
        yield platform


def _serve_values(platform: StatePlatform, values: _Values) -> None:
    @platform.get.handle
    async def get(context: RpcContext, request: JsonObject) -> JsonObject:
        platform.calls.append(("State.Get", request))
        kept = values.find(values.check(request))
        if kept is None:
            return {"found": False}
        written = values.write(kept)
        return written if "migrationRequired" in written else {"found": True, "entry": written}

    @platform.put.handle
    async def put(context: RpcContext, request: JsonObject) -> JsonObject:
        platform.calls.append(("State.Put", request))
        place = values.check(request)
        if len(encode_json(request["value"])) > 65536:
            raise invalid("/value", "state value exceeds 65536 bytes")
        kept = values.find(place)
        present = None if kept is None else kept.entry["revision"]
        if "expectedRevision" in request and request["expectedRevision"] != present:
            return {
                "applied": False,
                "found": kept is not None,
                **({} if kept is None else {"entry": values.write(kept)}),
            }
        return {"applied": True, "entry": _store(values, place, request)}

    @platform.delete.handle
    async def delete(context: RpcContext, request: JsonObject) -> JsonObject:
        platform.calls.append(("State.Delete", request))
        place = values.check(request)
        kept = values.find(place)
        if kept is None or request.get("expectedRevision", kept.entry["revision"]) != kept.entry["revision"]:
            return {"deleted": False}
        del values.kept[place]
        values.revision += 1
        return {"deleted": True}


def _serve_lists(platform: StatePlatform, values: _Values) -> None:
    @platform.list.handle
    async def list_(context: RpcContext, request: JsonObject) -> JsonObject:
        platform.calls.append(("State.List", request))
        store, _ = values.check(request, needs_key=False)
        if not values.rules[store].is_map:
            raise invalid("/store", "value stores do not support list")
        offset, limit = request.get("offset", 0), request["limit"]
        assert isinstance(offset, int)
        assert isinstance(limit, int)
        if limit > 100:
            raise invalid("/limit", "state list limit exceeds 100")
        prefix = str(request.get("prefix", ""))
        places = sorted(place for place in values.kept if place[0] == store and place[1].startswith(prefix))
        found = [kept for place in places if (kept := values.find(place)) is not None]
        following: JsonObject = {"nextOffset": offset + limit} if offset + limit < len(found) else {}
        entries: list[JsonValue] = [values.write(kept) for kept in found[offset : offset + limit]]
        return {"count": len(found), "offset": offset, "limit": limit, **following, "entries": entries}


def _store(values: _Values, place: tuple[str, str], request: JsonObject) -> JsonObject:
    values.revision += 1
    at, ttl = now(), request.get("ttlMs")
    expires = at + timedelta(milliseconds=ttl) if isinstance(ttl, int) else None
    entry: JsonObject = {
        **({"key": place[1]} if place[1] else {}),
        "value": request["value"],
        "revision": str(values.revision),
        "updatedAt": timestamp(at),
        **({} if expires is None else {"expiresAt": timestamp(expires)}),
    }
    values.kept[place] = _Kept(entry=entry, version=values.rules[place[0]].version, expires=expires)
    return entry
