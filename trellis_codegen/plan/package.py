"""A whole package: its names, its surfaces, its models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from trellis_codegen import naming
from trellis_codegen.contract.canonical import indented_json
from trellis_codegen.contract.digest import compute_digest
from trellis_codegen.contract.manifest import Manifest
from trellis_codegen.contract.positions import locate
from trellis_codegen.contract.reading import ContractInvalid
from trellis_codegen.contract.uses import OtherContracts, check_uses
from trellis_codegen.plan.collisions import Claim, find_collisions
from trellis_codegen.plan.event_groups import (
    GroupPlan,
    UsedEvent,
    UsedEvents,
    claim_event_group_names,
    claim_group_events,
    plan_event_groups,
)
from trellis_codegen.plan.grouping import Member, Surface, claim_group_classes, claim_group_names, group_names
from trellis_codegen.plan.imports import Import, find_imports
from trellis_codegen.plan.jobs import QueuePlan, claim_queue_names, plan_jobs
from trellis_codegen.plan.kinds import find_misplaced_surfaces, has_heartbeats, is_service
from trellis_codegen.plan.models import ModelsPlan, plan_models
from trellis_codegen.plan.operations import (
    OperationPlan,
    claim_operation_classes,
    claim_signal_names,
    plan_operations,
)
from trellis_codegen.plan.state import StatePlan, claim_state_names, plan_state
from trellis_codegen.plan.stated_names import apply_names
from trellis_codegen.plan.stores import StorePlan, claim_store_names, plan_stores
from trellis_codegen.plan.surfaces import (
    BucketPlan,
    ErrorPlan,
    EventPlan,
    FeedPlan,
    RpcPlan,
    claim_bucket_names,
    claim_error_names,
    plan_errors,
    plan_events,
    plan_feeds,
    plan_kv,
    plan_rpc,
)
from trellis_codegen.plan.unsupported_surfaces import find_unsupported_surfaces
from trellis_codegen.plan.wording import choose_text
from trellis_codegen.problems import Pointer, Problem, ProblemsFound, Severity
from trellis_codegen.rule_ids import Rule

__all__ = ["PackagePlan", "UsePlan", "collect_problems", "plan_package"]

RUNTIME_API = 1
"""The version of the interface to trellis_nats that the templates use."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UsePlan:
    """What a package has of another contract, as a package inside the package."""

    alias: str
    attribute: str
    """The name of the folder too."""
    class_name: str
    is_required: bool
    event_classes: Mapping[str, str]
    """Event → the class that publishes it, subscribes to it, or does both."""
    place: Pointer
    """Where the contract declares it."""
    surfaces: PackagePlan
    """What is listed of the other contract, as if that were all of it."""

    @property
    def docstring(self) -> str:
        """What the other contract is, and whether it may be absent."""
        absent = "" if self.is_required else "\n\nOptional: None where it is absent."
        return f"{self.surfaces.title}: what is used of `{self.surfaces.contract_id}`.{absent}"

    @property
    def exported(self) -> dict[str, tuple[str, ...]]:
        """For its `__init__.py`: each module with the names taken from it."""
        exported = self.surfaces.exported
        runs = [
            name for member in self.surfaces.operations.members for name in member.plan.exported_to_callers
        ]
        modules = {
            "errors": exported.get("errors"),
            "models": exported.get("models"),
            "operations": sorted(runs),
        }
        return {module: tuple(names) for module, names in modules.items() if names}

    @property
    def names(self) -> tuple[str, ...]:
        """Everything that its `__init__.py` exports."""
        return tuple(sorted(name for names in self.exported.values() for name in names))

    @property
    def imports(self) -> tuple[Import, ...]:
        """What its `__init__.py` imports."""
        return _package_imports(self.exported)

    @property
    def events(self) -> UsedEvents:
        """What event consumer groups may have of it."""
        return UsedEvents(
            alias=self.alias,
            attribute=self.attribute,
            place=self.place,
            by_name={
                member.name: UsedEvent(
                    name=member.name,
                    constant=member.constant,
                    event=member.plan.event,
                    docstring=member.plan.docstring,
                )
                for member in self.surfaces.events.members
            },
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class PackagePlan:
    """The input of the templates."""

    package: str
    source: str
    """The file name of the manifest, for the header of each file."""
    generator: str
    runtime_api: int
    contract_id: str
    kind: str
    has_heartbeats: bool
    """Whether the runtime publishes `Health.Heartbeat` for it."""
    digest: str
    contract_json: str
    """The manifest in its own order, one member to a line."""
    title: str
    """The display name of the participant: `Orders Service`."""
    docstring: str
    service_class: str | None
    """None: an app, a device or an agent is a client only."""
    client_class: str
    models: ModelsPlan
    jobs: tuple[QueuePlan, ...]
    rpc: Surface[RpcPlan]
    events: Surface[EventPlan]
    feeds: Surface[FeedPlan]
    operations: Surface[OperationPlan]
    event_groups: tuple[GroupPlan, ...]
    kv: tuple[Member[BucketPlan], ...]
    state: tuple[Member[StatePlan], ...]
    stores: tuple[Member[StorePlan], ...]
    errors: tuple[ErrorPlan, ...]
    uses: tuple[UsePlan, ...]

    @property
    def exported(self) -> dict[str, tuple[str, ...]]:
        """For `__init__.py`: each module with the names taken from it."""
        exports = {
            "_contract": ["CONTRACT"],
            "client": [self.client_class],
            "errors": [error.class_name for error in self.errors],
            "jobs": [name for queue in self.jobs for name in (queue.job_alias, queue.queue_class)],
            "operations": [name for member in self.operations.members for name in member.plan.exported],
            "service": [self.service_class] if self.service_class else [],
        }
        taken = {name for names in exports.values() for name in names}
        exports["models"] = [name for name in self.models.names if name not in taken]
        return {module: tuple(sorted(names)) for module, names in exports.items() if names}

    @property
    def names(self) -> tuple[str, ...]:
        """Everything that `__init__.py` exports: constants, then classes."""
        names = [name for names in self.exported.values() for name in names]
        return tuple(sorted(names, key=lambda name: (not name.isupper(), name)))

    @property
    def imports(self) -> tuple[Import, ...]:
        """What `__init__.py` imports."""
        return _package_imports(self.exported)

    @property
    def jobs_imports(self) -> tuple[Import, ...]:
        """What the queues need in `jobs.py`."""
        models = {name for queue in self.jobs for name in queue.model_names}
        uses = {use for queue in self.jobs for argument in (*queue.spec, *queue.key) for use in argument.uses}
        keys = ["KeySpec"] if any(queue.key for queue in self.jobs) else []
        return (*find_imports([*uses, *keys]), *_package_imports({"models": models}))

    def name_rpc_classes(self, rpcs: Surface[RpcPlan], suffix: str) -> dict[str, str]:
        """Return the runtime's class for each of some RPCs: a `Call`, an `Endpoint` or a `Spec`."""
        return {member.name: f"{member.plan.kind}{suffix}" for member in rpcs.members}

    def name_operation_classes(self, prefix: str, suffix: str) -> dict[str, str]:
        """Return the runtime's class for each operation: `Active…`, `…Call` or `…Endpoint`."""
        return {member.name: f"{prefix}{member.plan.kind}{suffix}" for member in self.operations.members}

    @property
    def rpc_calls(self) -> Surface[RpcPlan]:
        """The RPCs that clients may call."""
        rpcs = self.rpc.members
        return group_names((member.name, member.plan) for member in rpcs if not member.plan.is_internal)

    @property
    def rpc_imports(self) -> tuple[Import, ...]:
        """What the RPCs need in `rpc.py`."""
        rpcs = [member.plan for member in self.rpc.members]
        models = {name for rpc in rpcs for name in (rpc.input, rpc.output) if name is not None}
        return _package_imports({"errors": {name for rpc in rpcs for name in rpc.errors}, "models": models})

    @property
    def events_imports(self) -> tuple[Import, ...]:
        """What the events need in `events.py`."""
        return _package_imports({"models": {member.plan.event for member in self.events.members}})

    @property
    def feeds_imports(self) -> tuple[Import, ...]:
        """What the feeds need in `feeds.py`."""
        feeds = [member.plan for member in self.feeds.members]
        models = {name for feed in feeds for name in (feed.input, feed.event)}
        return _package_imports(
            {"errors": {name for feed in feeds for name in feed.errors}, "models": models}
        )

    @property
    def operations_imports(self) -> tuple[Import, ...]:
        """What the operations need in `operations.py`."""
        plans = [member.plan for member in self.operations.members]
        package = {
            "errors": {name for plan in plans for name in plan.errors},
            "models": {name for plan in plans for name in plan.model_names},
        }
        return (
            *find_imports({name for plan in plans for name in plan.runtime_names}),
            *_package_imports(package),
        )

    @property
    def consumers_imports(self) -> tuple[Import, ...]:
        """What the event consumer groups need in `consumers.py`."""
        uses = {use for group in self.event_groups for argument in group.spec for use in argument.uses}
        events = (event for group in self.event_groups for event in group.events)
        return (*find_imports(uses), *(needed for event in events for needed in event.imports))

    @property
    def kv_imports(self) -> tuple[Import, ...]:
        """What the buckets need in `kv.py`."""
        buckets = [member.plan for member in self.kv]
        uses = {use for bucket in buckets for argument in bucket.spec for use in argument.uses}
        values = {bucket.value for bucket in buckets}
        models = {bucket.value for bucket in buckets if bucket.has_schema}
        return (*find_imports(uses | (values - models)), *_package_imports({"models": models}))

    @property
    def state_imports(self) -> tuple[Import, ...]:
        """What the state stores need in `state.py`."""
        stores = [member.plan for member in self.state]
        models = {name for store in stores for name in (store.value, *store.old)}
        names = {name for store in stores for name in store.runtime_names}
        return (*find_imports(names), *_package_imports({"models": models}))

    @property
    def stores_imports(self) -> tuple[Import, ...]:
        """What the object stores need in `stores.py`."""
        arguments = [argument for member in self.stores for argument in member.plan.spec]
        return tuple(find_imports({use for argument in arguments for use in argument.uses}))

    @property
    def errors_imports(self) -> tuple[Import, ...]:
        """What the errors need in `errors.py`."""
        return tuple(needed for error in self.errors for needed in error.imports)

    @property
    def hidden(self) -> tuple[str, ...]:
        """Nested objects that `__init__.py` does not export, because something else has their name."""
        others = {name for module, names in self.exported.items() if module != "models" for name in names}
        return tuple(name for name in self.models.names if name in others)


def _package_imports(names: Mapping[str, Iterable[str]]) -> tuple[Import, ...]:
    return tuple(Import(module=f".{module}", name=name) for module in names for name in names[module])


def collect_problems(error: ProblemsFound, others: OtherContracts | None = None) -> tuple[Problem, ...]:
    """Return the problems of an invalid contract, including names that collide and, with `others`, what it uses of them."""
    if not isinstance(error, ContractInvalid) or error.rest is None:
        return error.problems
    problems = [*error.problems, *find_collisions(_claims(error.rest))]
    if others is not None:
        problems += check_uses(error.rest, others)
    return tuple(locate(problems, error.source))


def plan_package(
    manifest: Manifest,
    *,
    source: str,
    package: str | None,
    generator: str,
    names: Mapping[str, str] | None = None,
    uses: Sequence[UsePlan] = (),
) -> tuple[PackagePlan, list[Problem]]:
    """Decide every name of a package, and report what the package does not support.

    `names` are those that the project states: see `apply_names`. `uses` is what it has of other contracts.

    Raises:
        ProblemsFound: the contract can't become a package.
    """
    manifest, unknown_names = apply_names(manifest, names or {})
    problems = [*find_misplaced_surfaces(manifest), *find_collisions(_claims(manifest))]
    stem = naming.pascal(naming.contract_stem(manifest.id))
    if not stem:
        what = f'cannot make a Python name from "{manifest.id}"'
        problems.append(Problem(pointer=("id",), rule=Rule.NO_PYTHON_NAME, what=what))
    try:
        models, remarks = plan_models(manifest)
    except ProblemsFound as error:
        raise ProblemsFound([*unknown_names, *problems, *error.problems]) from None
    if problems:
        raise ProblemsFound([*problems, *remarks])
    plan = PackagePlan(
        package=package or naming.default_package(manifest.id),
        source=source,
        generator=generator,
        runtime_api=RUNTIME_API,
        contract_id=manifest.id,
        kind=manifest.kind,
        has_heartbeats=has_heartbeats(manifest),
        digest=compute_digest(manifest),
        contract_json=_write_contract(manifest),
        title=manifest.display_name,
        docstring=choose_text(manifest.docs, manifest.description),
        service_class=f"{stem}Service" if is_service(manifest) else None,
        client_class=f"{stem}Client",
        models=models,
        jobs=plan_jobs(manifest, models),
        rpc=plan_rpc(manifest, models),
        events=plan_events(manifest, models),
        feeds=plan_feeds(manifest, models),
        operations=plan_operations(manifest, models),
        event_groups=plan_event_groups(manifest, models, {use.alias: use.events for use in uses}),
        kv=plan_kv(manifest, models),
        state=plan_state(manifest, models),
        stores=plan_stores(manifest),
        errors=plan_errors(manifest, models),
        uses=tuple(uses),
    )
    if clashes := _find_clashes(manifest, plan):
        raise ProblemsFound([*clashes, *remarks])
    return plan, [*unknown_names, *remarks, *_hidden(plan), *find_unsupported_surfaces(manifest)]


def _find_clashes(manifest: Manifest, plan: PackagePlan) -> Iterable[Problem]:
    """Return the names that meet; those that meet in several files are one problem."""
    return dict.fromkeys(
        problem for claims in _namespaces(manifest, plan) for problem in find_collisions(claims)
    )


def _write_contract(manifest: Manifest) -> str:
    written = manifest.model_dump(by_alias=True, exclude_unset=True, exclude={"json_schema"})
    return indented_json(written) + "\n"


def _hidden(plan: PackagePlan) -> Iterator[Problem]:
    owners = {name: schema for schema, names in plan.models.nested.items() for name in names}
    for name in plan.hidden:
        what = f"its nested class {name} is not exported, because the name is taken; import it from {plan.package}.models"
        pointer = ("schemas", owners[name])
        yield Problem(
            pointer=pointer, rule=Rule.HIDDEN_CLASS, what=what, on_key=True, severity=Severity.WARNING
        )


def _claims(manifest: Manifest) -> list[Claim]:
    """Return the attributes that the surfaces need."""
    claims = [
        *claim_queue_names(manifest),
        *claim_bucket_names(manifest),
        *claim_store_names(manifest),
        *claim_error_names(manifest),
        *claim_event_group_names(manifest),
        *claim_state_names(manifest),
        *claim_signal_names(manifest),
    ]
    for section, names in (
        ("rpc", manifest.rpc or {}),
        ("events", manifest.events or {}),
        ("feeds", manifest.feeds or {}),
        ("operations", manifest.operations or {}),
    ):
        claims += claim_group_names(section, names)
    return claims


def _namespaces(manifest: Manifest, plan: PackagePlan) -> Iterator[list[Claim]]:
    """Yield the names that share a file: first the package's `__init__.py`, then that of each surface."""
    models = [Claim(each.name, ("schemas", name)) for name, each in plan.models.classes.items()]
    errors = [*claim_error_names(manifest)]
    jobs = [
        Claim(name, ("jobs", queue.name))
        for queue in plan.jobs
        for name in (queue.queue_class, queue.job_alias)
    ]
    participants = [
        Claim(name, ("id",)) for name in (plan.service_class, plan.client_class) if name is not None
    ]
    operations = [*claim_operation_classes(plan.operations)]
    yield [*participants, *errors, *jobs, *operations, *models]
    nested = [
        Claim(name, ("schemas", schema)) for schema, names in plan.models.nested.items() for name in names
    ]
    yield [*errors, *models, *nested]
    yield [*errors, *models, *claim_group_classes("rpc", plan.rpc, ("RpcEndpoints", "RpcCalls"))]
    yield [*models, *claim_group_classes("events", plan.events, ("EventPublishers", "EventSources"))]
    yield [
        *errors,
        *models,
        *claim_group_classes("feeds", plan.feeds, ("FeedEndpoints", "FeedCalls")),
    ]
    yield [
        *(*errors, *models, *operations),
        *claim_group_classes("operations", plan.operations, ("OperationEndpoints", "OperationCalls")),
    ]
    groups = [
        Claim(name, ("eventConsumers", group.name))
        for group in plan.event_groups
        for name in (group.class_name, group.constant)
    ]
    yield [*models, *groups, *claim_group_events(plan.event_groups)]
    yield [*models, *(Claim(bucket.constant, ("resources", "kv", bucket.name)) for bucket in plan.kv)]
    yield [*models, *(Claim(store.constant, ("state", store.name)) for store in plan.state)]
    yield [Claim(store.constant, ("resources", "store", store.name)) for store in plan.stores]
    yield [Claim(name, use.place) for use in plan.uses for name in (f"uses.{use.attribute}", use.class_name)]
