"""The files of a new project, in memory: rendered from `templates/init`, next to the package of its contract."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from black import format_str
from black.mode import Mode, TargetVersion

from trellis_codegen import __version__
from trellis_codegen.cli.building import BuiltPackage
from trellis_codegen.cli.starting.calls import SampleCall
from trellis_codegen.cli.starting.requests import Template
from trellis_codegen.contract.editor_schema import editor_schema
from trellis_codegen.render.environment import find_environment

__all__ = ["Project", "render_manifest", "render_project"]

_EDITOR_SCHEMA: Final = "contracts/schema/trellis.contract.v1.json"
_MODE: Final = Mode(target_versions={TargetVersion.PY311})
"""With the line length that black and ruff have by default, so that formatters change nothing."""

_COMMON: Final = {
    ".gitignore": "common/gitignore",
    "README.md": "common/README.md",
    "pyproject.toml": "common/pyproject.toml",
}
_DEMO: Final = {"demo.py": "shows everything on a nats-server of its own"}
_SERVICE_TESTS: Final = {
    "tests/test_service.py": "tests against a real nats-server: hours of waits take no time"
}
_FILES: Final[Mapping[Template, Mapping[str, str]]] = {
    Template.JOBS: {
        "main.py": "the service: what its jobs do",
        "create_jobs.py": "creates jobs, as a web server or a script would",
        **_DEMO,
        **_SERVICE_TESTS,
    },
    Template.RPC: {
        "main.py": "the service: what its RPCs and its jobs do",
        "client.py": "calls the service from another process",
        **_DEMO,
        **_SERVICE_TESTS,
    },
    Template.CLIENT: {
        "main.py": "calls the service",
        "fake_service.py": "stands for the service in the demo and in tests",
        **_DEMO,
        "tests/test_main.py": "tests against a real nats-server",
    },
}
"""The handwritten files of each template, and what each is for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Project:
    """A project that is not written yet."""

    package: str
    """The name of its generated package."""
    own_files: dict[str, str]
    """The files for its author: name → what each is for; empty where the name says it."""
    files: dict[str, str]
    """Every file, with those of the package: name → text."""


def render_manifest(name: str, template: Template) -> str:
    """Return the contract of a new service."""
    context = {
        "name": name,
        "title": name.replace("-", " ").replace("_", " ").title(),
        "editor_schema": f"./schema/{Path(_EDITOR_SCHEMA).name}",
    }
    return _render(f"{template}/manifest.json", context)


def render_project(
    name: str,
    template: Template,
    built: BuiltPackage,
    contracts: Mapping[str, str],
    *,
    call: SampleCall | None = None,
) -> Project:
    """Return a project: its contracts, its package, and what the templates make of the names of the package.

    Args:
        name: of the project.
        template: decides which files are rendered.
        built: the package.
        contracts: the manifests, that of the package first, then those that it uses: file name → text.
        call: what a client calls.
    """
    manifest = next(iter(contracts))
    is_client = template is Template.CLIENT
    purpose = (
        "a copy of the service's contract: replace it when that changes"
        if is_client
        else "the contract: what the service has to offer"
    )
    purposes = {manifest: purpose, **_FILES[template]}
    context: dict[str, object] = {
        "name": name,
        "title": built.plan.title,
        "template": template.value,
        "version": __version__,
        "package": built.package,
        "service_class": built.plan.service_class,
        "client_class": built.plan.client_class,
        "groups": [group.attribute for group in built.plan.event_groups],
        "call": call,
        "purposes": purposes,
        "manifest": manifest,
        "has_uses": len(contracts) > 1,
        "editor_schema": _EDITOR_SCHEMA,
        "import_local": _import_local,
    }
    sources = {file: f"{template}/{Path(file).name}" for file in _FILES[template]} | _COMMON
    rendered = {file: _render(source, context) for file, source in sources.items()}
    package = {f"{built.package}/{file}": text for file, text in built.files.items()}
    schema = {} if is_client else {_EDITOR_SCHEMA: _write_editor_schema()}
    return Project(
        package=built.package,
        own_files={**purposes, **dict.fromkeys(_COMMON, "")},
        files={**contracts, **schema, **rendered, **package},
    )


def _write_editor_schema() -> str:
    return json.dumps(editor_schema(), indent=2, ensure_ascii=False) + "\n"


def _import_local(names: Mapping[str, Sequence[str]]) -> str:
    """Return the imports from modules of the project, in the order that ruff and isort want."""
    return "\n".join(
        f"from {module} import {', '.join(sorted(names[module], key=_import_order))}"
        for module in sorted(names)
    )


def _import_order(name: str) -> tuple[int, str]:
    """Sort constants, then classes, then functions."""
    return (0 if name.isupper() else 1 if name[:1].isupper() else 2, name)


def _render(source: str, context: Mapping[str, object]) -> str:
    text = find_environment().get_template(f"init/{source}.j2").render(context)
    return format_str(text, mode=_MODE) if source.endswith(".py") else text
