"""Reads the facts. Nothing is changed; what the account may not look up is one of the facts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from time import monotonic
from typing import Final, TypeVar

from pydantic import JsonValue
from trellis_nats import Options, Runtime, Service
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.api import JsonObject, call
from trellis_nats._nats.jetstream.consumer_info import ConsumerInfo
from trellis_nats._nats.jetstream.kv import kv_stream
from trellis_nats._nats.jetstream.streams import (
    count_by_subject,
    count_subjects,
    create_consumer,
    delete_consumer,
    get_last_message,
    get_stream_info,
)
from trellis_nats.binding import keys_bucket_of
from trellis_nats.clock import now, parse_timestamp, timestamp
from trellis_nats.errors import ApiError, NoResponders, PermissionDenied, RequestTimeout
from trellis_nats.grants import Role
from trellis_nats.ids import is_token, new_id
from trellis_nats.jobs.maintenance.removed_queues import find_removed_queues
from trellis_nats.jobs.model.states import EventType
from trellis_nats.jobs.model.subjects import (
    ADVISORIES_STREAM,
    DELAYED_STREAM,
    EVENTS_PREFIX,
    STREAM,
    WORK_STREAM,
    WORKERS_PREFIX,
)
from trellis_nats.jobs.pause import read_pause
from trellis_nats.permissions.preflight import find_denied
from trellis_nats.permissions.roles import grants_of, trace_subject
from trellis_nats.provision import plan, plan_changes, read_state

from trellis_admin.doctor.excess import find_excess
from trellis_admin.doctor.facts import (
    NO_CONFIG,
    ContractFacts,
    Facts,
    HeartbeatFacts,
    QueueFacts,
    ServerFacts,
    StreamFacts,
    queue_of,
)

__all__ = ["Examined", "collect"]

Answer = TypeVar("Answer")

_LATELY: Final = timedelta(hours=1)
_SECOND_LOOK: Final = timedelta(seconds=2)
"""After how long a work stream that is behind is looked at again. A healthy source takes milliseconds."""
_HEARTBEATS_MAX: Final = 500
_LAG_MAX: Final = 10**9
"""Milliseconds: a number that is larger is not a lag."""
_DEATHS: Final = f"{EVENTS_PREFIX}.*.*.*.{EventType.DEAD}"
_NOT_ENABLED: Final = (10039, 10076)
"""JetStream is off for the account, or on the server."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Examined:
    """A contract to compare the server with."""

    service: type[Service]
    role: Role | None = None
    """Whose permissions the account should have; None: they are not compared."""


async def collect(
    connection: Connection, examined: Sequence[Examined] = (), options: Options | None = None
) -> Facts:
    """Read everything that the checks look at.

    Args:
        connection: to the server.
        examined: contracts to compare it with.
        options: those with which the connection was opened.

    Raises:
        TransportError: the server does not answer.
    """
    collecting = _Collecting(connection)
    return await collecting.run(examined, options or Options())


