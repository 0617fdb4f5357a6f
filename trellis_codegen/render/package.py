"""A package plan → file name → text."""

from __future__ import annotations

from dataclasses import dataclass

from jinja2 import Environment

from trellis_codegen.plan.imports import Import
from trellis_codegen.plan.package import PackagePlan, UsePlan
from trellis_codegen.render.environment import find_environment
from trellis_codegen.render.filters import comment
from trellis_codegen.render.formatting import format_files
from trellis_codegen.render.header import HEADER_START

__all__ = ["render_package", "render_unformatted"]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Side:
    """An attribute of the service and of the client."""

    module: str
    service_class: str | None
    service_words: str
    client_class: str | None
    client_words: str
    used_words: str = ""
    """The words for what is used of another contract."""


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
        client_words="The RPCs of the service.",
        used_words="Its RPCs.",
    ),
    _Side(
        module="events",
        service_class="EventPublishers",
        service_words="The events that the service publishes.",
        client_class="EventSources",
        client_words="The events of the service.",
        used_words="Its events.",
    ),
    _Side(
        module="consumers",
        service_class="ConsumerGroups",
        service_words="The event consumer groups.",
        client_class=None,
        client_words="",
    ),
    _Side(
        module="feeds",
        service_class="FeedEndpoints",
        service_words="The feeds that the service serves.",
        client_class="FeedCalls",
        client_words="The feeds of the service.",
        used_words="Its feeds.",
    ),
    _Side(
        module="operations",
        service_class="OperationEndpoints",
        service_words="The operations that the service runs.",
        client_class="OperationCalls",
        client_words="The operations of the service.",
        used_words="Its operations.",
    ),
    _Side(
        module="kv",
        service_class="Buckets",
        service_words="The key-value buckets.",
        client_class=None,
        client_words="",
    ),
    _Side(
        module="stores",
        service_class="Stores",
        service_words="The object stores.",
        client_class=None,
        client_words="",
    ),
    _Side(
        module="state",
        service_class=None,
        service_words="",
        client_class="StateStores",
        client_words="The state stores.",
    ),
)
_USES = _Side(
    module="uses",
    service_class="Uses",
    service_words="What is used of other contracts.",
    client_class="Uses",
    client_words="What is used of other contracts.",
)


_CONTRACT = Import(module="._contract", name="CONTRACT")


def render_package(plan: PackagePlan) -> dict[str, str]:
    """Return every file of the package: its name, relative to the package and with slashes, and its text."""
    result = format_files(render_unformatted(plan))
    return dict(sorted({**result, "contract.json": plan.contract_json, "py.typed": ""}.items()))


def render_unformatted(plan: PackagePlan) -> dict[str, str]:
    """Return the Python files of the package as the templates have them, which takes a fraction of the time."""
    header = f"{HEADER_START}{comment(plan.source)}. DO NOT EDIT.\n\n"
    return {name: header + text for name, text in _Renderer(plan).files().items()}


class _Renderer:
    """Renders the templates of one plan; each text is a file without its header."""

    def __init__(self, plan: PackagePlan, use: UsePlan | None = None) -> None:
        self._plan = plan
        self._use = use
        self._environment: Environment = find_environment()

    def _sides(self) -> list[_Side]:
        """Return the sides that the contract has."""
        plan = self._plan
        present = {
            "jobs": bool(plan.jobs),
            "rpc": bool(plan.rpc.members),
            "events": bool(plan.events.members),
            "consumers": bool(plan.event_groups),
            "feeds": bool(plan.feeds.members),
            "operations": bool(plan.operations.members),
            "kv": bool(plan.kv),
            "state": bool(plan.state),
            "stores": bool(plan.stores),
        }
        return [side for side in _SIDES if present[side.module]]

    def files(self) -> dict[str, str]:
        """Return the files of a package."""
        plan, sides = self._plan, self._sides()
        uses = [_USES] if plan.uses else []
        files = {
            "__init__.py": self._render("__init__.py", names=plan.names, needed=plan.imports),
            "_contract.py": self._render("_contract.py"),
            "client.py": self._client([*sides, *([] if plan.service_class else uses)]),
        }
        if plan.service_class:
            files["service.py"] = self._service([*sides, *uses])
        files |= {f"{side.module}.py": self._render(f"{side.module}.py") for side in sides}
        files |= self._shared_files()
        if plan.uses:
            needed = [Import(module=f".{use.attribute}.use", name=use.class_name) for use in plan.uses]
            files["uses/__init__.py"] = self._render("uses.py", needed=needed)
        for use in plan.uses:
            inside = _Renderer(use.surfaces, use).used_files(use)
            files |= {f"uses/{use.attribute}/{name}": text for name, text in inside.items()}
        return files

    def used_files(self, use: UsePlan) -> dict[str, str]:
        """Return the files for what is used of another contract: the client half of a package."""
        sides = [side for side in self._sides() if side.used_words]
        needed = [
            Import(module=f".{side.module}", name=side.client_class) for side in sides if side.client_class
        ]
        return {
            "__init__.py": self._render("__init__.py", names=use.names, needed=use.imports),
            "use.py": self._render("use.py", surfaces=sides, needed=needed),
            **{f"{side.module}.py": self._render(f"{side.module}.py") for side in sides},
            **self._shared_files(),
        }

    def _shared_files(self) -> dict[str, str]:
        """Return the files that both halves need."""
        plan = self._plan
        files: dict[str, str] = {}
        if plan.errors:
            files["errors.py"] = self._render("errors.py")
        if plan.models.modules:
            files["models/__init__.py"] = self._render("models_init.py")
        for module in plan.models.modules:
            files[f"models/{module.module}.py"] = self._render("model.py", module=module)
        return files

    def _service(self, sides: list[_Side]) -> str:
        sides = [side for side in sides if side.service_class]
        needed = [
            Import(module=f".{side.module}", name=side.service_class) for side in sides if side.service_class
        ]
        return self._render("service.py", surfaces=sides, needed=[_CONTRACT, *needed])

    def _client(self, sides: list[_Side]) -> str:
        has_calls = bool(self._plan.rpc_calls.members)
        sides = [side for side in sides if side.client_class and (has_calls or side.module != "rpc")]
        needed = [
            Import(module=f".{side.module}", name=side.client_class) for side in sides if side.client_class
        ]
        return self._render("client.py", surfaces=sides, needed=[_CONTRACT, *needed])

    def _render(self, name: str, **context: object) -> str:
        return self._environment.get_template(f"{name}.j2").render(plan=self._plan, use=self._use, **context)
