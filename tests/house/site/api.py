"""Writes the pages of the Python interface from signatures and docstrings, without importing the sources."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Final

import griffe

from tests.house.sources import ROOT

__all__ = ["PAGES", "Page", "load", "page_text", "reference_pages"]


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the reference, and where its names come from."""

    name: str
    title: str
    about: str
    module: str
    """Where a program imports the names from."""
    parts: tuple[str, ...] = ()
    """Of the names of that module, those that are defined in these parts of it. Empty: all."""


PAGES: Final = (
    Page("service", "Services and clients", "What connects, serves and calls.", "trellis_nats", ("service", "client", "context")),
    Page("jobs", "Jobs", "Queues, jobs, and what becomes of them.", "trellis_nats", ("jobs",)),
    Page("rpc", "RPC", "Calls between services.", "trellis_nats", ("rpc",)),
    Page("events", "Events", "Publishing, sources and consumer groups.", "trellis_nats", ("events",)),
    Page("feeds", "Feeds", "Streams of updates for one caller.", "trellis_nats", ("feeds",)),
    Page("operations", "Operations", "Calls that take long, with steps, a result and a way to cancel.", "trellis_nats", ("operations",)),
    Page("kv", "Key-value buckets", "Typed records with revisions.", "trellis_nats", ("kv",)),
    Page("stores", "Stores, uploads and downloads", "Objects of any size.", "trellis_nats", ("stores", "transfers")),
    Page("state", "State", "State of apps and devices.", "trellis_nats", ("state",)),
    Page("options", "Options", "What a program may set when it connects.", "trellis_nats", ("options",)),
    Page("errors", "Errors", "Every class that the runtime raises, or that a handler may raise.", "trellis_nats", ("errors",)),
    Page("health", "Health and permissions", "What a process says about itself, and what its account must be allowed.", "trellis_nats", ("health", "permissions")),
    Page("auth", "Signed calls", "Session keys, and who may call.", "trellis_nats", ("auth",)),
    Page("generated", "What generated code is made of", "Base classes and specifications. Programs see them as types of generated names.", "trellis_nats", ("model", "json_types", "specs", "contract", "binding", "runtime")),
    Page("testing", "Tests", "A real server, a clock that a test moves, and what a service did.", "trellis_nats.testing"),
    Page("metrics", "Metrics", "Numbers of a process without a metrics library.", "trellis_nats.metrics"),
    Page("provision", "Provisioning", "What a contract needs on a server.", "trellis_nats.provision"),
    Page("admin", "Operating from Python", "What the command `trellis` does.", "trellis_admin"),
)  # fmt: skip
_WIDTH: Final = 100


def load() -> griffe.ModulesCollection:
    """Read the sources of the runtime and of the tools."""
    loader = griffe.GriffeLoader(search_paths=[ROOT / "runtime", ROOT / "admin"], docstring_parser="google")
    loader.load("trellis_nats")
    loader.load("trellis_admin")
    loader.resolve_aliases(implicit=False, external=False)
    return loader.modules_collection


def reference_pages() -> dict[str, str]:
    """Return the text of each page by its path in the site.

    Raises:
        ValueError: a public name is on no page.
    """
    modules = load()
    placed = {page.name: dict(_names_of(modules, page)) for page in PAGES}
    shown = {name for names in placed.values() for name in names}
    if missing := sorted(set(_exports(modules, "trellis_nats")) - shown - {"JsonValue", "RUNTIME_API"}):
        raise ValueError(f"no page of tests/house/site/api.py has {', '.join(missing)}")
    errors = set(placed["errors"])
    return {
        f"reference/api/{page.name}.md": page_text(page, placed[page.name], errors, shown) for page in PAGES
    }


def page_text(page: Page, names: dict[str, griffe.Object], errors: set[str], shown: set[str]) -> str:
    """Return the Markdown of a page. What its classes inherit from one that is `shown` is left out."""
    lines = [f"# {page.title}", "", f"{page.about} Import these names from `{page.module}`.", ""]
    lines.append(" · ".join(f"[`{name}`](#{name.lower()})" for name in names))
    for name, value in names.items():
        lines += ["", f"## {name} {{#{name.lower()}}}", "", *_described(name, value, errors, shown)]
    return "\n".join(lines).rstrip() + "\n"


def _exports(modules: griffe.ModulesCollection, module: str) -> list[str]:
    return [str(name).strip("'\"") for name in modules[module].exports or ()]


def _names_of(modules: griffe.ModulesCollection, page: Page) -> Iterator[tuple[str, griffe.Object]]:
    for name in _exports(modules, page.module):
        member = modules[f"{page.module}.{name}"]
        try:
            target = member.final_target if isinstance(member, griffe.Alias) else member
        except griffe.AliasResolutionError:
            continue  # pydantic's
        part = target.path.split(".")[1]
        if not page.parts or part in page.parts:
            yield name, target


def _described(name: str, value: griffe.Object, errors: set[str], shown: set[str]) -> Iterator[str]:
    match value:
        case griffe.Class():
            yield from _class(name, value, errors, shown)
        case griffe.Function():
            yield from [_code(_signature(value)), "", *_documentation(value, errors)]
        case griffe.Attribute():
            yield from [_code(_attribute(name, value)), "", *_documentation(value, errors)]
        case _:
            pass


