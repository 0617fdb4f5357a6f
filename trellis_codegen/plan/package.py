"""A whole package: its names, its surfaces, its models."""

from __future__ import annotations

from dataclasses import dataclass

from trellis_codegen import naming
from trellis_codegen.contract.canonical import canonical_json
from trellis_codegen.contract.digest import contract_digest
from trellis_codegen.contract.manifest import Manifest
from trellis_codegen.plan.collisions import Claim, collisions
from trellis_codegen.plan.gaps import gaps
from trellis_codegen.plan.grouping import Member, Surface, group_claims
from trellis_codegen.plan.jobs import QueuePlan, job_claims, plan_jobs
from trellis_codegen.plan.models import ModelsPlan, plan_models
from trellis_codegen.plan.surfaces import (
    BucketPlan, ErrorPlan, EventPlan, RpcPlan, error_claims, kv_claims, plan_errors, plan_events, plan_kv, plan_rpc,
)  # fmt: skip
from trellis_codegen.plan.wording import text_of
from trellis_codegen.problems import Problem, ProblemsFound

__all__ = ["PackagePlan", "default_package", "plan_package"]

RUNTIME_API = 1
"""The interface between generated code and trellis_nats that the templates speak."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PackagePlan:
    """Everything that the templates may see."""

    package: str
    source: str
    """The manifest, as the header of each file names it."""
    generator: str
    runtime_api: int
    contract_id: str
    digest: str
    contract_json: str
    title: str
    """What people call the participant: `Orders Service`."""
    docstring: str
    service_class: str
    client_class: str
    models: ModelsPlan
    jobs: tuple[QueuePlan, ...]
    rpc: Surface[RpcPlan]
    events: Surface[EventPlan]
    kv: tuple[Member[BucketPlan], ...]
    errors: tuple[ErrorPlan, ...]

    @property
    def exported(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """For `__init__.py`: each module with the names taken from it."""
        jobs = tuple(sorted(name for queue in self.jobs for name in (queue.job_alias, queue.queue_class)))
        exports = (
            ("_contract", ("CONTRACT",)),
            ("client", (self.client_class,)),
            ("errors", tuple(sorted(error.class_name for error in self.errors))),
            ("jobs", jobs),
            ("models", self.models.names),
            ("service", (self.service_class,)),
        )
        return tuple((module, names) for module, names in exports if names)


def default_package(contract_id: str) -> str:
    """Return the name of a contract's package: `orders-service@v1` gives `orders_participant`."""
    return f"{naming.snake(naming.contract_stem(contract_id))}_participant"


def plan_package(
    manifest: Manifest, *, source: str, package: str | None, generator: str,
) -> tuple[PackagePlan, list[Problem]]:  # fmt: skip
    """Decide every name of a package, and say what of the contract is not in it.

    Raises:
        ProblemsFound: the contract can't become a package.
    """
    problems = collisions(_claims(manifest))
    try:
        models, remarks = plan_models(manifest)
    except ProblemsFound as error:
        raise ProblemsFound([*problems, *error.problems]) from None
    if problems:
        raise ProblemsFound([*problems, *remarks])
    stem = naming.pascal(naming.contract_stem(manifest.id))
    plan = PackagePlan(
        package=package or default_package(manifest.id),
        source=source,
        generator=generator,
        runtime_api=RUNTIME_API,
        contract_id=manifest.id,
        digest=contract_digest(manifest),
        contract_json=canonical_json(manifest.model_dump(by_alias=True, exclude_unset=True, exclude={"json_schema"})) + "\n",
        title=manifest.display_name,
        docstring=text_of(manifest.docs, manifest.description),
        service_class=f"{stem}Service",
        client_class=f"{stem}Client",
        models=models,
        jobs=plan_jobs(manifest, models),
        rpc=plan_rpc(manifest, models),
        events=plan_events(manifest, models),
        kv=plan_kv(manifest, models),
        errors=plan_errors(manifest, models),
    )
    clashes = collisions(_class_claims(manifest, plan))
    if clashes:
        raise ProblemsFound([*clashes, *remarks])
    return plan, [*remarks, *gaps(manifest)]


def _claims(manifest: Manifest) -> list[Claim]:
    """Return the attributes that the surfaces want."""
    claims = [*job_claims(manifest), *kv_claims(manifest), *error_claims(manifest)]
    for section, names in (("rpc", manifest.rpc or {}), ("events", manifest.events or {})):
        claims += group_claims(section, names)
    return claims


def _class_claims(manifest: Manifest, plan: PackagePlan) -> list[Claim]:
    """Return the names that would meet in the package's `__init__.py`."""
    claims = [
        Claim(plan.service_class, ("id",)),
        Claim(plan.client_class, ("id",)),
        *error_claims(manifest),
    ]
    for queue in plan.jobs:
        claims += [Claim(queue.queue_class, ("jobs", queue.name)), Claim(queue.job_alias, ("jobs", queue.name))]
    claims += [Claim(each.name, ("schemas", name)) for name, each in plan.models.classes.items()]
    return claims
