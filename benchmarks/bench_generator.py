"""How much processor time does generating take, against `import typer` and datamodel-codegen?

Each row runs two things in turn, so that both see the same machine: a process of ours, and a process to compare it with.
A ratio is that of the medians of processor time, user and system, with that of the processes they start. The machine may be
busy with other work; the ratios are what counts. The generator is compiled first, as pip does with the wheel.
"""

from __future__ import annotations

import compileall
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from large_contract import (  # type: ignore[import-not-found]  # a neighbour, which scripts find
    Object,
    many_queues,
    many_schemas,
    many_values,
)
from pydantic import JsonValue
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
ORDERS = ROOT / "contracts" / "orders_service.manifest.json"
BIN = Path(sys.executable).parent
ROUNDS = 5
QUEUES = (250, 500, 1_000)
VALUES = (1_000, 10_000, 100_000)


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """What one process took."""

    seconds: float
    """Of processor time."""
    megabytes: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """Ours against theirs: medians in milliseconds of processor time."""

    question: str
    ours: float
    theirs: float
    bound: float

    @property
    def ratio(self) -> float:
        """How many times theirs ours is."""
        return self.ours / self.theirs


def process(*command: object) -> Run:
    """Run a command to its end; it must succeed."""
    with Path(os.devnull).open("w") as nowhere:
        child = subprocess.Popen([*map(str, command)], stdout=nowhere, stderr=nowhere)  # noqa: S603 - our own commands
        _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{command} ended with {child.returncode}")
    return Run(seconds=usage.ru_utime + usage.ru_stime, megabytes=usage.ru_maxrss / 1024)


def compared(question: str, bound: float, ours: Callable[[], Run], theirs: Callable[[], Run]) -> Row:
    """Run both in turn, after one round that does not count."""
    rounds = [(ours().seconds, theirs().seconds) for _ in range(ROUNDS + 1)][1:]
    first, second = (statistics.median(times) * 1000 for times in zip(*rounds, strict=True))
    return Row(question=question, ours=first, theirs=second, bound=bound)


def unchanged(folder: Path) -> list[Row]:
    """A run with nothing to do against `import typer`, and the help against the start of datamodel-codegen."""
    command = (BIN / "trellis-gen", "facade", ORDERS, "--out", folder)
    process(*command)
    typer = partial(process, sys.executable, "-c", "import typer")
    start = partial(process, BIN / "datamodel-codegen", "--version")
    return [
        compared("unchanged: facade, against import typer", 2.0, partial(process, *command), typer),
        compared(
            "unchanged: facade --check, against import typer",
            2.0,
            partial(process, *command, "--check"),
            typer,
        ),
        compared(
            "facade --help, against datamodel-codegen --version",
            1.5,
            partial(process, *command[:2], "--help"),
            start,
        ),
    ]


def generated(question: str, manifest: Path, folder: Path, bound: float) -> Row:
    """A whole package from nothing, against one datamodel-codegen run on the same schemas."""
    schemas: JsonValue = json.loads(manifest.read_text())["schemas"]
    bare = folder / f"{manifest.stem}.schemas.json"
    bare.write_text(json.dumps({"type": "object", "properties": {}, "$defs": schemas}))

    def ours() -> Run:
        shutil.rmtree(folder / "out", ignore_errors=True)
        return process(BIN / "trellis-gen", "facade", manifest, "--out", folder / "out")

    options = ("--input-file-type", "jsonschema", "--output-model-type", "pydantic_v2.BaseModel")
    command = (BIN / "datamodel-codegen", "--input", bare, *options, "--output", folder / "bare.py")
    return compared(question, bound, ours, lambda: process(*command))


def measure_growth(
    folder: Path, counts: Sequence[int], contract: Callable[[int], Object]
) -> list[tuple[int, Run]]:
    """The package of ever larger contracts from nothing: processor time and peak memory, medians of three."""
    rows: list[tuple[int, Run]] = []
    for count in counts:
        manifest = written(folder / f"{count}.json", contract(count))
        runs: list[Run] = []
        for _ in range(3):
            shutil.rmtree(folder / "out", ignore_errors=True)
            runs.append(process(BIN / "trellis-gen", "facade", manifest, "--out", folder / "out"))
        seconds, megabytes = (
            statistics.median(getattr(run, name) for run in runs) for name in ("seconds", "megabytes")
        )
        rows.append((count, Run(seconds=seconds, megabytes=megabytes)))
    return rows


def written(path: Path, document: Object) -> Path:
    """Write a manifest."""
    path.write_text(json.dumps(document, indent=2))
    return path


def main() -> None:
    """Measure, print, and write bench_generator.json next to this file."""
    # A checkout where PYTHONDONTWRITEBYTECODE is set would be compiled again in each run.
    compileall.compile_dir(ROOT / "trellis_codegen", quiet=1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        large = written(folder / "large.json", many_schemas(165))
        rows = [
            *unchanged(folder / "orders"),
            generated("orders, all of it, against datamodel-codegen", ORDERS, folder, 2.0),
            generated("165 schemas, all of it, against datamodel-codegen", large, folder, 1.5),
        ]
        growths = {
            "queues": measure_growth(folder, QUEUES, many_queues),
            "values": measure_growth(folder, VALUES, many_values),
        }
    console = Console()
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()}"
    table = Table("", "ours, ms", "theirs, ms", "ratio", "bound", title=f"the generator ({machine})")
    for row in rows:
        table.add_row(
            row.question, f"{row.ours:.0f}", f"{row.theirs:.0f}", f"{row.ratio:.2f}", f"{row.bound}"
        )
    console.print(table)
    for what, growth in growths.items():
        table = Table(what, "seconds", f"ms per 1,000 {what}", "MB at the peak", title=f"ever more {what}")
        for count, run in growth:
            per_thousand = run.seconds / count * 1_000_000
            table.add_row(f"{count}", f"{run.seconds:.2f}", f"{per_thousand:.0f}", f"{run.megabytes:.0f}")
        console.print(table)
    results = {
        "machine": machine,
        "load": os.getloadavg()[0],
        "rows": [
            {
                "question": row.question,
                "ours_ms": row.ours,
                "theirs_ms": row.theirs,
                "ratio": row.ratio,
                "bound": row.bound,
            }
            for row in rows
        ],
        **{
            what: [
                {"count": count, "seconds": run.seconds, "megabytes": run.megabytes} for count, run in growth
            ]
            for what, growth in growths.items()
        },
    }
    Path(__file__).with_suffix(".json").write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