def _class(name: str, value: griffe.Class, errors: set[str], shown: set[str]) -> Iterator[str]:
    bases = ", ".join(str(base) for base in value.bases)
    yield _code(f"class {name}({bases})" if bases else f"class {name}")
    yield ""
    yield from _documentation(value, errors)
    made = value.members.get("__init__")
    if isinstance(made, griffe.Function) and not _is_made_by_the_runtime(made):
        yield from ["", _code(_signature(made, name)), "", *_documentation(made, errors)]
    members = list(_members(value, shown))
    attributes = [member for member in members if isinstance(member, griffe.Attribute)]
    if attributes:
        yield ""
    for attribute in attributes:
        text = "\n".join(_documentation(attribute, errors)).replace("\n", "\n    ")
        annotation = f": {attribute.annotation}" if attribute.annotation is not None else ""
        yield f"- `{attribute.name}{annotation}`{': ' if text else ''}{text}"
    for member in members:
        if isinstance(member, griffe.Function):
            signatures = [_signature(one) for one in member.overloads or [member]]
            yield from ["", f"### {member.name} {{#{name.lower()}.{member.name}}}", ""]
            yield from [_code("\n\n".join(signatures)), "", *_documentation(member, errors)]


def _is_made_by_the_runtime(constructor: griffe.Function) -> bool:
    documented = constructor.docstring is not None and constructor.docstring.value.startswith("Created by")
    return documented or "runtime" in constructor.parameters


def _members(value: griffe.Class, shown: set[str]) -> Iterator[griffe.Object]:
    """Yield the public members, also those of bases that no page shows."""
    seen: set[str] = set()
    for owner in [value, *(base for base in value.mro() if base.name not in shown)]:
        for name, member in owner.members.items():
            if name.startswith("_") or name in seen or not isinstance(member, griffe.Object):
                continue
            seen.add(name)
            if not isinstance(member, griffe.Attribute) or member.docstring or member.annotation is not None:
                yield member


def _signature(function: griffe.Function, name: str = "") -> str:
    parameters = [one for one in function.parameters if one.name not in {"self", "cls"}]
    parts: list[str] = []
    for kind, group in groupby(parameters, key=lambda one: one.kind):
        if kind is griffe.ParameterKind.keyword_only and not any(part.startswith("*") for part in parts):
            parts.append("*")
        parts += [_parameter(one) for one in group]
        if kind is griffe.ParameterKind.positional_only:
            parts.append("/")
    before = name or ("async def " if "async" in function.labels else "def ") + function.name
    after = f" -> {function.returns}" if function.returns is not None and not name else ""
    line = f"{before}({', '.join(parts)}){after}"
    if len(line) <= _WIDTH:
        return line
    return f"{before}(\n" + "".join(f"    {part},\n" for part in parts) + f"){after}"


def _parameter(parameter: griffe.Parameter) -> str:
    stars = {griffe.ParameterKind.var_positional: "*", griffe.ParameterKind.var_keyword: "**"}
    text = stars.get(parameter.kind or griffe.ParameterKind.positional_or_keyword, "") + parameter.name
    if parameter.annotation is not None:
        text += f": {parameter.annotation}"
    if parameter.default is not None and parameter.kind not in stars:
        text += f" = {parameter.default}"
    return text


def _attribute(name: str, value: griffe.Attribute) -> str:
    annotation = f": {value.annotation}" if value.annotation is not None else ""
    return f"{name}{annotation}" + (f" = {value.value}" if value.value is not None else "")


def _code(text: str) -> str:
    return f"```python\n{text}\n```"


def _documentation(value: griffe.Object, errors: set[str]) -> Iterator[str]:
    """Yield the paragraphs of a docstring, its sections as lists."""
    for section in value.docstring.parsed if value.docstring else ():
        match section:
            case griffe.DocstringSectionText():
                yield section.value
            case griffe.DocstringSectionParameters():
                yield from _listed("Arguments", ((f"`{one.name}`", one.description) for one in section.value))
            case griffe.DocstringSectionRaises():
                raised = ((_error(str(one.annotation), errors), one.description) for one in section.value)
                yield from _listed("Raises", raised)
            case griffe.DocstringSectionReturns() | griffe.DocstringSectionYields():
                yield from _listed(
                    section.kind.value.title(), (("", one.description) for one in section.value)
                )
            case griffe.DocstringSectionAdmonition():
                yield from ["", f"**{section.title}** {section.value.description}"]
            case _:
                raise TypeError(f"{value.path}: a section {section.kind.value} has no rendering")


def _listed(title: str, items: Iterable[tuple[str, str]]) -> Iterator[str]:
    yield from ["", f"**{title}**", ""]
    for name, description in items:
        yield f"- {name}{': ' if name else ''}{' '.join(description.split())}"


def _error(name: str, errors: set[str]) -> str:
    return f"[`{name}`](errors.md#{name.lower()})" if name in errors else f"`{name}`"