@dataclass(slots=True)
class _Collecting:
    connection: Connection
    unreadable: list[str] = field(default_factory=list[str])

    async def run(self, examined: Sequence[Examined], options: Options) -> Facts:
        server = await self._read_server()
        if not server.has_jetstream:
            return Facts(at=now(), server=server)
        streams = await self._read_streams((STREAM, WORK_STREAM, DELAYED_STREAM, ADVISORIES_STREAM))
        server = await self._read_clock(server)
        queues, unknown = await self._read_queues()
        heartbeats = await self._read_heartbeats() if STREAM in streams else []
        services = {queue.service for queue in queues} | {heartbeat.service for heartbeat in heartbeats}
        streams |= await self._read_streams([kv_stream(keys_bucket_of(name)) for name in sorted(services)])
        queues = [await self._read_pause(queue) for queue in queues]
        advisories = streams.get(ADVISORIES_STREAM)
        has_jobs = STREAM in streams
        return Facts(
            at=now(),
            server=server,
            streams=streams,
            queues=tuple(queues),
            unknown_consumers=tuple(unknown),
            heartbeats=tuple(heartbeats),
            contracts=tuple([await self._compare(one, options) for one in examined]),
            excess=await self._find_excess(examined, options),
            died_lately=await self._count_deaths(_LATELY) if has_jobs else 0,
            died=await self._count_dead() if has_jobs else 0,
            undelivered=0 if advisories is None else advisories.messages,
            unreadable=tuple(dict.fromkeys(self.unreadable)),
        )

    async def _may(self, question: Awaitable[Answer], default: Answer) -> Answer:
        """Return an answer, or the default where the account may not ask."""
        try:
            return await question
        except PermissionDenied as denial:
            self.unreadable.append(str(denial))
            return default

    async def _read_server(self) -> ServerFacts:
        connection = self.connection
        facts = ServerFacts(
            version=connection.server_version,
            servers=connection.server_count,
            max_payload=connection.max_payload,
        )
        try:
            account = await self._may(call(connection, "INFO"), {})
        except (NoResponders, RequestTimeout):
            return replace(facts, has_jetstream=False)
        except ApiError as error:
            if error.err_code not in _NOT_ENABLED:
                raise
            return replace(facts, has_jetstream=False)
        limits = account.get("limits")
        limit = limits.get("max_storage") if isinstance(limits, dict) else None
        used = account.get("storage")
        return replace(
            facts,
            storage_used=used if isinstance(used, int) else 0,
            storage_limit=limit if isinstance(limit, int) and limit > 0 else -1,
        )

    async def _read_clock(self, server: ServerFacts) -> ServerFacts:
        began, at = monotonic(), now()
        info = await self._may(get_stream_info(self.connection, STREAM), None)
        took = timedelta(seconds=monotonic() - began)
        match info:
            case {"ts": str(text)}:
                offset = parse_timestamp(text) - (at + took / 2)
                return replace(server, clock_offset=offset, clock_error=took / 2)
            case _:
                return server

    async def _read_streams(self, names: Sequence[str]) -> dict[str, StreamFacts]:
        infos = {name: await self._may(get_stream_info(self.connection, name), None) for name in names}
        found = {name: _parse_stream(info) for name, info in infos.items() if info is not None}
        work = found.get(WORK_STREAM)
        if work is not None and await self._is_behind(work):
            await asyncio.sleep(_SECOND_LOOK.total_seconds())
            info = await get_stream_info(self.connection, WORK_STREAM)
            if info is not None:
                again = _parse_stream(info)
                has_taken = again.last_sequence > work.last_sequence or (again.sourced or 0) > (
                    work.sourced or 0
                )
                is_stalled = not has_taken and await self._is_behind(again)
                found[WORK_STREAM] = replace(again, is_source_stalled=is_stalled)
        return found

    async def _is_behind(self, work: StreamFacts) -> bool:
        return work.lag > 0 or (work.sourced is not None and work.sourced < await self._find_newest())

    async def _find_newest(self) -> int:
        """Return the sequence of the newest event of JOBS that the work stream takes."""
        filters = [f"{EVENTS_PREFIX}.*.*.*.{event}" for event in (EventType.CREATED, EventType.RETRIED)]
        try:
            newest = [
                await self._may(get_last_message(self.connection, STREAM, one), None) for one in filters
            ]
        except NoResponders:  # the stream is not there, or without direct reads
            return 0
        return max((message.sequence for message in newest if message is not None), default=0)

    async def _read_queues(self) -> tuple[list[QueueFacts], list[tuple[str, str]]]:
        due = await self._list_consumers(DELAYED_STREAM)
        queues, unknown = list[QueueFacts](), list[tuple[str, str]]()
        for name, info in (await self._list_consumers(WORK_STREAM)).items():
            place = queue_of(name, info)
            if place is None:
                unknown.append((WORK_STREAM, name))
                continue
            queues.append(
                QueueFacts(
                    service=place[0],
                    queue=place[1],
                    consumer=name,
                    work=info,
                    work_stream=WORK_STREAM,
                    due=due.get(name),
                )
            )
        return sorted(queues, key=lambda queue: queue.name), unknown

    async def _list_consumers(self, stream: str) -> dict[str, ConsumerInfo]:
        found: dict[str, ConsumerInfo] = {}
        while True:
            try:
                answer = await self._may(
                    call(self.connection, f"CONSUMER.LIST.{stream}", {"offset": len(found)}), {}
                )
            except ApiError:  # there is no such stream
                return found
            page = [entry for entry in _list(answer, "consumers") if isinstance(entry, dict)]
            found |= {str(entry.get("name")): ConsumerInfo.parse(entry) for entry in page}
            total = answer.get("total")
            if not page or not isinstance(total, int) or len(found) >= total:
                return found

    async def _read_heartbeats(self) -> list[HeartbeatFacts]:
        subjects = sorted(
            await self._may(count_by_subject(self.connection, STREAM, f"{WORKERS_PREFIX}.>"), {})
        )
        found: list[HeartbeatFacts] = []
        for subject in subjects[:_HEARTBEATS_MAX]:
            tokens = subject.removeprefix(f"{WORKERS_PREFIX}.").split(".")
            message = await self._may(get_last_message(self.connection, STREAM, subject), None)
            if message is not None and len(tokens) == 4:  # noqa: PLR2004 - service, queue, instance, "heartbeat"
                found.append(
                    HeartbeatFacts(
                        service=tokens[0],
                        queue=tokens[1],
                        instance=tokens[2],
                        at=message.time,
                        is_stopping=_says(message.data, "stopping"),
                        loop_lag=_read_lag(message.data),
                    )
                )
        return found

    async def _read_pause(self, queue: QueueFacts) -> QueueFacts:
        if not is_token(queue.service) or not is_token(queue.queue):  # of other clients: it cannot be paused
            return queue
        pause = await self._may(read_pause(self.connection, queue.service, queue.queue), None)
        return replace(queue, pause=pause)

    async def _count_dead(self) -> int:
        """Count the jobs that died: each has one subject for its deaths."""
        return await self._may(count_subjects(self.connection, STREAM, _DEATHS), 0)

    async def _count_deaths(self, within: timedelta) -> int:
        """Count deaths of late, with a consumer that reads none of them."""
        name = f"doctor-{new_id()}"
        config: dict[str, JsonValue] = {
            "name": name,
            "ack_policy": "none",
            "filter_subject": _DEATHS,
            "mem_storage": True,
            "inactive_threshold": 5_000_000_000,
            "deliver_policy": "by_start_time",
            "opt_start_time": timestamp(now() - within),
        }
        info = await self._may(create_consumer(self.connection, STREAM, config), None)
        if info is None:
            return 0
        await self._may(delete_consumer(self.connection, STREAM, name), None)
        return info.pending

    async def _compare(self, examined: Examined, options: Options) -> ContractFacts:
        service = examined.service
        runtime = _runtime_of(examined, options)
        jobs = runtime.binding.jobs
        wanted = plan(runtime.requirements())
        state = await self._may(read_state(self.connection, wanted), None)
        changes = () if state is None else tuple(plan_changes(wanted, state, service.contract))
        removed = await self._may(find_removed_queues(self.connection, service.contract.name, jobs), [])
        missing = []
        if examined.role is not None:
            grants = grants_of(runtime, examined.role)
            missing = await find_denied(
                self.connection, grants, trace_to=trace_subject(service.contract.name)
            )
        return ContractFacts(
            contract=service.contract,
            jobs=jobs,
            changes=changes,
            removed=tuple(removed),
            role=examined.role,
            missing=tuple(missing),
        )

    async def _find_excess(self, examined: Sequence[Examined], options: Options) -> tuple[str, ...]:
        roles: dict[Role | None, list[Runtime]] = {
            one.role: [_runtime_of(other, options) for other in examined] for one in examined
        }
        found = [
            await find_excess(self.connection, runtimes, role)
            for role, runtimes in roles.items()
            if role is not None
        ]
        return tuple(dict.fromkeys(str(grant) for grants in found for grant in grants))


