"""Finds a value that one model writes and another refuses: a no is said only with one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from pydantic import JsonValue

from trellis_codegen.breaking.proof.evaluate import takes, writes
from trellis_codegen.breaking.proof.failures import Cause, Failure, Step, Way
from trellis_codegen.breaking.proof.hints import Hints, collect_hints
from trellis_codegen.breaking.proof.kinds import (
    UNDECLARED,
    Anything,
    Kind,
    Link,
    ListOf,
    Null,
    Number,
    Object,
    Text,
    Truth,
    Tuple,
    Union,
    Values,
    follow,
)
from trellis_codegen.breaking.proof.numbers import list_numbers
from trellis_codegen.breaking.proof.sizes import LONGEST_LIST, NoValue, make_smallest
from trellis_codegen.breaking.proof.texts import list_texts, matches_pattern

__all__ = ["Witness", "find_witness"]

_MOST_VALUES: Final = 600
_MOST_INSIDE: Final = 24
_DEEPEST: Final = 4
_LARGEST: Final = 5_000
"""A value of more parts is not tried: lists inside lists multiply."""
_SAMPLES: Final[tuple[JsonValue, ...]] = (None, True, "a", 7, 0.5, [], {}, -1, "", [None], {"other": None})
"""One of each JSON type, and some more."""


@dataclass(frozen=True, slots=True)
class Witness:
    """A value that shows a difference."""

    value: JsonValue
    """The whole value: the writer's model writes it, the reader's refuses it."""
    part: JsonValue
    """What stands in it at the place of the difference."""


def find_witness(
    failure: Failure, writer: Kind, reader: Kind, *, undeclared: bool, is_alone: bool
) -> Witness | None:
    """Return a value that shows a failure of a proof; None if none was found.

    `writer` and `reader` are the roots. If the failure is the only one, values that vary elsewhere are tried too.
    """
    pairs: list[tuple[Way, Kind, Kind]] = [
        (failure.way, failure.writer, failure.reader),
        (failure.site.way, failure.site.writer, failure.site.reader),
    ]
    if is_alone:
        pairs.append(((), writer, reader))
    for way, ours, theirs in pairs:
        hints = collect_hints(ours, theirs)
        for part in islice(_list_values(ours, hints, undeclared=undeclared), _MOST_VALUES):
            if not _is_about(failure, part) or _count_parts(part) > _LARGEST or takes(theirs, part):
                continue
            if not writes(ours, part, undeclared=undeclared):
                continue
            try:
                value = _build(writer, way, part)
            except NoValue:
                break
            if (
                _count_parts(value) <= _LARGEST
                and writes(writer, value, undeclared=undeclared)
                and not takes(reader, value)
            ):
                return Witness(value, part)
    return None


def _is_about(failure: Failure, part: JsonValue) -> bool:
    """Return whether an object has, or lacks, the member that a failure is about."""
    if not failure.name or not isinstance(part, dict):
        return True
    return (failure.name in part) is (failure.cause is not Cause.REQUIRED)


def _count_parts(value: JsonValue) -> int:
    """Return how many values are in a value; of a larger one than is tried, as many as show that."""
    count = 0
    pending = [value]
    while pending and count <= _LARGEST:
        found = pending.pop()
        count += 1
        if isinstance(found, dict):
            pending += found.values()
        elif isinstance(found, list):
            count += max(0, len(found) - _LARGEST)
            pending += found[:_LARGEST]
    return count


def _list_values(kind: Kind, hints: Hints, *, undeclared: bool, depth: int = _DEEPEST) -> Iterator[JsonValue]:
    """Yield values of a kind, simple ones first: small everywhere, and at one place at its edges."""
    match kind:
        case ListOf():
            yield from _list_lists(kind, hints, undeclared=undeclared, depth=depth)
        case Tuple(positions=positions):
            yield from _list_tuples(positions, hints, undeclared=undeclared, depth=depth)
        case Object():
            yield from _list_objects(kind, hints, undeclared=undeclared, depth=depth)
        case Union(members=members):
            yield from _interleave(
                [_list_values(member, hints, undeclared=undeclared, depth=depth) for member in members]
            )
        case Link(rank=rank):
            if rank is not None and depth > 0:
                yield from _list_values(kind.target, hints, undeclared=undeclared, depth=depth)
        case _:
            yield from _list_plain(kind, hints)


def _list_plain(kind: Kind, hints: Hints) -> Iterator[JsonValue]:
    """Yield values of a kind with nothing inside."""
    match kind:
        case Values(values=values):
            yield from values
        case Null():
            yield None
        case Truth():
            yield from (False, True)
        case Text():
            yield from list_texts(kind, hints.texts, hints.lengths)
        case Number():
            yield from list_numbers(kind, hints.numbers)
        case Anything():
            yield from _list_anything(hints)
        case _:
            pass


def _list_anything(hints: Hints) -> Iterator[JsonValue]:
    yield from _SAMPLES
    yield from hints.constants
    yield from hints.texts
    yield from list_numbers(Number(), hints.numbers)
    for count in hints.lengths:
        if count <= LONGEST_LIST:
            yield "a" * count
            yield list[JsonValue]([None] * count)
    for name in hints.names:
        yield {name: None}
        yield {name: "a"}
    yield dict[str, JsonValue](dict.fromkeys(hints.names))


def _list_lists(kind: ListOf, hints: Hints, *, undeclared: bool, depth: int) -> Iterator[JsonValue]:
    items = _take_inside(kind.item, hints, undeclared=undeclared, depth=depth)
    longest = kind.longest
    counts = list(dict.fromkeys([kind.shortest, 1, 2, kind.shortest + 1, *hints.lengths]))
    fitting = [
        count
        for count in counts
        if kind.shortest <= count <= LONGEST_LIST and (longest is None or count <= longest)
    ]
    for count in fitting:
        if count == 0:
            yield []
        elif items:
            yield [items[0]] * count
    least = max(kind.shortest, 1)
    if least <= LONGEST_LIST and (longest is None or least <= longest):
        for item in items:
            yield [item] + items[:1] * (least - 1)
        if longest is None or longest >= least + 1:
            yield from ([items[0], item] + items[:1] * (least - 1) for item in items)


def _list_tuples(
    positions: tuple[Kind, ...], hints: Hints, *, undeclared: bool, depth: int
) -> Iterator[JsonValue]:
    try:
        base = [make_smallest(each) for each in positions]
    except NoValue:
        return
    yield [*base]
    for index, position in enumerate(positions):
        for inner in _take_inside(position, hints, undeclared=undeclared, depth=depth):
            yield [*base[:index], inner, *base[index + 1 :]]


def _list_objects(kind: Object, hints: Hints, *, undeclared: bool, depth: int) -> Iterator[JsonValue]:
    try:
        base = {name: make_smallest(kind.members[name]) for name in kind.members if name in kind.required}
    except NoValue:
        return
    yield dict(base)
    inner = {
        name: _take_inside(member, hints, undeclared=undeclared, depth=depth)
        for name, member in kind.members.items()
    }
    full = {**base, **{name: values[0] for name, values in inner.items() if values and name not in base}}
    further = _list_further(kind, hints, undeclared=undeclared, depth=depth)
    for name, values in {**inner, **further}.items():
        for value in values:
            yield {**base, name: value}
    yield dict(full)
    for name, values in {**inner, **further}.items():
        for value in values:
            yield {**full, name: value}
    yield {**full, **{name: values[0] for name, values in further.items()}}
    names = [name for name, values in inner.items() if values][:_DEEPEST]
    for index, name in enumerate(names):
        for other in names[index + 1 :]:
            yield from (
                {**base, name: one, other: two} for one in inner[name][:6] for two in inner[other][:6]
            )


def _list_further(kind: Object, hints: Hints, *, undeclared: bool, depth: int) -> dict[str, list[JsonValue]]:
    """Return values of members that the kind does not declare, by name."""
    further = kind.further
    if further is None or (further is UNDECLARED and not undeclared):
        return {}
    values = _take_inside(further, hints, undeclared=undeclared, depth=depth)
    return {
        name: values
        for name in hints.names
        if name not in kind.members and values and (kind.names is None or matches_pattern(kind.names, name))
    }


def _take_inside(kind: Kind, hints: Hints, *, undeclared: bool, depth: int) -> list[JsonValue]:
    if depth <= 0:
        try:
            return [make_smallest(kind)]
        except NoValue:
            return []
    found = _list_values(kind, hints, undeclared=undeclared, depth=depth - 1)
    return [*islice(found, _MOST_INSIDE)]


def _interleave(sources: Iterable[Iterator[JsonValue]]) -> Iterator[JsonValue]:
    """Yield one value of each source in turn."""
    pending = [*sources]
    while pending:
        rest: list[Iterator[JsonValue]] = []
        for source in pending:
            for value in source:
                yield value
                rest.append(source)
                break
        pending = rest


def _build(kind: Kind, way: Way, part: JsonValue) -> JsonValue:
    if not way:
        return part
    step, rest = way[0], way[1:]
    match follow(kind), step:
        case Union(members=members), Step("choice", int(index)):
            return _build(members[index], rest, part)
        case Object() as found, Step("member", str(name)):
            inner = found.members.get(name, found.further)
            if inner is None:
                raise NoValue
            return {**_make_object(found), name: _build(inner, rest, part)}
        case Object(further=further) as found, Step("further") if further is not None:
            return {**_make_object(found), _find_name(found): _build(further, rest, part)}
        case ListOf() as found, Step("item" | "position"):
            if found.shortest > LONGEST_LIST:
                raise NoValue
            item = _build(found.item, rest, part)
            index = step.name if isinstance(step.name, int) else 0
            others = [make_smallest(found.item)] * (found.shortest - 1) if found.shortest > 1 else []
            return [*others[:index], item, *others[index:]]
        case Tuple(positions=positions), Step("position", int(index)):
            values = [make_smallest(each) if at != index else None for at, each in enumerate(positions)]
            values[index] = _build(positions[index], rest, part)
            return values
        case _:
            raise NoValue


def _make_object(kind: Object) -> dict[str, JsonValue]:
    return {name: make_smallest(kind.members[name]) for name in kind.members if name in kind.required}


def _find_name(kind: Object) -> str:
    for name in collect_hints(kind).names:
        if name not in kind.members and (kind.names is None or matches_pattern(kind.names, name)):
            return name
    raise NoValue
