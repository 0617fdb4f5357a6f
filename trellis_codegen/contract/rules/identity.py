"""The rules of names: ids have versions, and names are legal in subjects."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from trellis_codegen.contract.manifest import Manifest
from trellis_codegen.problems import Pointer, Problem, Severity
from trellis_codegen.rule_ids import Rule

__all__ = ["check_ids", "check_names"]

_ID = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?@v[0-9]+")
_TOKEN = re.compile(r"[A-Za-z0-9_-]+")


def check_ids(manifest: Manifest) -> Iterator[Problem]:
    """An id is a name and a version: `orders-service@v1`."""
    if not _ID.fullmatch(manifest.id):
        hint = "write letters, digits, dots and dashes, then the version: orders-service@v1"
        what = f'"{manifest.id}" is not a name with a version'
        yield Problem(
            pointer=("id",), rule=Rule.ID_WITHOUT_VERSION, what=what, hint=hint, severity=Severity.WARNING
        )
    for kind, uses in (
        ("required", manifest.uses and manifest.uses.required),
        ("optional", manifest.uses and manifest.uses.optional),
    ):
        for alias, use in (uses or {}).items():
            if not _ID.fullmatch(use.contract):
                what = f'"{use.contract}" is not a name with a version'
                pointer = ("uses", kind, alias, "contract")
                yield Problem(
                    pointer=pointer, rule=Rule.ID_WITHOUT_VERSION, what=what, severity=Severity.WARNING
                )


def check_names(manifest: Manifest) -> Iterator[Problem]:
    """A name becomes a part of subjects: tokens between single dots, without white space and wildcards."""
    sections: tuple[tuple[str, Iterable[str] | None], ...] = (
        ("rpc", manifest.rpc),
        ("operations", manifest.operations),
        ("events", manifest.events),
        ("feeds", manifest.feeds),
    )
    for section, names in sections:
        for name in names or ():
            if not is_subject_text(name):
                yield _make_problem((section, name), "is not valid in a subject")
    for operation_name, operation in (manifest.operations or {}).items():
        for signal in operation.signals or {}:
            if not is_subject_text(signal):
                yield _make_problem(
                    ("operations", operation_name, "signals", signal), "is not valid in a subject"
                )
    for group in manifest.event_consumers or {}:
        if not _TOKEN.fullmatch(group):
            yield _make_problem(("eventConsumers", group), "is not a valid consumer name")


def is_subject_text(text: str) -> bool:
    """Return whether a text is a subject without wildcards: no token is empty, and no character is invisible or white space."""
    return all(text.split(".")) and all(
        character.isprintable() and not character.isspace() and character not in "*>" for character in text
    )


def _make_problem(pointer: Pointer, what: str) -> Problem:
    hint = "use letters, digits, dashes and underscores" + (
        "" if pointer[0] == "eventConsumers" else ", with single dots between them"
    )
    return Problem(
        pointer=pointer, rule=Rule.INVALID_NAME, what=f'"{pointer[-1]}" {what}', hint=hint, on_key=True
    )
