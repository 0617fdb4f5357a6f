"""Prints the imports between the folders of `jobs/` and `_nats/`: `make rooms`.

A room is a folder below one of the two; the modules directly in it are the room `jobs` or `_nats`. Exits with 1 if two
rooms, or two modules, import each other, directly or through others.
"""

from __future__ import annotations

import graphlib
import sys
from collections import Counter
from collections.abc import Collection, Iterable
from typing import Final

import grimp

__all__ = ["count_arrows", "find_cycle"]

_HOUSES: Final = ("trellis_nats.jobs", "trellis_nats._nats")


def count_arrows(
    imports: Iterable[tuple[str, str]], house: str, folders: Collection[str]
) -> Counter[tuple[str, str]]:
    """Count the imports from one room of a house into another."""
    arrows: Counter[tuple[str, str]] = Counter()
    for importer, imported in imports:
        rooms = _room(importer, house, folders), _room(imported, house, folders)
        if rooms[0] and rooms[1] and rooms[0] != rooms[1]:
            arrows[rooms] += 1
    return arrows


def find_cycle(arrows: Iterable[tuple[str, str]]) -> list[str]:
    """Return names that import each other in a circle; empty if none do."""
    graph: dict[str, set[str]] = {}
    for importer, imported in arrows:
        graph.setdefault(importer, set()).add(imported)
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def _room(module: str, house: str, folders: Collection[str]) -> str:
    """Return the room that a module is in; empty if it is not in the house."""
    if module != house and not module.startswith(f"{house}."):
        return ""
    inside = module.removeprefix(house).split(".")[1:]
    name = house.rpartition(".")[2]
    return f"{name}/{inside[0]}" if inside and f"{house}.{inside[0]}" in folders else name


def main() -> int:
    """Print the arrows of each house, and the first cycle."""
    graph = grimp.build_graph("trellis_nats")
    imports = [
        (importer, imported)
        for importer in sorted(graph.modules)
        for imported in sorted(graph.find_modules_directly_imported_by(importer))
    ]
    folders = {module for module in graph.modules if graph.find_children(module)}
    lines: list[str] = []
    has_cycle = False
    for house in _HOUSES:
        arrows = count_arrows(imports, house, folders)
        lines.append(f"{house}: {len(arrows)} arrows, {sum(arrows.values())} imports")
        for (importer, imported), count in sorted(arrows.items()):
            lines.append(f"  {importer:<18} -> {imported:<18} {count:>3}")
        inside = [pair for pair in imports if all(name.startswith(house) for name in pair)]
        for what, found in (("rooms", find_cycle(arrows)), ("modules", find_cycle(inside))):
            lines.append(f"  cycle of {what}: {' -> '.join(found) or 'none'}")
            has_cycle = has_cycle or bool(found)
    print("\n".join(lines))  # noqa: T201 - the result
    return int(has_cycle)


if __name__ == "__main__":
    sys.exit(main())
