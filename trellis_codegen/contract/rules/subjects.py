"""The rules of subjects: NATS accepts them, they follow the platform's convention, and no two surfaces share one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Protocol

from trellis_codegen.contract.manifest import Manifest
from trellis_codegen.contract.overlaps import WILDCARD, Subjects
from trellis_codegen.contract.pointers import is_pointer
from trellis_codegen.contract.rules.identity import is_subject_text
from trellis_codegen.problems import Pointer, Problem, Severity
from trellis_codegen.rule_ids import Rule

__all__ = ["check_overlaps", "check_subjects"]

_PARAMETER = re.compile(r"\{([^{}]*)\}")
_MAX_LENGTH = 1024


class _Addressed(Protocol):
    @property
    def subject(self) -> str: ...
    @property
    def version(self) -> str: ...


def check_subjects(manifest: Manifest) -> Iterator[Problem]:
    """NATS accepts every subject. A subject that does not follow `<section>.<version>.<Name>` gets a warning."""
    for section, name, entry in _find_addressed(manifest):
        pointer: Pointer = (section, name, "subject")
        bare = _PARAMETER.sub("x", entry.subject) if section == "events" else entry.subject
        if len(entry.subject) > _MAX_LENGTH:
            yield Problem(
                pointer=pointer, rule=Rule.INVALID_SUBJECT, what=f"longer than {_MAX_LENGTH} characters"
            )
        elif section == "events" and ("{" in bare or "}" in bare):
            yield Problem(
                pointer=pointer, rule=Rule.INVALID_SUBJECT, what=f'"{entry.subject}" has an unmatched brace'
            )
        elif not is_subject_text(bare):
            what = f'"{entry.subject}" is not a valid subject: a token is empty, or has white space or a wildcard'
            yield Problem(pointer=pointer, rule=Rule.INVALID_SUBJECT, what=what)
        elif not entry.subject.startswith(prefix := f"{section}.{entry.version}."):
            hint = f'the platform expects "{prefix}{name}"'
            what = f'"{entry.subject}" does not start with "{prefix}"'
            yield Problem(
                pointer=pointer,
                rule=Rule.UNCONVENTIONAL_SUBJECT,
                what=what,
                hint=hint,
                severity=Severity.WARNING,
            )
    yield from _check_params(manifest)


def check_overlaps(manifest: Manifest) -> Iterator[Problem]:
    """No subject matches two surfaces; a parameter matches any token."""
    known = Subjects()
    for section, name, entry in _find_addressed(manifest):
        pointer: Pointer = (section, name, "subject")
        for subject in (entry.subject, *([f"{entry.subject}.control"] if section == "operations" else [])):
            owner = known.add(_PARAMETER.sub(WILDCARD, subject), pointer)
            if owner is not None and owner != pointer:
                what = f'the subject "{subject}" is already used by {owner[0]} "{owner[1]}"'
                yield Problem(pointer=pointer, rule=Rule.SUBJECT_OVERLAP, what=what)


def _check_params(manifest: Manifest) -> Iterator[Problem]:
    """An event's `params` are the parameters of its subject, in order."""
    for name, event in (manifest.events or {}).items():
        inside = _PARAMETER.findall(event.subject)
        params = event.params or []
        wrong = [pointer for pointer in inside if not is_pointer(pointer)]
        if wrong:
            what = f'"{{{wrong[0]}}}" is not a JSON pointer'
            yield Problem(
                pointer=("events", name, "subject"),
                rule=Rule.INVALID_POINTER,
                what=what,
                hint="write a pointer into the payload, such as {/customerId}",
            )
        elif inside != params and event.subject.count("{") == len(inside):
            where: Pointer = ("events", name, "params" if event.params is not None else "subject")
            what = f"the subject has the parameters {_list_pointers(inside)}, but params has {_list_pointers(params)}"
            yield Problem(
                pointer=where,
                rule=Rule.PARAMS_MISMATCH,
                what=what,
                hint="declare the same pointers in both, in the same order",
            )


def _find_addressed(manifest: Manifest) -> Iterator[tuple[str, str, _Addressed]]:
    sections: dict[str, Mapping[str, _Addressed] | None] = {
        "rpc": manifest.rpc,
        "operations": manifest.operations,
        "events": manifest.events,
        "feeds": manifest.feeds,
    }
    for section, entries in sections.items():
        for name, entry in (entries or {}).items():
            yield section, name, entry


def _list_pointers(pointers: list[str]) -> str:
    return ", ".join(pointers) or "none"
