"""How long does importing a generated package take, against importing the runtime that it needs?

Each round is a process of its own, with its bytecode cached: ours imports the package, theirs only trellis_nats. The
difference is what the package costs.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from large_contract import (  # type: ignore[import-not-found]  # a neighbour, which scripts find
    many_queues,
    many_schemas,
)
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
ROUNDS = 11


def seconds(statement: str, folder: Path) -> float:
    """Run a statement in a new interpreter that finds packages in `folder`."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], cwd=folder, check=True)  # noqa: S603 - our own statement
    return time.perf_counter() - started


def generated(folder: Path, name: str, document: dict[str, object]) -> str:
    """Generate a contract, and return the name of its package."""
    manifest = folder / f"{name}.json"
    manifest.write_text(json.dumps({**document, "id": f"{name}@v1"}))
    command = [str(BIN / "trellis-gen"), "facade", str(manifest), "--out", str(folder), "-q"]
    subprocess.run(command, check=True)  # noqa: S603 - our own command
    return f"{name}_participant"


def main() -> None:
    """Measure, print, and write bench_import.json next to this file."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        orders = json.loads((ROOT / "contracts" / "orders_service.manifest.json").read_text())
        statements = {
            "python": "pass",
            "trellis_nats": "import trellis_nats",
            "orders": f"import {generated(folder, 'orders', orders)}",
            "165 schemas": f"import {generated(folder, 'schemas', {**many_schemas(165)})}",
            "1,000 queues": f"import {generated(folder, 'queues', {**many_queues(1_000)})}",
        }
        times: dict[str, list[float]] = {label: [] for label in statements}
        for _ in range(ROUNDS + 1):
            for label, statement in statements.items():
                times[label].append(seconds(statement, folder))
    medians = {label: statistics.median(each[1:]) * 1000 for label, each in times.items()}
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()}"
    table = Table("import", "ms", "of importing trellis_nats", title=f"importing a package ({machine})")
    for label, median in medians.items():
        table.add_row(label, f"{median:.0f}", f"{median / medians['trellis_nats']:.2f}")
    Console().print(table)
    results = {"machine": machine, "load": os.getloadavg()[0], "medians_ms": medians}
    Path(__file__).with_suffix(".json").write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
