"""Compares two contracts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from trellis_codegen.breaking.findings import Finding, make_contract_finding, make_schema_finding
from trellis_codegen.breaking.proof.models import Model, read_model
from trellis_codegen.breaking.rules.grades import Deploy
from trellis_codegen.breaking.schemas.changes import SchemaChange, compare_models
from trellis_codegen.breaking.surfaces.calls import (
    find_error_changes,
    find_feed_changes,
    find_operation_changes,
    find_rpc_changes,
)
from trellis_codegen.breaking.surfaces.events import find_event_changes, find_group_changes
from trellis_codegen.breaking.surfaces.identity import (
    find_capability_changes,
    find_export_changes,
    find_identity_changes,
    find_use_changes,
    find_word_changes,
)
from trellis_codegen.breaking.surfaces.jobs import find_job_changes
from trellis_codegen.breaking.surfaces.resources import (
    find_bucket_changes,
    find_state_changes,
    find_store_changes,
)
from trellis_codegen.breaking.surfaces.usages import list_usages
from trellis_codegen.contract.manifest import Manifest
from trellis_codegen.problems import Problem, ProblemsFound

__all__ = ["ModelFailed", "compare_contracts"]

_FINDERS = (
    find_identity_changes,
    find_capability_changes,
    find_export_changes,
    find_use_changes,
    find_job_changes,
    find_rpc_changes,
    find_operation_changes,
    find_event_changes,
    find_group_changes,
    find_feed_changes,
    find_error_changes,
    find_bucket_changes,
    find_store_changes,
    find_state_changes,
    find_word_changes,
)


class ModelFailed(ProblemsFound):
    """A schema can't be written as Python types."""

    def __init__(self, problems: Iterable[Problem], *, is_old: bool) -> None:
        super().__init__(problems)
        self.is_old = is_old
        """Whether it is a schema of the old contract."""


def compare_contracts(old: Manifest, new: Manifest, deploy: Deploy = Deploy.ROLLING) -> list[Finding]:
    """Return every change, the worst first. The schemas of both contracts are valid.

    Raises:
        ModelFailed: a schema can't be written as Python types.
    """
    changes = [change for find in _FINDERS for change in find(old, new)]
    findings = [make_contract_finding(change, deploy) for change in changes]
    findings += _compare_schemas(old, new, deploy)
    return sorted(findings, key=_reading_order)


def _compare_schemas(old: Manifest, new: Manifest, deploy: Deploy) -> Iterator[Finding]:
    models = _Models(old, is_old=True), _Models(new, is_old=False)
    known: dict[tuple[str | None, str | None], list[SchemaChange]] = {}
    for usage in list_usages(old, new):
        names = usage.old, usage.new
        if names not in known:
            known[names] = compare_models(models[0].get(usage.old), models[1].get(usage.new))
        for change in known[names]:
            fails_back = change.backward is not None and change.forward is None
            if not (usage.is_read_only and fails_back):
                yield make_schema_finding(change, usage, deploy)


@dataclass(slots=True)
class _Models:
    """The models of one contract; each is read once."""

    manifest: Manifest
    is_old: bool
    known: dict[str | None, Model] = field(default_factory=dict[str | None, Model])

    def get(self, name: str | None) -> Model:
        """Return the model of a named schema; without a name, that of any JSON."""
        if name not in self.known:
            events = {event.event.schema_name for event in (self.manifest.events or {}).values()}
            schema = True if name is None else (self.manifest.schemas or {})[name]
            try:
                self.known[name] = read_model(name or "Anything", schema, is_event=name in events)
            except ProblemsFound as error:
                place = ("schemas", name or "")
                problems = [
                    replace(problem, pointer=(*place, *problem.pointer)) for problem in error.problems
                ]
                raise ModelFailed(problems, is_old=self.is_old) from None
        return self.known[name]


def _reading_order(finding: Finding) -> tuple[int, str, str, str, str]:
    place = finding.pointer if finding.pointer is not None else finding.old_pointer
    steps = "/".join(str(step) for step in place or ())
    return (-finding.grade.weight, finding.surface, steps, finding.path or "", finding.rule)
