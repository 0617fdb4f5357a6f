"""A package plan → file name → text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from jinja2 import Environment

from trellis_codegen.plan.imports import Imports, imports_of
from trellis_codegen.plan.models import ModelModule
from trellis_codegen.plan.package import PackagePlan
from trellis_codegen.render.environment import environment
from trellis_codegen.render.filters import comment
from trellis_codegen.render.formatting import formatted_all
from trellis_codegen.render.header import HEADER_START

__all__ = ["render_package"]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Side:
    """An attribute of the service and of the client."""

    module: str
    service_class: str
    service_words: str
    client_class: str | None
    client_words: str


_SIDES = (
    _Side(
        module="jobs",
        service_class="JobsFacade",
        service_words="The job queues.",
        client_class=None,
        client_words="",
    ),
    _Side(
        module="rpc",
        service_class="RpcEndpoints",
        service_words="The RPCs that the service serves.",
        client_class="RpcCalls",
        client_words="The RPCs that the service serves, to be called.",
    ),
    _Side(
        module="events",
        service_class="EventPublishers",
        service_words="The events that the service publishes.",
        client_class="EventSources",
        client_words="The events that the service publishes, to be received.",
    ),
    _Side(
        module="kv",
        service_class="Buckets",
        service_words="The key-value buckets.",
        client_class=None,
        client_words="",
    ),
)


def render_package(plan: PackagePlan) -> dict[str, str]:
    """Return every file of the package: its name, relative to the package and with slashes, and its text."""
    files = _Renderer(plan).files()
    header = f"{HEADER_START}{comment(plan.source)}. DO NOT EDIT.\n\n"
    result = formatted_all({name: header + text for name, text in files.items()})
    return dict(sorted({**result, "contract.json": plan.contract_json, "py.typed": ""}.items()))


class _Renderer:
    """Renders the templates of one plan; each text is a file without its header."""

    def __init__(self, plan: PackagePlan) -> None:
        self._plan = plan
        self._environment: Environment = environment()

    def files(self) -> dict[str, str]:
        plan = self._plan
        present = {
            "jobs": bool(plan.jobs),
            "rpc": bool(plan.rpc.members),
            "events": bool(plan.events.members),
            "kv": bool(plan.kv),
        }
        sides = [side for side in _SIDES if present[side.module]]
        names = sorted({name for _, names in plan.exported for name in names}, key=_all_order)
        files = {
            "__init__.py": self._render("__init__.py", names=names),
            "_contract.py": self._render("_contract.py"),
            "service.py": self._render("service.py", surfaces=sides),
            "client.py": self._render("client.py", surfaces=[side for side in sides if side.client_class]),
        }
        if plan.jobs:
            files["jobs.py"] = self._jobs()
        if present["rpc"]:
            files["rpc.py"] = self._rpc()
        if present["events"]:
            members = [member.plan for member in plan.events.members]
            files["events.py"] = self._render(
                "events.py", model_names=_sorted(each.event for each in members)
            )
        if plan.kv:
            files["kv.py"] = self._kv()
        if plan.errors:
            files["errors.py"] = self._errors()
        return files | self._models()

    def _render(self, name: str, **context: object) -> str:
        return self._environment.get_template(f"{name}.j2").render(plan=self._plan, **context)

    def _jobs(self) -> str:
        jobs = self._plan.jobs
        values = [value for queue in jobs for _, value in (*queue.spec, *queue.key)]
        used = {"timedelta" for value in values if "timedelta(" in value} | {
            "KeySpec" for queue in jobs if queue.key
        }
        types = [name for queue in jobs for key, name in queue.spec if key in ("payload", "result", "update")]
        exported = ["JobsFacade", *(name for queue in jobs for name in (queue.job_alias, queue.queue_class))]
        return self._render("jobs.py", used=used, model_names=_sorted(types), exported=_sorted(exported))

    def _rpc(self) -> str:
        rpcs = [member.plan for member in self._plan.rpc.members]
        return self._render(
            "rpc.py",
            model_names=_sorted(name for rpc in rpcs for name in (rpc.input, rpc.output)),
            error_names=_sorted(name for rpc in rpcs for name in rpc.errors),
        )

    def _kv(self) -> str:
        buckets = [member.plan for member in self._plan.kv]
        used = {"timedelta" for bucket in buckets for key, _ in bucket.spec if key == "ttl"}
        used |= {"JsonValue" for bucket in buckets if not bucket.has_schema}
        return self._render(
            "kv.py", used=used, model_names=_sorted(each.value for each in buckets if each.has_schema)
        )

    def _errors(self) -> str:
        errors = self._plan.errors
        annotations = [field.annotation for error in errors for field in error.fields]
        typing_names = {"ClassVar"} | {"cast" for error in errors if error.fields}
        known, shapes = _split_names(annotations, self._plan.models.names)
        return self._render(
            "errors.py",
            imports=_with_typing(known, typing_names),
            model_names=_sorted([*shapes, *(error.data for error in errors if error.data)]),
            exported=_sorted(error.class_name for error in errors),
        )

    def _models(self) -> dict[str, str]:
        models = self._plan.models
        if not models.modules:
            return {}
        files = {"models/__init__.py": self._render("models_init.py")}
        if models.shapes:
            files["models/_shapes/__init__.py"] = self._render("shapes_init.py")
        for folder, modules in (("models", models.modules), ("models/_shapes", models.shapes)):
            files |= {f"{folder}/{each.module}.py": self._model(each) for each in modules}
        return files

    def _model(self, module: ModelModule) -> str:
        return self._render("model.py", module=module)


def _sorted(names: Iterable[str]) -> list[str]:
    return sorted(set(names))


def _all_order(name: str) -> tuple[int, str]:
    """Sort like ruff does: constants, classes, the rest."""
    return (0 if name.isupper() else 1, name)


def _split_names(annotations: list[str], model_names: Iterable[str]) -> tuple[Imports, list[str]]:
    words = {word for annotation in annotations for word in re.findall(r"\w+", annotation)}
    return imports_of(annotations), [name for name in model_names if name in words]


def _with_typing(imports: Imports, names: set[str]) -> Imports:
    homes: Mapping[str, tuple[str, ...]] = dict(imports)
    merged = {**homes, "typing": tuple(sorted({*homes.get("typing", ()), *names}))}
    return tuple(sorted(merged.items()))
