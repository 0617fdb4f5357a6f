"""Compares two models: the changes, each with its rule, its place, and a value for each direction in which it fails."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from trellis_codegen.breaking.proof.covers import find_failures, is_covered
from trellis_codegen.breaking.proof.failures import Cause, Failure, Step, Way, print_way
from trellis_codegen.breaking.proof.kinds import UNDECLARED, Kind, Object, Text, follow, list_members
from trellis_codegen.breaking.proof.models import Model
from trellis_codegen.breaking.proof.witnesses import Witness, find_witness
from trellis_codegen.breaking.schemas.classifying import explain_doubt, name_failure
from trellis_codegen.breaking.schemas.describing import describe_kind, describe_length, show_value
from trellis_codegen.breaking.schemas.pairs import ObjectPair, list_object_pairs
from trellis_codegen.breaking.schemas.unenforced import find_unenforced_changes
from trellis_codegen.contract.canonical import canonical_json
from trellis_codegen.problems import Pointer
from trellis_codegen.schemas.enum_filter import equality_key

__all__ = ["Answer", "SchemaChange", "compare_models"]

_NAMED: Final = (Cause.REQUIRED, Cause.REFUSED, Cause.NAMED)
"""Causes that are about one member."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """How a change fails in one direction."""

    witness: Witness | None = None
    reason: str | None = None
    """Why it is not decided; None with a witness."""


@dataclass(kw_only=True, slots=True)
class SchemaChange:
    """A change of a named schema."""

    rule: str
    """The suffix."""
    path: str
    """The place in values."""
    old_place: Pointer = ()
    """The place in the old schema."""
    new_place: Pointer = ()
    forward: Answer | None = None
    """How values of the old contract fail with the new one; None: they do not."""
    backward: Answer | None = None
    words: dict[str, str] = field(default_factory=dict[str, str])
    """What the placeholders of the message stand for."""
    is_risky: bool = False
    """Whether it depends on what the contract does not say: then no direction counts."""


def compare_models(old: Model, new: Model) -> list[SchemaChange]:
    """Return the changes from one model to another."""
    if canonical_json(old.schema) == canonical_json(new.schema):
        return []
    failures = {
        forward: find_failures(*_order(old.root, new.root, forward=forward), undeclared=False)
        for forward in (True, False)
    }
    changes = _Changes(old, new)
    changes.add_renamed(failures)
    changes.add_failures(failures)
    changes.add_undeclared(failures)
    changes.add_objects()
    found = changes.merge()
    found += [
        SchemaChange(
            rule="UNENFORCED_NARROWED",
            path=each.path,
            old_place=each.place,
            new_place=each.place,
            words={"keyword": each.keyword},
            is_risky=True,
        )
        for each in find_unenforced_changes(old, new, has_findings=bool(found))
    ]
    return found or [SchemaChange(rule="WORDS_CHANGED", path="/")]


def _order(old: Kind, new: Kind, *, forward: bool) -> tuple[Kind, Kind]:
    return (old, new) if forward else (new, old)


@dataclass(slots=True)
class _Changes:
    """Collects the changes of one pair of models."""

    old: Model
    new: Model
    found: list[SchemaChange] = field(default_factory=list[SchemaChange])
    consumed: set[Failure] = field(default_factory=set[Failure])

    def add_renamed(self, failures: dict[bool, list[Failure]]) -> None:
        """Report a member that went and one that came in the same object, with the same kind, as one change."""
        groups: dict[str, list[tuple[Failure, bool]]] = {}
        for forward, found in failures.items():
            for failure in found:
                if failure.cause in (Cause.REQUIRED, Cause.REFUSED):
                    groups.setdefault(print_way(failure.way), []).append((failure, forward))
        for path, group in groups.items():
            failure, forward = group[0]
            old, new = map(follow, _order(failure.writer, failure.reader, forward=forward))
            if not isinstance(old, Object) or not isinstance(new, Object):
                continue
            for before, after in _find_renamed(old, new):
                about = [each for each in group if each[0].name in (before, after)]
                if about:
                    self._add_renamed(path, before, after, about)

    def _add_renamed(self, path: str, before: str, after: str, about: list[tuple[Failure, bool]]) -> None:
        change: SchemaChange | None = None
        for failure, forward in about:
            self.consumed.add(failure)
            found = self._make(failure, forward=forward, undeclared=False, is_alone=False)
            change = _join(change, found) if change else found
        if change is not None:
            change.rule = "FIELD_RENAMED"
            change.path = f"{path.rstrip('/')}/{after}"
            change.words |= {"old": before, "new": after}
            self.found.append(change)

    def add_failures(self, failures: dict[bool, list[Failure]]) -> None:
        for forward, found in failures.items():
            for failure in found:
                if failure not in self.consumed:
                    change = self._make(failure, forward=forward, undeclared=False, is_alone=len(found) == 1)
                    answer = change.forward or change.backward
                    is_decided = answer is not None and answer.witness is not None
                    change.rule = name_failure(failure, forward=forward) if is_decided else "NOT_DECIDED"
                    self.found.append(change)

    def add_undeclared(self, failures: dict[bool, list[Failure]]) -> None:
        """Report what fails only with members that no schema declares."""
        for forward, declared in failures.items():
            known = {(print_way(each.way), each.name) for each in declared}
            known |= {(print_way(each.way), "") for each in declared if each.cause not in _NAMED}
            sides = _order(self.old.root, self.new.root, forward=forward)
            for failure in find_failures(*sides, undeclared=True):
                rule = _name_undeclared(failure, forward=forward)
                if rule is None or (print_way(failure.way), failure.name) in known:
                    continue
                change = self._make(failure, forward=forward, undeclared=True, is_alone=not declared)
                self.found.append(replace(change, rule=rule, is_risky=True))

    def add_objects(self) -> None:
        """Report defaults, and members that come and go without harm."""
        for pair in list_object_pairs(self.old.root, self.new.root):
            self.found += _compare_defaults(pair)
            self.found += _find_lost(pair)
            for name in pair.new.members.keys() - pair.old.members.keys() - pair.new.required:
                self.found.append(_make_safe(pair, "FIELD_OPTIONAL_ADDED", name))
            for name in pair.old.members.keys() - pair.new.members.keys() - pair.old.required:
                self.found.append(_make_safe(pair, "FIELD_OPTIONAL_REMOVED", name))

    def merge(self) -> list[SchemaChange]:
        """Return one change for each rule and place."""
        merged: dict[tuple[str, str], SchemaChange] = {}
        for change in self.found:
            key = (change.rule, change.path)
            merged[key] = _join(merged[key], change) if key in merged else change
        return sorted(_without_echoes(merged), key=lambda change: (change.path, change.rule))

    def _make(self, failure: Failure, *, forward: bool, undeclared: bool, is_alone: bool) -> SchemaChange:
        sides = _order(self.old.root, self.new.root, forward=forward)
        witness = find_witness(failure, *sides, undeclared=undeclared, is_alone=is_alone)
        answer = Answer(witness=witness, reason=None if witness else explain_doubt(failure))
        way = failure.site.way
        places = _find_places(failure)
        old_place, new_place = places if forward else (places[1], places[0])
        if failure.name and failure.cause in _NAMED:
            way = (*way, Step("member", failure.name))
        return SchemaChange(
            rule="",
            path=print_way(way),
            old_place=old_place,
            new_place=new_place,
            forward=answer if forward else None,
            backward=None if forward else answer,
            words=_find_words(failure, answer, forward=forward),
        )


def _find_places(failure: Failure) -> tuple[Pointer, Pointer]:
    """Return where the writer's and the reader's schema stand."""
    places: list[Pointer] = []
    for kind, place in (
        (follow(failure.writer), failure.site.writer_place),
        (follow(failure.reader), failure.site.reader_place),
    ):
        inner = (kind.place or place) if isinstance(kind, Object) else place
        if failure.name and isinstance(kind, Object) and failure.name in kind.members:
            inner = (*inner, "properties", failure.name)
        places.append(inner)
    return places[0], places[1]


def _find_words(failure: Failure, answer: Answer, *, forward: bool) -> dict[str, str]:
    old, new = _order(failure.site.writer, failure.site.reader, forward=forward)
    words = {"old": describe_kind(old), "new": describe_kind(new), "type": describe_kind(failure.writer)}
    if failure.cause in (Cause.LENGTH, Cause.TUPLE):
        before, after = _order(failure.writer, failure.reader, forward=forward)
        words |= {"old": describe_length(before), "new": describe_length(after)}
        if failure.cause is Cause.TUPLE:
            words |= {
                side: f"{words[side].replace('free', 'any number of')} positions" for side in ("old", "new")
            }
    reader = follow(failure.reader)
    for member in list_members(reader):
        if isinstance(member, Text):
            words |= {"pattern": member.pattern or "", "format": member.format or ""}
        if isinstance(member, Object) and member.names:
            words["pattern"] = member.names
    if answer.witness is not None:
        words["part"] = show_value(answer.witness.part)
    if answer.reason is not None:
        words["reason"] = answer.reason
    return words


def _find_renamed(old: Object, new: Object) -> Iterator[tuple[str, str]]:
    """Yield each member that went with the one that came in its place."""
    added = [name for name in new.members if name not in old.members]
    for before, kind in old.members.items():
        if before in new.members:
            continue
        for after in added:
            other = new.members[after]
            if is_covered(kind, other) and is_covered(other, kind):
                added.remove(after)
                yield before, after
                break


def _name_undeclared(failure: Failure, *, forward: bool) -> str | None:
    writer, reader = follow(failure.writer), follow(failure.reader)
    is_further = failure.site.way[-1:] == (Step("further"),)
    if not forward:
        # Only that an object was opened is said in this direction: old readers meet what may be added next.
        is_opened = failure.cause is Cause.FURTHER and isinstance(reader, Object) and reader.further is None
        return "OBJECT_OPENED" if is_opened else None
    if failure.cause is Cause.FURTHER and isinstance(writer, Object) and writer.further is UNDECLARED:
        return "OBJECT_CLOSED"
    if failure.cause in (Cause.REQUIRED, Cause.REFUSED) and not is_further:
        return None
    return "UNDECLARED_MEMBER"


def _compare_defaults(pair: ObjectPair) -> Iterator[SchemaChange]:
    for name in pair.new.members:
        if name not in pair.old.members or name in pair.old.required | pair.new.required:
            continue
        before, after = pair.old.defaults.get(name), pair.new.defaults.get(name)
        if equality_key(before) != equality_key(after):
            shown = {
                "old": "nothing" if before is None else show_value(before),
                "new": "nothing" if after is None else show_value(after),
            }
            yield replace(_make_safe(pair, "DEFAULT_CHANGED", name), words=shown, is_risky=True)


def _find_lost(pair: ObjectPair) -> Iterator[SchemaChange]:
    """Yield optional members that seem to have another name: no value is refused, and what the old name held is lost."""
    for before, after in _find_renamed(pair.old, pair.new):
        if before not in pair.old.required and after not in pair.new.required:
            change = _make_safe(pair, "FIELD_OPTIONAL_RENAMED", after)
            yield replace(change, words={"old": before, "new": after}, is_risky=True)


def _make_safe(pair: ObjectPair, rule: str, name: str) -> SchemaChange:
    way: Way = (*pair.way, Step("member", name))
    places = [
        (*each.place, *(("properties", name) if name in each.members else ()))
        for each in (pair.old, pair.new)
    ]
    return SchemaChange(rule=rule, path=print_way(way), old_place=places[0], new_place=places[1])


def _join(one: SchemaChange, other: SchemaChange) -> SchemaChange:
    """Return one change for two of the same rule and place; an answer with a witness counts more."""
    return replace(
        one,
        forward=_choose(one.forward, other.forward),
        backward=_choose(one.backward, other.backward),
        words={**other.words, **one.words},
        is_risky=one.is_risky and other.is_risky,
    )


def _choose(one: Answer | None, other: Answer | None) -> Answer | None:
    return one if one is not None and (one.witness or other is None) else other


def _without_echoes(merged: dict[tuple[str, str], SchemaChange]) -> Iterable[SchemaChange]:
    """Leave out what another change at the same place says already."""
    for (rule, path), change in merged.items():
        others = {other for other, place in merged if place == path}
        if rule.startswith("UNION_MEMBER") and others & {"TYPE_CHANGED", "TAG_CHANGED"}:
            continue
        is_safe = change.forward is change.backward is None
        if rule.startswith("FIELD_OPTIONAL") and is_safe and "FIELD_RENAMED" in others:
            continue
        if rule == "FIELD_OPTIONAL_ADDED" and is_safe and "FIELD_OPTIONAL_RENAMED" in others:
            continue
        if rule == "PATTERN_WIDENED" and "PATTERN_NARROWED" in others:
            continue
        if rule == "PATTERN_NARROWED" and (wider := merged.get(("PATTERN_WIDENED", path))):
            yield replace(change, backward=wider.backward)
            continue
        yield change
