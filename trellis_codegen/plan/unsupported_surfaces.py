"""The parts of a contract that a generated package does not support, or knows little about: reported on every run."""

from __future__ import annotations

from collections.abc import Iterator

from trellis_codegen.contract.manifest import Manifest
from trellis_codegen.plan.kinds import is_service
from trellis_codegen.problems import Pointer, Problem, Severity
from trellis_codegen.rule_ids import Rule

__all__ = ["find_unsupported_surfaces"]


def find_unsupported_surfaces(manifest: Manifest) -> list[Problem]:
    """Return a warning for each surface that is not generated, and for each bucket without a schema."""
    return [*_state_of_service(manifest), *_any_json(manifest)]


def _state_of_service(manifest: Manifest) -> Iterator[Problem]:
    for name in (manifest.state or {}) if is_service(manifest) else ():
        yield _warning(
            Rule.STATE_OF_SERVICE,
            ("state", name),
            "not generated: only apps, devices and agents have state",
            hint="keep what a service stores in resources/kv",
        )


def _any_json(manifest: Manifest) -> Iterator[Problem]:
    buckets = (manifest.resources.kv if manifest.resources else None) or {}
    for name, bucket in buckets.items():
        if bucket.schema_ref is None:
            yield _warning(
                Rule.BUCKET_WITHOUT_SCHEMA, ("resources", "kv", name), "no schema: its values are any JSON"
            )


def _warning(rule: Rule, pointer: Pointer, what: str, hint: str | None = None) -> Problem:
    return Problem(pointer=pointer, rule=rule, what=what, hint=hint, on_key=True, severity=Severity.WARNING)
