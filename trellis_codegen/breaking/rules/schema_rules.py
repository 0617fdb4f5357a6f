"""The rules about schemas, as data. A full id is the prefix of a surface, `_`, and the id here."""

from __future__ import annotations

from typing import Final

from trellis_codegen.breaking.rules.rule import Remedy, SchemaClass, SchemaRule

__all__ = ["SCHEMA_RULES"]

_CLASSES: Final = {kind.value: kind for kind in SchemaClass}


def _rule(name: str, kind: str, remedy: Remedy, what: str, message: str) -> SchemaRule:
    return SchemaRule(id=name, what=what, kind=_CLASSES[kind], message=message, remedy=remedy)


_RULES: Final = (
    _rule(
        "FIELD_REQUIRED_ADDED", "N", Remedy.OPTIONAL_FIRST,
        "a new member that is required; next to a closed old object, both directions",
        "{path} is required now; {they} do not have it",
    ),
    _rule(
        "FIELD_REQUIRED_REMOVED", "W", Remedy.STOP_READING_FIRST,
        "a required member is gone; from a closed new object, both directions",
        "{path} is no longer declared; {they} need it",
    ),
    _rule(
        "FIELD_OPTIONAL_ADDED", "-", Remedy.READERS_FIRST,
        "a new optional member; wider if the old object is closed",
        "{path} is new; {they} refuse it, because the old object is closed",
    ),
    _rule(
        "FIELD_OPTIONAL_REMOVED", "-", Remedy.STOP_READING_FIRST,
        "an optional member is gone; narrower if the new object is closed",
        "{path} is refused now, because the object is closed; {they} may have it",
    ),
    _rule(
        "FIELD_BECAME_REQUIRED", "N", Remedy.OPTIONAL_FIRST,
        "an optional member is required",
        "{path} is required now; {they} may lack it",
    ),
    _rule(
        "FIELD_BECAME_OPTIONAL", "W", Remedy.READERS_FIRST,
        "a required member is optional",
        "{path} may be absent now; {they} require it",
    ),
    _rule(
        "FIELD_RENAMED", "B", Remedy.BOTH_NAMES,
        "one name for another, of the same kind; one of them is required or the object is closed",
        '"{old}" is called "{new}" now (it looks like a renaming), which {they} do not know',
    ),
    _rule(
        "FIELD_OPTIONAL_RENAMED", "M", Remedy.BOTH_NAMES,
        "one name for another, of the same kind; both are optional and the objects are open",
        '"{old}" seems to be called "{new}" now: each version ignores the name that it does not know, so the value is lost',
    ),
    _rule(
        "FIELD_BECAME_NULLABLE", "W", Remedy.READERS_FIRST,
        "null is allowed",
        "{path} may be null now; {they} refuse null",
    ),
    _rule(
        "FIELD_LOST_NULL", "N", Remedy.WRITERS_FIRST,
        "null is no longer allowed",
        "{path} must not be null now; {they} may have null",
    ),
    _rule(
        "OBJECT_CLOSED", "M", Remedy.WRITERS_FIRST,
        "an open object has `additionalProperties: false`",
        "members of {path} that the schema does not declare are refused now; only writers that keep or add some send them",
    ),
    _rule(
        "OBJECT_OPENED", "M", Remedy.READERS_FIRST,
        "a closed object is open",
        "{path} is open now; old readers still refuse the members that you may add next: deploy readers first",
    ),
    _rule(
        "UNDECLARED_MEMBER", "M", Remedy.FREE_NAME,
        "an open object declares a member that writers may have sent with another type",
        "{path} was free before; a writer that sent it with another type is refused",
    ),
    _rule(
        "EXTRA_MEMBERS_NARROWED", "N", Remedy.WRITERS_FIRST,
        "further members, or the values of a map, are narrower",
        "further members at {path} are limited now; {they} may have others",
    ),
    _rule(
        "EXTRA_MEMBERS_WIDENED", "W", Remedy.READERS_FIRST,
        "further members, or the values of a map, are wider",
        "further members at {path} may hold more now; {they} refuse it",
    ),
    _rule(
        "MAP_NAMES_NARROWED", "N", Remedy.WRITERS_FIRST,
        "the names of a map must match a pattern",
        "names at {path} must match {pattern} now; {they} may have others",
    ),
    _rule(
        "MAP_NAMES_WIDENED", "W", Remedy.READERS_FIRST,
        "the names of a map are free, or match another pattern",
        "names at {path} may be others now; {they} refuse them",
    ),
    _rule(
        "TYPE_CHANGED", "B", Remedy.BOTH_NAMES,
        "values of the one are not values of the other, and no other rule says it better",
        "{path} was {old}, and is {new}, which {they} do not expect",
    ),
    _rule(
        "NUMBER_BECAME_INTEGER", "N", Remedy.WRITERS_FIRST,
        "a number is an integer",
        "{path} must be whole now; {they} may have a fraction",
    ),
    _rule(
        "INTEGER_BECAME_NUMBER", "W", Remedy.READERS_FIRST,
        "an integer is a number",
        "{path} may be a fraction now; {they} refuse it",
    ),
    _rule(
        "ENUM_NARROWED", "N", Remedy.WRITERS_FIRST,
        "constants are gone; a text has become an enumeration",
        "{part} is not allowed at {path} any more; {they} may have it",
    ),
    _rule(
        "ENUM_WIDENED", "W", Remedy.READERS_FIRST,
        "new constants; an enumeration has become a text",
        "{part} is allowed at {path} now; {they} do not know it",
    ),
    _rule(
        "CONST_CHANGED", "B", Remedy.READERS_FIRST,
        "another constant",
        "{path} must be {new} now, and was {old}, which {they} expect or send",
    ),
    _rule(
        "BOUND_NARROWED", "N", Remedy.WRITERS_FIRST,
        "the minimum, maximum or step is narrower",
        "{part} is refused at {path} now; {they} may have it",
    ),
    _rule(
        "BOUND_WIDENED", "W", Remedy.READERS_FIRST,
        "the minimum, maximum or step is wider",
        "{part} is allowed at {path} now; {they} refuse it",
    ),
    _rule(
        "LENGTH_NARROWED", "N", Remedy.WRITERS_FIRST,
        "the length of a text or a list is narrower",
        "the length of {path} is {new} now, and was {old}; {they} may have another",
    ),
    _rule(
        "LENGTH_WIDENED", "W", Remedy.READERS_FIRST,
        "the length of a text or a list is wider",
        "the length of {path} may be {new} now; {they} take {old}",
    ),
    _rule(
        "PATTERN_NARROWED", "N", Remedy.WRITERS_FIRST,
        "a pattern is added, or changed: then both directions, if each has a value that shows it",
        "{part} does not match {pattern} at {path}; {they} may have it",
    ),
    _rule(
        "PATTERN_WIDENED", "W", Remedy.READERS_FIRST,
        "a pattern is gone, or takes more",
        "{path} may be {part} now, which {they} refuse",
    ),
    _rule(
        "FORMAT_NARROWED", "N", Remedy.WRITERS_FIRST,
        "an enforced format is added; if it is exchanged, both directions",
        "{path} must be a {format} now; {they} may have another text",
    ),
    _rule(
        "FORMAT_WIDENED", "W", Remedy.READERS_FIRST,
        "an enforced format is gone",
        "{path} need not be a {format} now; {they} require one",
    ),
    _rule(
        "TUPLE_CHANGED", "B", Remedy.SERVE_BOTH,
        "other positions; a list has become a tuple (narrower), or a tuple a list (wider)",
        "{path} has {new} now, and had {old}, which {they} expect or send",
    ),
    _rule(
        "UNION_MEMBER_REMOVED", "N", Remedy.WRITERS_FIRST,
        "a union takes less",
        "{type} is not allowed at {path} any more; {they} may have it",
    ),
    _rule(
        "UNION_MEMBER_ADDED", "W", Remedy.READERS_FIRST,
        "a union takes more",
        "{type} is allowed at {path} now; {they} do not know it",
    ),
    _rule(
        "TAG_CHANGED", "B", Remedy.SERVE_BOTH,
        "the constant, or the name, of what tells the objects of a union apart",
        "the objects at {path} are told apart by other constants now, which {they} do not know",
    ),
    _rule(
        "BECAME_NEVER", "N", Remedy.STOP_READING_FIRST,
        "`false`: no value is allowed here",
        "nothing is allowed at {path} any more; {they} may have a value",
    ),
    _rule(
        "BECAME_ANY", "W", Remedy.READERS_FIRST,
        "`true`: any value is allowed here",
        "any value is allowed at {path} now; {they} refuse {part}",
    ),
    _rule(
        "DEFAULT_CHANGED", "M", Remedy.WRITE_DEFAULT,
        "another default, or none",
        "an absent {path} means {new} now, and meant {old}: values that exist change their meaning",
    ),
    _rule(
        "UNENFORCED_NARROWED", "M", Remedy.WRITERS_FIRST,
        "a keyword that no model checks was added, changed or removed",
        "{keyword} at {path} changed; Python readers do not check it, readers in other languages may refuse values",
    ),
    _rule(
        "NOT_DECIDED", "B", Remedy.COMPARABLE,
        "neither proven nor refuted; the grade is that of a no",
        "not decided at {path}: {reason}",
    ),
    _rule(
        "WORDS_CHANGED", "-", Remedy.NOTHING,
        "descriptions, titles, examples, the order of anything",
        "the schema says the same in other words",
    ),
)  # fmt: skip

SCHEMA_RULES: Final = {rule.id: rule for rule in _RULES}
"""The rules by their suffix."""
