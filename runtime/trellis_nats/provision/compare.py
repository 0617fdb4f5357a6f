"""What exists against what is wanted: human sentences, one for each difference that matters. Pure.

Only that is compared on which correctness rests. A control plane or an operator may choose replicas, ages and other
limits as they like.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Final, cast

from trellis_nats.provision.plan import (
    JOBS,
    JOBS_ADVISORIES,
    JOBS_WORK,
    WORK_TRANSFORMS,
    ConsumerPlan,
    StreamPlan,
    plan,
)
from trellis_nats.provision.requirements import QueueNeed, Requirements

__all__ = ["consumer_deviations", "consumer_differences", "stream_differences", "unfitness"]

Config = Mapping[str, object]

_COMPARED: Final[Mapping[str, tuple[str, ...]]] = {
    JOBS: ("subjects", "retention", "storage", "discard", "allow_direct"),
    JOBS_WORK: ("subjects", "retention", "storage"),
    JOBS_ADVISORIES: ("retention", "storage"),
}
_COMPARED_BUCKET: Final = (
    "subjects",
    "retention",
    "max_msgs_per_subject",
    "max_age",
    "max_msg_size",
    "allow_direct",
)
_COMPARED_OTHER: Final = ("subjects", "retention", "storage")
_LOSES: Final = ("max_msgs", "max_bytes", "max_msgs_per_subject")
"""Limits above 0 with which a stream of jobs silently drops what it accepted."""
_BREAKS: Final = ("sealed", "no_ack")
_DURATIONS: Final = ("max_age", "ack_wait")


def stream_differences(wanted: StreamPlan, existing: Config) -> list[str]:
    """Say how an existing stream differs from the wanted one; nothing when it will do."""
    what = f'bucket "{wanted.bucket}"' if wanted.bucket is not None else f'stream "{wanted.name}"'
    fields = _COMPARED_BUCKET if wanted.bucket is not None else _COMPARED.get(wanted.name, _COMPARED_OTHER)
    found = [text for field in fields if (text := _difference(field, wanted.config, existing)) is not None]
    found += [f"{field} is true" for field in _BREAKS if existing.get(field) is True]
    if wanted.name in {JOBS, JOBS_WORK}:
        found += [
            f"{field} is {existing[field]}, not unlimited" for field in _LOSES if _number(existing, field) > 0
        ]
    if wanted.name == JOBS_WORK:
        found += _missing_transforms(existing)
    if wanted.name == JOBS_ADVISORIES and not _hears_advisories(existing):
        found.append(f"subjects are {_shown('subjects', existing)}, without the advisories of {JOBS_WORK}")
    return [f"{what} differs: {text}" for text in found]


def unfitness(need: QueueNeed, info: Mapping[str, object]) -> tuple[list[str], list[str]]:
    """Say of a work consumer, as the server describes it, what keeps it from being worked, and what is only odd."""
    wanted = plan(Requirements(queues=(need,)), atomic=False).consumers[0]
    config = cast("Config", info.get("config") or {})
    return consumer_differences(wanted, config), consumer_deviations(wanted, config)


def consumer_differences(wanted: ConsumerPlan, existing: Config) -> list[str]:
    """Say what keeps an existing consumer from being worked at all; nothing when it can be."""
    found = [text for text in (_difference("ack_policy", wanted.config, existing),) if text is not None]
    if _filters(existing) != _filters(wanted.config):
        found.append(
            f"it filters {', '.join(_filters(existing)) or 'nothing'}, not {wanted.config['filter_subject']}"
        )
    return _told(wanted, found)


def consumer_deviations(wanted: ConsumerPlan, existing: Config) -> list[str]:
    """Say where a consumer that can be worked is not as this runtime makes them: another one may have made it."""
    foreign = _traits_of_another_runtime(existing)
    fields = ("deliver_policy",) if foreign else ("deliver_policy", "ack_wait")
    found = [text for field in fields if (text := _difference(field, wanted.config, existing)) is not None]
    room, needed = _number(existing, "max_ack_pending"), _number(wanted.config, "max_ack_pending")
    if 0 < room < needed:
        found.append(f"max_ack_pending is {room}, less than {needed}: retries that wait would stop the queue")
    if foreign:
        found.append(
            f"it was made by another runtime: {' and '.join(foreign)}; retries are counted and delayed by the worker "
            "here, so that the server must do neither"
        )
    return _told(wanted, found)


def _told(wanted: ConsumerPlan, found: list[str]) -> list[str]:
    return [f'consumer "{wanted.name}" of stream "{wanted.stream}" differs: {text}' for text in found]


def _difference(field: str, wanted: Config, existing: Config) -> str | None:
    want, have = _comparable(wanted.get(field)), _comparable(existing.get(field))
    return None if want == have else f"{field} is {_shown(field, existing)}, not {_shown(field, wanted)}"


def _comparable(value: object) -> object:
    if isinstance(value, list):
        return sorted(map(str, cast("list[object]", value)))
    # No limit, or off: servers leave such fields out, or write 0 or -1.
    return None if value in {0, -1} else value


def _shown(field: str, config: Config) -> str:
    match config.get(field):
        case None:
            return "not set"
        case bool() as value:
            return str(value).lower()
        case 0 | -1:
            return "unlimited"
        case int() as value if field in _DURATIONS:
            return _duration(value)
        case list():
            return ", ".join(map(str, cast("list[object]", config[field])))
        case value:
            return str(value)


def _duration(nanoseconds: int) -> str:
    return f"{timedelta(microseconds=nanoseconds / 1000).total_seconds():g} s"


def _number(config: Config, field: str) -> int:
    value = config.get(field)
    return value if isinstance(value, int) else 0


def _missing_transforms(existing: Config) -> list[str]:
    """Look for each transform, whether they stand in one source entry or in several."""
    present: set[tuple[object, object]] = set()
    for source in _mappings(existing.get("sources")):
        if source.get("name") == JOBS:
            present |= {
                (each.get("src"), each.get("dest")) for each in _mappings(source.get("subject_transforms"))
            }
    return [
        f'it has no source {JOBS} that turns "{source}" into "{target}"'
        for source, target in WORK_TRANSFORMS
        if (source, target) not in present
    ]


def _hears_advisories(existing: Config) -> bool:
    prefix = "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES."
    subjects = cast("list[object]", existing.get("subjects") or [])
    return any(each in {f"{prefix}>", f"{prefix}{JOBS_WORK}.>"} for each in subjects)


def _filters(config: Config) -> list[str]:
    several = cast("list[object]", config.get("filter_subjects") or [])
    single = config.get("filter_subject")
    return sorted(map(str, several)) if several else [str(single)] if single else []


def _traits_of_another_runtime(existing: Config) -> list[str]:
    traits: list[str] = []
    backoff = cast("list[int]", existing.get("backoff") or [])
    if backoff:
        traits.append(f"it has backoff {', '.join(map(_duration, backoff))}, which replaces the ack wait")
    deliveries = _number(existing, "max_deliver")
    if deliveries > 0:
        traits.append(f"it has max_deliver {deliveries}, after which the server strands a job")
    return traits


def _mappings(value: object) -> list[Config]:
    entries = cast("list[object]", value) if isinstance(value, list) else []
    return [cast("Config", each) for each in entries if isinstance(each, dict)]
