"""Proves that every value that one model writes is read by another, or finds the places where the proof fails."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from pydantic import JsonValue

from trellis_codegen.breaking.proof.evaluate import takes
from trellis_codegen.breaking.proof.failures import Cause, Failure, Site, Step, Way
from trellis_codegen.breaking.proof.kinds import (
    ANYTHING,
    NULL,
    TRUTH,
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
    list_members,
)
from trellis_codegen.breaking.proof.numbers import find_step, tighten, write_number
from trellis_codegen.breaking.proof.partners import find_partner
from trellis_codegen.breaking.proof.sizes import NoValue, has_value, make_smallest
from trellis_codegen.breaking.proof.splits import list_splits
from trellis_codegen.breaking.proof.texts import FORMAT_LENGTHS, matches_pattern

__all__ = ["find_failures", "is_covered"]

_MOST_STEPS: Final = 10_000
_LONGEST_WAY: Final = 40
_MOST_SPLITS: Final = 5
_MOST_WRITTEN_OUT: Final = 64
"""A range of so many whole numbers is compared as constants."""
_EVERYTHING: Final = (NULL, TRUTH, Number(), Text(), ListOf(ANYTHING), Object(further=ANYTHING))

_SAMPLES: Final[tuple[JsonValue, ...]] = (None, True, 0.5, "", [], [None], {}, {"other": None})


def find_failures(writer: Kind, reader: Kind, *, undeclared: bool) -> list[Failure]:
    """Return where the proof fails; nothing if it holds. With `undeclared`, writers send members of their own too."""
    proof = _Proof(undeclared=undeclared)
    try:
        return proof.compare(writer, reader, Site((), writer, reader), (), _MOST_SPLITS)
    except _TooLargeError:
        return [Failure(Site((), writer, reader), (), writer, reader, Cause.TOO_LARGE)]


def is_covered(writer: Kind, reader: Kind) -> bool:
    """Return whether every declared value of the writer is proven to be read."""
    return not find_failures(writer, reader, undeclared=False)


class _TooLargeError(Exception):
    """The proof would take too many steps."""


@dataclass(slots=True)
class _Proof:
    """One proof. A pair with a link is assumed to hold for a part of the value: values are finite."""

    undeclared: bool
    steps: int = 0
    assumed: dict[tuple[Kind, Kind], int] = field(default_factory=dict[tuple[Kind, Kind], int])

    def compare(self, w: Kind, r: Kind, site: Site, way: Way, splits: int) -> list[Failure]:
        self.steps += 1
        depth = sum(step.into != "choice" for step in way)
        if self.steps > _MOST_STEPS or depth > _LONGEST_WAY:
            raise _TooLargeError
        if isinstance(follow(r), Anything) or not has_value(w):
            return []
        if not isinstance(w, Link | Anything):
            return self._compare_plain(w, r, site, way, splits)
        pair = (w, r)
        before = self.assumed.get(pair)
        if before is not None:
            return [] if depth > before else [Failure(site, way, w, r, Cause.UNION)]
        self.assumed[pair] = depth
        try:
            if isinstance(w, Link):
                return self.compare(w.target, r, site, way, splits)
            return self._compare_anything(w, r, site, way, splits)
        finally:
            del self.assumed[pair]

    def _compare_plain(self, w: Kind, r: Kind, site: Site, way: Way, splits: int) -> list[Failure]:
        reader = follow(r)
        if isinstance(w, Union):
            return [
                failure
                for index, member in enumerate(w.members)
                for failure in self.compare(member, r, site, (*way, Step("choice", index)), splits)
            ]
        if isinstance(w, Values):
            refused = Values(tuple(value for value in w.values if not takes(reader, value)))
            return [Failure(site, way, refused, r, Cause.VALUES)] if refused.values else []
        constants = _write_out(w)
        if (
            isinstance(reader, Values | Union)
            and constants
            and all(takes(reader, each) for each in constants.values)
        ):
            return []
        if isinstance(reader, Union):
            return self._compare_union(w, reader, site, way, splits)
        return self._compare_kinds(w, reader, site, way, splits)

    def _compare_anything(self, w: Anything, r: Kind, site: Site, way: Way, splits: int) -> list[Failure]:
        is_proven = all(takes(r, value) for value in _SAMPLES) and not self.compare(
            Union(_EVERYTHING), r, site, way, splits
        )
        return [] if is_proven else [Failure(site, way, w, r, Cause.TYPE)]

    def _compare_union(self, w: Kind, r: Union, site: Site, way: Way, splits: int) -> list[Failure]:
        members = [*list_members(r)]
        # A member that refuses one value is not compared: a proof inside a proof costs most where it must fail.
        likely = _without_refusing(members, w)
        if any(not self.compare(w, member, site, way, splits) for member in likely):
            return []
        if splits and any(
            all(not self.compare(piece, r, site, way, splits - 1) for piece in pieces)
            for pieces in list_splits(w, members)
        ):
            return []
        partner = find_partner(w, members)
        if partner is None:
            return [Failure(site, way, w, r, Cause.UNION)]
        return self.compare(w, partner, site, way, splits)

    def _compare_kinds(self, w: Kind, r: Kind, site: Site, way: Way, splits: int) -> list[Failure]:
        match w, r:
            case (Object(), Object()):
                return _Objects(self, site, way, w, r, splits).compare()
            case (ListOf() | Tuple(), ListOf() | Tuple()):
                return self._compare_lists(w, r, site, way, splits)
            case (Null(), Null()) | (Truth(), Truth()):
                return []
            case (Number(), Number()):
                causes = _compare_numbers(w, r)
            case (Text(), Text()):
                causes = _compare_texts(w, r)
            case (_, Values()):
                causes = [Cause.VALUES]
            case _:
                causes = [Cause.TYPE]
        return [Failure(site, way, w, r, cause) for cause in causes]

    def _compare_lists(
        self, w: ListOf | Tuple, r: ListOf | Tuple, site: Site, way: Way, splits: int
    ) -> list[Failure]:
        low, high = _find_lengths(w)
        least, most = _find_lengths(r)
        if low < least or (most is not None and (high is None or high > most)):
            cause = Cause.LENGTH if isinstance(w, ListOf) and isinstance(r, ListOf) else Cause.TUPLE
            return [Failure(site, way, w, r, cause)]
        if isinstance(w, ListOf) and isinstance(r, ListOf):
            if high == 0:
                return []
            return self.step_into(Step("item"), (w.item, r.item), (w, r), site, way, splits)
        count = low
        ours = w.positions if isinstance(w, Tuple) else (w.item,) * count
        theirs = r.positions if isinstance(r, Tuple) else (r.item,) * count
        return [
            failure
            for index, pair in enumerate(zip(ours, theirs, strict=True))
            for failure in self.step_into(Step("position", index), pair, (w, r), site, way, splits)
        ]

    def step_into(
        self,
        step: Step,
        pair: tuple[Kind, Kind],
        owners: tuple[Kind, Kind],
        site: Site,
        way: Way,
        splits: int,
    ) -> list[Failure]:
        """Compare what stands inside two kinds."""
        inner = (*way, step)
        return self.compare(*pair, site.enter(inner, *pair, owners), inner, splits)


@dataclass(frozen=True, slots=True)
class _Objects:
    """Compares two objects."""

    proof: _Proof
    site: Site
    way: Way
    writer: Object
    reader: Object
    splits: int

    def compare(self) -> list[Failure]:
        missing = sorted(self.reader.required - self.writer.required)
        failures = [self._fail(Cause.REQUIRED, name) for name in missing]
        for name, kind in self.writer.members.items():
            if has_value(kind):
                failures += self._compare_member(name, kind)
        further = self.writer.further
        if further is UNDECLARED and not self.proof.undeclared:
            further = None
        if further is not None and has_value(further):
            failures += self._compare_further(further)
        return failures

    def _fail(self, cause: Cause, name: str = "") -> Failure:
        return Failure(self.site, self.way, self.writer, self.reader, cause, name)

    def _step(self, step: Step, writer: Kind, reader: Kind) -> list[Failure]:
        return self.proof.step_into(
            step, (writer, reader), (self.writer, self.reader), self.site, self.way, self.splits
        )

    def _compare_member(self, name: str, kind: Kind) -> list[Failure]:
        r = self.reader
        step = Step("member", name)
        if name in r.members:
            return self._step(step, kind, r.members[name])
        fits = r.further is not None and (r.names is None or matches_pattern(r.names, name))
        if fits and r.further is not None and not self._step(step, kind, r.further):
            return []
        return [self._fail(Cause.REFUSED, name)]

    def _compare_further(self, further: Kind) -> list[Failure]:
        w, r = self.writer, self.reader
        failures: list[Failure] = []
        if r.further is None:
            failures.append(self._fail(Cause.FURTHER))
        elif r.names is not None and r.names != w.names:
            failures.append(self._fail(Cause.NAMES))
        else:
            failures += self._step(Step("further"), further, r.further)
        for name, kind in r.members.items():
            fits = w.names is None or matches_pattern(w.names, name)
            if name not in w.members and fits and self._step(Step("member", name), further, kind):
                failures.append(self._fail(Cause.NAMED, name))
        return failures


def _without_refusing(members: list[Kind], w: Kind) -> list[Kind]:
    """Return the members that take a smallest value of another kind; all of them if none is known."""
    try:
        value = make_smallest(w)
    except NoValue:
        return members
    return [member for member in members if takes(member, value)]


def _compare_numbers(w: Number, r: Number) -> list[Cause]:
    causes: list[Cause] = []
    step = find_step(w)
    if r.whole and (step is None or step.denominator != 1):
        causes.append(Cause.WHOLE)
    is_multiple = r.step is None or (step is not None and (step / r.step).denominator == 1)
    if not tighten(_without_step(r)).holds(tighten(w)) or not is_multiple:
        causes.append(Cause.BOUND)
    return causes


def _without_step(kind: Number) -> Number:
    return Number(False, kind.low, kind.high, kind.low_open, kind.high_open)


def _compare_texts(w: Text, r: Text) -> list[Cause]:
    if r.format is not None:
        return [] if w.format == r.format else [Cause.FORMAT]
    causes: list[Cause] = []
    low, high = (w.shortest, w.longest) if w.format is None else FORMAT_LENGTHS[w.format]
    if low == 0 and w.pattern is not None and not matches_pattern(w.pattern, ""):
        low = 1
    if low < r.shortest or (r.longest is not None and (high is None or high > r.longest)):
        causes.append(Cause.LENGTH)
    if r.pattern is not None and r.pattern != w.pattern:
        causes.append(Cause.PATTERN)
    return causes


def _find_lengths(kind: ListOf | Tuple) -> tuple[int, int | None]:
    if isinstance(kind, Tuple):
        return len(kind.positions), len(kind.positions)
    return kind.shortest, kind.longest if has_value(kind.item) else 0


def _write_out(kind: Kind) -> Values | None:
    """Return a kind with few values as constants."""
    match kind:
        case Truth():
            return Values((False, True))
        case Null():
            return Values((None,))
        case Number(whole=True):
            bounds, step = tighten(kind), find_step(kind)
            if bounds.low is None or bounds.high is None or step is None:
                return None
            count = int((bounds.high - bounds.low) / step) + 1
            if bounds.high - bounds.low > _MOST_WRITTEN_OUT:
                return None
            return Values(tuple(write_number(bounds.low + index * step) for index in range(count)))
        case _:
            return None
