"""What a rule is, and how each is fixed in two steps."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from trellis_codegen.breaking.rules.grades import Column, Grade

__all__ = ["REMEDIES", "UPCAST", "ContractRule", "Remedy", "SchemaClass", "SchemaRule"]


class Remedy(StrEnum):
    """How a change is made in two steps that break nothing."""

    OPTIONAL_FIRST = "R1"
    STOP_READING_FIRST = "R2"
    BOTH_NAMES = "R3"
    READERS_FIRST = "R4"
    WRITERS_FIRST = "R5"
    SERVE_BOTH = "R6"
    DRAIN = "R7"
    PLAN = "R8"
    NEW_VERSION = "R9"
    GRANT_FIRST = "R10"
    COPE_WITH_BOTH = "R11"
    COMPARABLE = "R12"
    WRITE_DEFAULT = "R13"
    ALIAS = "R14"
    APPLY_FIRST = "R15"
    SECOND_ALIAS = "R16"
    KEEP_NAME = "R17"
    FREE_NAME = "R18"
    DRAIN_TO_CHANGE = "R19"
    ENTRIES_LAST = "R20"
    NOTHING = "none"


REMEDIES: Final[dict[Remedy, tuple[str, ...]]] = {
    Remedy.OPTIONAL_FIRST: (
        "Release it as optional; writers begin to send it.",
        "When no stored or queued value lacks it any more, make it required.",
    ),
    Remedy.STOP_READING_FIRST: (
        "Stop reading it, and keep it declared as optional.",
        "When no writer sends it any more, remove it.",
    ),
    Remedy.BOTH_NAMES: (
        "Add the new name as optional next to the old one; write both, read either.",
        "When no value has only the old name, remove the old one.",
    ),
    Remedy.READERS_FIRST: (
        "Release readers that take both forms (a union, both constants, the wider limit); write the old form.",
        "When every reader has this release, write the new form.",
    ),
    Remedy.WRITERS_FIRST: (
        "Release writers that keep to the narrower form; readers stay wide.",
        "When no older value is left, narrow the schema.",
    ),
    Remedy.SERVE_BOTH: (
        "Add the new one under a new name (…V2), serve both, and move the users.",
        "Remove the old one when it has had no use for as long as the slowest user needs.",
    ),
    Remedy.DRAIN: (
        "Deploy a release that creates nothing in it and still works on it.",
        "Remove it when no job or message waits in it.",
    ),
    Remedy.DRAIN_TO_CHANGE: (
        "Deploy a release that creates no job in the queue and still works on it.",
        "Change the key when no job waits in it.",
    ),
    Remedy.PLAN: (
        "See what the change does to what is stored, before anything applies it.",
        "Apply it on purpose, or keep the larger number.",
    ),
    Remedy.NEW_VERSION: (
        'Raise "stateVersion" and list the old one in "acceptedVersions".',
        "Stop accepting the old form when no entry has it.",
    ),
    Remedy.ENTRIES_LAST: (
        "Release readers that take both forms (a union, or the member as optional); write the old form.",
        "When every instance has this release, write the new form; stop accepting the old one when no entry has it.",
    ),
    Remedy.GRANT_FIRST: (
        "Declare the right, and grant it to those who need it.",
        "Require it.",
    ),
    Remedy.COPE_WITH_BOTH: (
        "Let handlers and callers cope with both settings.",
        "Change the setting.",
    ),
    Remedy.COMPARABLE: (
        "Make it comparable: the same text of the pattern, or a plain union.",
        "Else ignore this rule at this place, with a reason and a date.",
    ),
    Remedy.WRITE_DEFAULT: (
        "Write the value out in one release.",
        "Change the default in the next.",
    ),
    Remedy.ALIAS: (
        "Keep the old name of the class as an alias for one release.",
        "Remove the alias.",
    ),
    Remedy.APPLY_FIRST: (
        "`trellis provision apply PACKAGE`: the durable consumer gets the event; old instances give it back.",
        'Deploy the new version; one with `Options(provision="update")` does both.',
    ),
    Remedy.SECOND_ALIAS: (
        "Add a second alias for the other contract, and move the code to it.",
        "Remove the first alias.",
    ),
    Remedy.KEEP_NAME: (
        "Keep the name: it identifies the durable consumer.",
        "If it must change, handle the backlog first, then provision the new one.",
    ),
    Remedy.FREE_NAME: (
        "See whether a writer sends a member of this name, although the old contract does not declare it.",
        "If none does, add it; nothing else is needed. Else choose another name.",
    ),
    Remedy.NOTHING: (),
}
"""The two steps of each remedy."""

UPCAST: Final = (
    "Or register an upcaster in the new version, which reads the old payloads: "
    "docs/guides/changing-a-contract.md, Rename"
)
"""What to do instead of both steps where old payloads of jobs fail with the new model."""


class SchemaClass(StrEnum):
    """In which directions a change of a schema fails. It is computed; this is what the rule expects."""

    NARROWER = "N"
    WIDER = "W"
    BOTH = "B"
    MEANING = "M"
    """Nothing that the contract declares fails: it depends on what writers do in addition."""
    SAFE = "-"


@dataclass(frozen=True, kw_only=True, slots=True)
class SchemaRule:
    """A change of a schema; its id is the suffix of the full ids."""

    id: str
    what: str
    """What changed, in words."""
    kind: SchemaClass
    message: str
    """What it does, with placeholders in braces."""
    remedy: Remedy

    @property
    def loses_values(self) -> bool:
        """Whether no value is refused, and part of it is lost all the same."""
        return self.kind is SchemaClass.MEANING and self.remedy is Remedy.BOTH_NAMES


@dataclass(frozen=True, kw_only=True, slots=True)
class ContractRule:
    """A change of a contract outside of schemas."""

    id: str
    surface: str
    """The section of the reference page."""
    what: str
    columns: tuple[Column, ...]
    grade: Grade
    message: str
    """What it does, with placeholders in braces."""
    remedy: Remedy
    only_during_deploy: bool = False
    """Whether it needs both versions to run, so that `--deploy stop` avoids it."""
