"""Changes of buckets, stores and states between two versions of a contract."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Final

from pydantic import JsonValue
from trellis_admin.provisioning import apply_service
from trellis_nats import Service
from trellis_nats.testing import NatsServer

from tests.support.eventually import eventually
from tests.support.rolling.contract_calls import problem_of
from tests.support.rolling.contract_cases import RECORD, ContractCase, Seen
from tests.support.rolling.deliveries import IMPATIENT, SOON
from tests.support.rolling.versions import Version, Versions, has, member
from tests.support.rule_contracts import JsonObject
from tests.support.state_service import StoreRules, state_platform
from trellis_codegen.breaking.rules.grades import Column

__all__ = ["KEPT_CASES"]

_KEY: Final = "key"
_CONTENT: Final = b"x" * 100


async def _write(service: Service, version: Version, key: str = _KEY) -> None:
    """Write a value into the bucket, and a file into the store, as far as the version has them."""
    if has(service, "kv", "k"):
        await member(service, "kv", "k").put(key, version.read("R", RECORD))
    if has(service, "stores", "s"):
        await member(service, "stores", "s").put(key, _CONTENT)


async def _find(service: Service) -> str | None:
    """Return what is wrong with the value or the file."""
    if has(service, "kv", "k"):
        found = await member(service, "kv", "k").get(_KEY)
    elif has(service, "stores", "s"):
        found = await member(service, "stores", "s").get(_KEY)
    else:
        return "no process of this version reads it"
    return None if found is not None else "it is gone"


async def keep(it: Versions) -> Seen:
    """Let each version read what the other one writes, and write next to it; the new one is applied in between."""
    async with NatsServer() as server, AsyncExitStack() as stack:
        old = await stack.enter_async_context(it.old.service.connect(server.url, options=IMPATIENT))
        await _write(old, it.old)
        new = await stack.enter_async_context(it.new.service.connect(server.url, options=IMPATIENT))
        if has(new, "kv", "k") or has(new, "stores", "s"):
            assert await _find(new) is None  # starting alone changes nothing
        assert (await apply_service(it.new.service, server.url, IMPATIENT, allow_destroy=True)).is_done
        written = await problem_of(_write(old, it.old, "other"))
        if _is_brief(it.new):
            await eventually(lambda: _is_gone(new), within=SOON)
        stored = await _find(new) or await problem_of(_write(new, it.new))
    return {Column.PRODUCERS: written, Column.STORED: stored}


def _is_brief(version: Version) -> bool:
    """Return whether the contract states how long a value is kept."""
    resources = version.manifest.resources
    buckets = (resources.kv if resources else None) or {}
    stores = (resources.store if resources else None) or {}
    return any(each.ttl_ms for each in buckets.values()) or any(each.ttl_ms for each in stores.values())


async def _is_gone(service: Service) -> bool:
    return await _find(service) is not None


async def lower_history(it: Versions) -> Seen:
    """Look for older revisions once the new version is applied."""
    async with (
        NatsServer() as server,
        it.old.service.connect(server.url, options=IMPATIENT) as old,
        it.new.service.connect(server.url, options=IMPATIENT) as new,
    ):
        for _ in range(3):
            await _write(old, it.old)
        assert len(await member(new, "kv", "k").history(_KEY)) == 3
        await apply_service(it.new.service, server.url, IMPATIENT, allow_destroy=True)
        kept = len(await member(new, "kv", "k").history(_KEY))
    return {Column.STORED: None if kept == 3 else f"{kept} of 3 revisions are left"}


async def keep_state(it: Versions) -> Seen:
    """Let each version of an app read what the other one put, as the platform keeps it."""
    return {
        Column.STORED: await _read_state(it.old, it.new),
        Column.OLD_WORKERS: await _read_state(it.new, it.old) if it.new.manifest.state else None,
    }


async def _read_state(writer: Version, reader: Version) -> str | None:
    async with (
        NatsServer() as server,
        state_platform(server.url, _rules_of(writer)) as platform,
        writer.client.connect(server.url, options=IMPATIENT) as device,
        reader.client.connect(server.url, options=IMPATIENT) as other,
    ):
        for version in _versions_of(writer):
            platform.declare({"view": StoreRules(is_map=_is_map(writer), version=version)})
            if _is_map(writer):
                await member(device, "state", "view").put(_KEY, writer.read("R", RECORD))
            else:
                await member(device, "state", "view").put(writer.read("R", RECORD))
            platform.declare(_rules_of(reader))
            if not has(other, "state", "view"):
                return "no app of this version reads it"
            found = None

            async def look() -> None:
                nonlocal found
                key = [_KEY] if _is_map(reader) else []
                found = await member(other, "state", "view").get(*key)

            problem = await problem_of(look())
            if problem is not None or found is None:
                return problem or "it is not found"
    return None


def _is_map(version: Version) -> bool:
    return any(state.kind == "map" for state in (version.manifest.state or {}).values())


def _rules_of(version: Version) -> dict[str, StoreRules]:
    return {
        name: StoreRules(is_map=state.kind == "map", version=state.state_version or "v1")
        for name, state in (version.manifest.state or {}).items()
    }


def _versions_of(version: Version) -> list[str]:
    """Return the versions of the entries that an app may have written, or still reads."""
    state = (version.manifest.state or {})["view"]
    return [*(state.accepted_versions or {}), state.state_version or "v1"]


def _bucket(**fields: JsonValue) -> JsonObject:
    return {"resources": {"kv": {"k": {"purpose": "Values.", "schema": {"schema": "R"}, **fields}}}}


def _store(**fields: JsonValue) -> JsonObject:
    return {"resources": {"store": {"s": {"purpose": "Files.", **fields}}}}


KEPT_CASES: Final = (
    ContractCase(rule="KV_REMOVED", scenario=keep),
    ContractCase(rule="KV_TTL_LOWERED", scenario=keep, pair=(_bucket(), _bucket(ttlMs=200))),
    ContractCase(rule="KV_HISTORY_LOWERED", scenario=lower_history),
    ContractCase(
        rule="KV_MAX_VALUE_LOWERED",
        scenario=keep,
        pair=(_bucket(maxValueBytes=1_000), _bucket(maxValueBytes=10)),
    ),
    ContractCase(rule="KV_LIMIT_RAISED", scenario=keep),
    ContractCase(rule="STORE_REMOVED", scenario=keep),
    ContractCase(rule="STORE_TTL_LOWERED", scenario=keep, pair=(_store(), _store(ttlMs=200))),
    ContractCase(rule="STORE_LIMIT_LOWERED", scenario=keep),
    ContractCase(
        rule="STORE_LIMIT_LOWERED",
        name="in all",
        scenario=keep,
        pair=(_store(maxTotalBytes=100_000), _store(maxTotalBytes=500)),
    ),
    ContractCase(rule="STATE_REMOVED", scenario=keep_state),
    ContractCase(rule="STATE_KIND_CHANGED", scenario=keep_state),
    ContractCase(rule="STATE_VERSION_NOT_ACCEPTED", scenario=keep_state),
    ContractCase(rule="STATE_ACCEPTED_REMOVED", scenario=keep_state),
)
"""What is driven of the rules about buckets, stores and states."""
