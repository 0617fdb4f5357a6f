"""What a contract uses of others: their names in it, and what is left of another contract for it.

What the runtime does without generated code needs no manifest: `PROVIDED`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

from trellis_codegen.contract.exchange import ErrorDeclaration, Operation, Rpc, Use
from trellis_codegen.contract.manifest import Manifest
from trellis_codegen.contract.rules.references import find_schema_names
from trellis_codegen.problems import Pointer, Problem, did_you_mean
from trellis_codegen.rule_ids import Rule

__all__ = [
    "OtherContract",
    "OtherContracts",
    "UsedContract",
    "check_uses",
    "find_uses",
    "select_used",
]

PROVIDED: Final[Mapping[str, frozenset[tuple[str, str, str]]]] = {
    "trellis.auth@v1": frozenset([("rpc", "call", "Auth.Requests.Validate")]),
    "trellis.core@v1": frozenset(
        [("rpc", "call", "Trellis.Bindings.Get"), ("rpc", "call", "Trellis.Catalog")]
    ),
    "trellis.health@v1": frozenset([("events", "publish", "Health.Heartbeat")]),
    "trellis.state@v1": frozenset(
        ("rpc", "call", f"State.{name}") for name in ("Delete", "Get", "List", "Put")
    ),
}
"""Contract id → what the runtime does with it. A use that lists nothing else needs no manifest, and nothing is generated."""
_KINDS: Final = {"rpc": "RPC", "operations": "operation", "events": "event", "feeds": "feed"}
_KEPT: Final = frozenset(["format", "id", "display_name", "description", "kind", "docs"])
_HINT: Final = (
    "name its manifest, a folder with it, or an installed package that was generated from it: --with FILE, "
    'or with = ["FILE"] under [tool.trellis-gen] in pyproject.toml'
)

_IDS_SHOWN: Final = 8

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class OtherContract:
    """A contract that others may use."""

    manifest: Manifest
    file: str
    """Where it was found, as messages show it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OtherContracts:
    """The contracts that a contract may use, by id."""

    by_id: Mapping[str, OtherContract] = field(default_factory=dict[str, OtherContract])
    known_ids: tuple[str, ...] = ()
    """The ids of all contracts that were found, also of those that were not read."""
    places: tuple[str, ...] = ()
    """Every place that was searched."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UsedContract:
    """One alias under `uses`."""

    alias: str
    use: Use
    is_required: bool

    @property
    def pointer(self) -> Pointer:
        """Its place in the contract."""
        return ("uses", "required" if self.is_required else "optional", self.alias)

    @property
    def items(self) -> Iterator[tuple[str, str, int, str]]:
        """Each name that it lists: the section, the list in it, the position and the name."""
        for section, selection in self._selections():
            for name, listed in selection.items():
                for index, item in enumerate(listed or ()):
                    yield section, name, index, item

    def listed(self, section: str, *lists: str) -> dict[str, None]:
        """Return the names of a section that some of its lists have, each once."""
        return {
            item: None
            for found, name, _, item in self.items
            if found == section and (name in lists or not lists)
        }

    @property
    def is_provided(self) -> bool:
        """Whether the runtime does everything that it lists."""
        provided = PROVIDED.get(self.use.contract)
        return provided is not None and all(
            (section, name, item) in provided for section, name, _, item in self.items
        )

    def _selections(self) -> Iterator[tuple[str, dict[str, list[str] | None]]]:
        use = self.use
        yield "rpc", {"call": use.rpc.call if use.rpc else None}
        yield "operations", {"call": use.operations.call if use.operations else None}
        yield (
            "events",
            {
                "publish": use.events.publish if use.events else None,
                "subscribe": use.events.subscribe if use.events else None,
            },
        )
        yield "feeds", {"subscribe": use.feeds.subscribe if use.feeds else None}


def find_uses(manifest: Manifest) -> list[UsedContract]:
    """Return what a contract uses, required ones first; an alias in both groups is required."""
    if manifest.uses is None:
        return []
    required, optional = manifest.uses.required or {}, manifest.uses.optional or {}
    return [
        *(UsedContract(alias=alias, use=use, is_required=True) for alias, use in required.items()),
        *(
            UsedContract(alias=alias, use=use, is_required=False)
            for alias, use in optional.items()
            if alias not in required
        ),
    ]


def check_uses(manifest: Manifest, others: OtherContracts) -> Iterator[Problem]:
    """Yield a problem for each used contract that was not found, and for each name that a used contract lacks."""
    for used in find_uses(manifest):
        other = others.by_id.get(used.use.contract)
        if other is not None:
            yield from _check_items(used, other)
        elif not used.is_provided:
            yield _missing(used, others)


def _missing(used: UsedContract, others: OtherContracts) -> Problem:
    searched = f"searched {', '.join(others.places)}" if others.places else "no place to search was given"
    return Problem(
        pointer=(*used.pointer, "contract"),
        rule=Rule.CONTRACT_NOT_FOUND,
        what=f'the contract "{used.use.contract}" was not found; {searched}',
        hint=f"{_list_ids(others.known_ids)}{_HINT}",
    )


def _list_ids(ids: tuple[str, ...]) -> str:
    if not ids:
        return ""
    rest = len(ids) - _IDS_SHOWN
    return f"found: {', '.join(sorted(ids)[:_IDS_SHOWN])}{f' and {rest} more' if rest > 0 else ''}; "


def _check_items(used: UsedContract, other: OtherContract) -> Iterator[Problem]:
    provided = PROVIDED.get(used.use.contract, frozenset())
    for section, name, index, item in used.items:
        known = _section(other.manifest, section)
        pointer = (*used.pointer, section, name, index)
        if (section, name, item) in provided:
            continue
        if item not in known:
            what = f'{used.use.contract} has no {_KINDS[section]} named "{item}" (it is in {other.file})'
            yield Problem(
                pointer=pointer, rule=Rule.UNKNOWN_USED_NAME, what=what, hint=did_you_mean(item, known)
            )
        elif _is_internal(other.manifest, section, item):
            what = f'{_KINDS[section]} "{item}" of {used.use.contract} is internal: other contracts cannot use it'
            yield Problem(pointer=pointer, rule=Rule.INTERNAL_RPC, what=what)


def _section(manifest: Manifest, section: str) -> Collection[str]:
    sections: Mapping[str, Collection[str] | None] = {
        "rpc": manifest.rpc,
        "operations": manifest.operations,
        "events": manifest.events,
        "feeds": manifest.feeds,
    }
    return sections[section] or ()


def _is_internal(manifest: Manifest, section: str, name: str) -> bool:
    return section == "rpc" and bool((manifest.rpc or {})[name].internal)


def select_used(used: UsedContract, other: Manifest) -> Manifest:
    """Return another contract with nothing but what a use lists, and the schemas and errors that this needs.

    Everything keeps the order of the other contract. An internal RPC, which only the runtime calls, is left out.
    """
    rpc = _only(other.rpc, [name for name in used.listed("rpc") if not _is_internal(other, "rpc", name)])
    operations = _only(other.operations, used.listed("operations"))
    feeds = _only(other.feeds, used.listed("feeds"))
    calls: list[Rpc | Operation] = [*(rpc or {}).values(), *(operations or {}).values()]
    answers = {error.error_type for call in calls for error in call.errors or ()}
    events = _only(other.events, used.listed("events"))
    # A feed, and an operation that lists no errors, may end with any that the contract declares.
    is_any = bool(feeds) or any(not operation.errors for operation in (operations or {}).values())
    errors = other.errors if is_any else _declared(other.errors, answers)
    sections = {"rpc": rpc, "operations": operations, "events": events, "feeds": feeds, "errors": errors}
    kept = {name: getattr(other, name) for name in _KEPT & other.model_fields_set}
    kept |= {name: section for name, section in sections.items() if section}
    schemas = {name for _, name in find_schema_names(Manifest.model_construct(**kept), ())}
    return Manifest.model_construct(**kept, schemas=_only(other.schemas, schemas))


def _only(members: dict[str, T] | None, names: Collection[str]) -> dict[str, T] | None:
    return {name: member for name, member in (members or {}).items() if name in names} or None


def _declared(
    errors: dict[str, ErrorDeclaration] | None, types: Collection[str]
) -> dict[str, ErrorDeclaration] | None:
    return {name: error for name, error in (errors or {}).items() if error.error_type in types} or None
