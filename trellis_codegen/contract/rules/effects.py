"""The rule of members without effect: another member hides them, or what they are about is not declared."""

from __future__ import annotations

from collections.abc import Iterator

from trellis_codegen.contract.defaults import STATE_VERSION
from trellis_codegen.contract.manifest import Manifest
from trellis_codegen.problems import Pointer, Problem, Severity
from trellis_codegen.rule_ids import Rule

__all__ = ["check_effects"]


def check_effects(manifest: Manifest) -> Iterator[Problem]:
    """No member is accepted that changes nothing."""
    yield from _find_repeated_types(manifest)
    yield from _find_hidden_uses(manifest)
    yield from _find_current_versions(manifest)
    yield from _find_cancel_rights(manifest)
    yield from _find_large_uploads(manifest)


def _find_repeated_types(manifest: Manifest) -> Iterator[Problem]:
    """Of several errors with one type, the first by name counts, as in the digest."""
    first: dict[str, str] = {}
    for name, error in sorted((manifest.errors or {}).items()):
        owner = first.setdefault(error.error_type, name)
        if owner != name:
            what = f'the error "{owner}" has the type "{error.error_type}" too, and counts in its place'
            yield _warn(("errors", name), what, "remove one, or give it another type")


def _find_hidden_uses(manifest: Manifest) -> Iterator[Problem]:
    """An alias in both groups is required, and what the optional one lists is not generated."""
    required, optional = (manifest.uses.required, manifest.uses.optional) if manifest.uses else (None, None)
    for alias in optional or ():
        if alias in (required or ()):
            what = f'"{alias}" is under "required" too, which counts in its place'
            yield _warn(
                ("uses", "optional", alias),
                what,
                "give it another alias, or move what it lists to the required one",
            )


def _find_current_versions(manifest: Manifest) -> Iterator[Problem]:
    """Values of the current version are read by `schema`."""
    for name, state in (manifest.state or {}).items():
        version = state.state_version or STATE_VERSION
        if version in (state.accepted_versions or ()):
            what = f'"{version}" is the current version, whose values have the schema "{state.schema_ref.schema_name}"'
            hint = 'remove it, or raise "stateVersion"'
            yield _warn(("state", name, "acceptedVersions", version), what, hint)


def _find_cancel_rights(manifest: Manifest) -> Iterator[Problem]:
    """A capability to cancel is for operations that callers can cancel."""
    for name, operation in (manifest.operations or {}).items():
        if operation.capabilities and operation.capabilities.cancel and not operation.cancel:
            what = "no caller can cancel this operation, with any capability"
            yield _warn(("operations", name, "capabilities", "cancel"), what, 'write "cancel": true')


def _find_large_uploads(manifest: Manifest) -> Iterator[Problem]:
    """The limit of the store counts too."""
    stores = (manifest.resources.store if manifest.resources else None) or {}
    for name, operation in (manifest.operations or {}).items():
        store = stores.get(operation.transfer.store) if operation.transfer else None
        if not operation.transfer or not store or not store.max_object_bytes:
            continue
        allowed = operation.transfer.max_bytes
        if allowed and allowed > store.max_object_bytes:
            what = f'the store "{operation.transfer.store}" takes objects of at most {store.max_object_bytes} bytes'
            hint = 'write no more here, or raise "maxObjectBytes" of the store'
            yield _warn(("operations", name, "transfer", "maxBytes"), what, hint)


def _warn(pointer: Pointer, what: str, hint: str) -> Problem:
    return Problem(
        pointer=pointer,
        rule=Rule.WITHOUT_EFFECT,
        what=what,
        hint=hint,
        on_key=True,
        severity=Severity.WARNING,
    )