def _runtime_of(examined: Examined, options: Options) -> Runtime:
    runtime = Runtime(examined.service.contract, options)
    examined.service(runtime)
    return runtime


def _parse_stream(info: JsonObject) -> StreamFacts:
    state, config, cluster = _object(info, "state"), _object(info, "config"), _object(info, "cluster")
    sources = [source for source in _list(info, "sources") if isinstance(source, dict)]
    errors = [_object(source, "error").get("description") for source in sources]
    replicas = [replica for replica in _list(cluster, "replicas") if isinstance(replica, dict)]
    leader = cluster.get("leader")
    return StreamFacts(
        config=config,
        messages=_number(state, "messages"),
        size=_number(state, "bytes"),
        last_sequence=_number(state, "last_seq"),
        lag=sum(_number(source, "lag") for source in sources),
        sourced=next((_number(source, "seq") for source in sources if "seq" in source), None),
        source_error=next((error for error in errors if isinstance(error, str)), None),
        replicas_behind=tuple(
            str(replica.get("name"))
            for replica in replicas
            if replica.get("offline") is True or replica.get("current") is False
        ),
        leader=leader if isinstance(leader, str) and leader else None,
        is_clustered=bool(cluster.get("name")),
    )


def _object(content: JsonObject | dict[str, JsonValue], name: str) -> dict[str, JsonValue]:
    value = content.get(name)
    return value if isinstance(value, dict) else dict(NO_CONFIG)


def _list(content: JsonObject, name: str) -> list[JsonValue]:
    value = content.get(name)
    return value if isinstance(value, list) else []


def _number(content: JsonObject, name: str) -> int:
    value = content.get(name)
    return value if isinstance(value, int) else 0


def _parse(data: bytes) -> dict[str, JsonValue]:
    try:
        parsed: JsonValue = json.loads(data)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _says(data: bytes, word: str) -> bool:
    return any(part.get(word) is True for part in (_parse(data), _object(_parse(data), "trellis")) if part)


def _read_lag(data: bytes) -> timedelta:
    body = _parse(data)
    milliseconds = _number({**body, **_object(body, "trellis")}, "loopLagMs")
    return timedelta(milliseconds=milliseconds) if 0 <= milliseconds < _LAG_MAX else timedelta()
