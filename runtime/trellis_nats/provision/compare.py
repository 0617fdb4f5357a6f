"""Compares what exists with what is required. Pure.

Each difference in a setting that correctness depends on is a sentence of its own: it stops the start. What else the contract
states is tolerated: the process works with what the server has, and one sentence for each resource says what differs. A
control plane or an operator may choose what the contract does not state, such as replicas.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Final, cast

from trellis_nats._nats.jetstream.consumer_info import ConsumerInfo
from trellis_nats.provision.requirements import ConsumerRequirement, StreamRequirement

__all__ = [
    "compare_consumer",
    "consumer_deviations",
    "consumer_differences",
    "consumer_remarks",
    "filters_of",
    "foreign_traits",
    "is_as_platform",
    "shown",
    "stream_deviations",
    "stream_differences",
    "stream_remarks",
    "values_differ",
]

Config = Mapping[str, object]

_LIMITS: Final = ("max_msgs", "max_bytes", "max_msgs_per_subject")
"""Above 0, a full stream drops messages that it accepted, or refuses new ones."""
_BREAKS: Final = ("sealed", "no_ack")
_DURATIONS: Final = ("max_age", "ack_wait")
_ROOM: Final = 1_000
"""Below this, `max_ack_pending` can be as small as the handlers of a queue: an operator may want that (decision 18)."""


def stream_differences(wanted: StreamRequirement, existing: Config) -> list[str]:
    """Return how an existing stream differs from the required one; nothing when it will do."""
    what = wanted.title
    compared = (_difference(field, wanted.config, existing) for field in wanted.compared)
    found = [text for text in compared if text is not None]
    found += [f"{field} is true" for field in _BREAKS if existing.get(field) is True]
    found += _missing_transforms(wanted.config, existing)
    found += _renamed_subjects(wanted, existing)
    if wanted.sufficient_subjects and not _has_any_subject(wanted.sufficient_subjects, existing):
        subjects = " or ".join(wanted.sufficient_subjects)
        found.append(f"subjects is {shown('subjects', existing)}, without {subjects}")
    return [f"{what} differs: {text}" for text in found]


def stream_remarks(wanted: StreamRequirement, existing: Config) -> list[str]:
    """Return what an operator should know about limits of an existing stream, which do not keep it from being used."""
    limits = [f"{field} {existing[field]}" for field in _LIMITS if _number(existing, field) > 0]
    if not wanted.is_lossless or not limits:
        return []
    effect = (
        "it refuses new messages"
        if existing.get("discard") == "new"
        else "it drops the oldest messages, also those of jobs that have not ended (discard: new refuses new ones instead)"
    )
    return [f'stream "{wanted.name}" has {" and ".join(limits)}: when it is full, {effect}']


def stream_deviations(wanted: StreamRequirement, existing: Config) -> list[str]:
    """Return what an existing stream that will do has otherwise than the contract states."""
    found = [
        text
        for field in wanted.tolerated
        if (text := _difference(field, wanted.config, existing)) is not None
    ]
    return _deviation(wanted.title, found)


def compare_consumer(wanted: ConsumerRequirement, info: ConsumerInfo) -> tuple[list[str], list[str]]:
    """Return the differences of a consumer as the server describes it, and what else to log about it.

    What another runtime's consumer has is not among the differences: where a control plane provisions, it will do.
    """
    oddities = [
        *foreign_traits(wanted, info.config),
        *consumer_deviations(wanted, info.config),
        *consumer_remarks(wanted, info.config),
    ]
    return consumer_differences(wanted, info.config), oddities


def consumer_differences(wanted: ConsumerRequirement, existing: Config) -> list[str]:
    """Return what prevents pulling from an existing consumer at all; nothing when it will do."""
    found = [text for text in (_difference("ack_policy", wanted.config, existing),) if text is not None]
    needed, present = filters_of(wanted.config), filters_of(existing)
    will_do = set(needed) <= set(present) if wanted.may_filter_more else needed == present
    if existing.get("headers_only") is True:
        found.append("headers_only is true, so that messages arrive without their bodies")
    if not will_do:
        found.append(f"it filters {', '.join(present) or 'nothing'}, not {', '.join(needed)}")
    return _sentences(wanted, found)


def foreign_traits(wanted: ConsumerRequirement, existing: Config) -> list[str]:
    """Return the signs that another runtime created a consumer. Where this runtime owns it, they stop the start."""
    traits = _traits_of_another_runtime(existing)
    if not traits:
        return []
    text = (
        f"another runtime created it: {' and '.join(traits)}; here the worker counts and delays retries, so the "
        "server must do neither"
    )
    return _sentences(wanted, [text])


def is_as_platform(wanted: ConsumerRequirement, existing: Config) -> bool:
    """Return whether a consumer is as the control plane of other runtimes makes it from the binding of this process."""
    return bool(wanted.as_platform) and not any(
        values_differ(setting, wanted.as_platform, existing) for setting in wanted.as_platform
    )


def consumer_deviations(wanted: ConsumerRequirement, existing: Config) -> list[str]:
    """Return what an existing consumer that will do has otherwise than the contract states."""
    is_foreign = bool(_traits_of_another_runtime(existing))  # a backoff replaces the ack wait
    found = [
        text
        for field in wanted.tolerated
        if not (is_foreign and field == "ack_wait")
        and (text := _difference(field, wanted.config, existing)) is not None
    ]
    more = sorted(set(filters_of(existing)) - set(filters_of(wanted.config)))
    if wanted.may_filter_more and more:
        found.append(f"it also filters {', '.join(more)}")
    return _deviation(wanted.title, found)


def consumer_remarks(wanted: ConsumerRequirement, existing: Config) -> list[str]:
    """Return what an operator may have chosen for an existing consumer, and what it costs."""
    room = _number(existing, "max_ack_pending")
    if "max_ack_pending" in wanted.tolerated or not 0 < room < min(
        _ROOM, _number(wanted.config, "max_ack_pending")
    ):
        return []
    return _sentences(
        wanted,
        [
            f"max_ack_pending is {room}: while as many jobs run, or wait without being parked, no other is delivered"
        ],
    )


def _sentences(wanted: ConsumerRequirement, found: list[str]) -> list[str]:
    return [f"{wanted.title} differs: {text}" for text in found]


def _deviation(what: str, found: list[str]) -> list[str]:
    if not found:
        return []
    text = f"{what} is not as this version of the contract states: {', '.join(found)}"
    return [text]


def values_differ(field: str, one: Config, other: Config) -> bool:
    """Return whether a setting has different values; no limit has several spellings."""
    return _comparable(one.get(field)) != _comparable(other.get(field))


def _difference(field: str, wanted: Config, existing: Config) -> str | None:
    if not values_differ(field, wanted, existing):
        return None
    return f"{field} is {shown(field, existing)}, not {shown(field, wanted)}"


def _comparable(value: object) -> object:
    if isinstance(value, list):
        return sorted(map(str, cast("list[object]", value)))
    # No limit, or off: servers leave such fields out, or write 0 or -1.
    return None if value in {0, -1} else value


def shown(field: str, config: Config) -> str:
    """Return the value of a setting as texts show it."""
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


def _missing_transforms(wanted: Config, existing: Config) -> list[str]:
    """Look for each required transform, whether they are in one source entry or in several."""
    present = set(_transforms(existing))
    return [
        f'it has no source {name} that turns "{source}" into "{target}"'
        for name, source, target in _transforms(wanted)
        if (name, source, target) not in present
    ]


def _renamed_subjects(wanted: StreamRequirement, existing: Config) -> list[str]:
    """Look for a transform of what is published: no worker and no reader knows the other subjects."""
    if "subjects" not in wanted.compared:
        return []
    return [
        f'subject_transform stores "{transform.get("src") or ">"}" as "{transform.get("dest")}": what is published there is '
        "acknowledged, and no reader or worker finds it"
        for transform in _mappings([existing.get("subject_transform")])
        if transform.get("src") != transform.get("dest")
    ]


def _transforms(config: Config) -> list[tuple[object, object, object]]:
    return [
        (source.get("name"), transform.get("src"), transform.get("dest"))
        for source in _mappings(config.get("sources"))
        for transform in _mappings(source.get("subject_transforms"))
    ]


def _has_any_subject(sufficient: tuple[str, ...], existing: Config) -> bool:
    subjects = cast("list[object]", existing.get("subjects") or [])
    return any(subject in sufficient for subject in subjects)


def filters_of(config: Config) -> list[str]:
    """Return the filters of a consumer, in order, however they are spelled."""
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
        traits.append(f"it has max_deliver {deliveries}, after which the server no longer delivers a job")
    return traits


def _mappings(value: object) -> list[Config]:
    entries = cast("list[object]", value) if isinstance(value, list) else []
    return [cast("Config", entry) for entry in entries if isinstance(entry, dict)]
