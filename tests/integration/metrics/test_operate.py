"""The Grafana board and the alert rules: they use what is exposed, and Prometheus' own tool accepts them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from trellis_admin.metrics import FLEET_FAMILIES
from trellis_nats.metrics import FAMILIES, MetricFamily

ROOT: Final = Path(__file__).parents[3]
BOARD: Final = ROOT / "docs/operate/grafana-board.json"
ALERTS: Final = ROOT / "docs/operate/alerts.yml"
RULE_TESTS: Final = Path(__file__).parent / "alerts.test.yml"
GUIDE: Final = ROOT / "docs/operate/README.md"
PROMTOOL: Final = shutil.which("promtool")

needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="promtool is not installed: it is in the Debian package prometheus"
)


def series_of(family: MetricFamily) -> Iterator[tuple[str, set[str]]]:
    """Yield the names of the series of a family, with their labels."""
    if family.kind != "histogram":
        yield family.name, {*family.labels}
        return
    yield f"{family.name}_bucket", {*family.labels, "le"}
    yield f"{family.name}_sum", {*family.labels}
    yield f"{family.name}_count", {*family.labels}


LABELS: Final = dict(series for family in (*FLEET_FAMILIES, *FAMILIES) for series in series_of(family))
"""The labels of each series."""
ADDED: Final = {"instance", "job"}
"""The labels that Prometheus adds."""


def board_queries() -> list[str]:
    board = json.loads(BOARD.read_text())
    queries = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    return queries + [
        variable["query"]["query"] for variable in board["templating"]["list"] if variable["type"] == "query"
    ]


def rule_queries() -> list[str]:
    """Return the expressions of the rules. Only the two ways in which the file writes them are read."""
    text = ALERTS.read_text()
    queries = re.findall(r"^ {8}expr: (?!>)(.+)$", text, re.MULTILINE)
    folded = re.findall(r"^ {8}expr: >-\n((?: {10}.+\n)+)", text, re.MULTILINE)
    assert len(queries) + len(folded) == text.count("- alert:")
    return queries + [" ".join(query.split()) for query in folded]


def used_series(query: str) -> Iterator[tuple[str, set[str]]]:
    """Yield the series of a query, each with the labels that it names."""
    for name, matchers in re.findall(r"\b(trellis_\w+)(?:\{([^}]*)\})?", query):
        yield name, set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers or ""))


@pytest.mark.parametrize("query", [*board_queries(), *rule_queries()])
def test_a_query_names_series_and_labels_that_are_exposed(query: str) -> None:
    series = list(used_series(query))
    known = ADDED.union(*(LABELS[name] for name, _ in series if name in LABELS))
    grouped = {
        label.strip()
        for labels in re.findall(r"\b(?:by|on|without) ?\(([^)]*)\)", query)
        for label in labels.split(",")
    }

    assert series
    for name, labels in series:
        assert name in LABELS
        assert labels <= LABELS[name] | ADDED
    assert grouped <= known


def test_every_family_of_the_fleet_is_on_the_board_or_in_a_rule() -> None:
    used = {name for query in (*board_queries(), *rule_queries()) for name, _ in used_series(query)}

    assert {family.name for family in FLEET_FAMILIES} - used == set()


def test_the_board_has_no_overlapping_panels_and_no_fixed_source() -> None:
    board = json.loads(BOARD.read_text())
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place: dict[str, int] = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert place["x"] + place["w"] <= 24
        taken |= cells
        assert panel["type"] == "row" or panel["datasource"]["uid"] == "${datasource}"
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))


def test_every_alert_has_a_text_for_the_one_who_is_woken() -> None:
    alerts = re.split(r"^ {6}- alert: ", ALERTS.read_text(), flags=re.MULTILINE)[1:]
    guide = GUIDE.read_text()

    for alert in alerts:
        name = alert.partition("\n")[0]
        assert "summary:" in alert, name
        assert "runbook:" in alert, name
        assert re.search(r"severity: (critical|warning)$", alert, re.MULTILINE), name
        assert f"`{name}`" in guide
        assert f"alertname: {name}\n" in RULE_TESTS.read_text(), f"{name} has no test"


def test_the_table_of_the_guide_is_what_is_exposed() -> None:
    rows = re.findall(
        r"^\| `(trellis_fleet_\w+)` \| (\w+) \| (.*?) \| (.*?) \|$", GUIDE.read_text(), re.MULTILINE
    )

    assert rows == [
        (family.name, family.kind, ", ".join(f"`{label}`" for label in family.labels), family.help)
        for family in FLEET_FAMILIES
    ]


def run_promtool(*arguments: str | Path) -> None:
    assert PROMTOOL is not None
    done = subprocess.run([PROMTOOL, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_promtool_accepts_the_rules() -> None:
    run_promtool("check", "rules", ALERTS)


@needs_promtool
def test_the_alerts_fire_when_they_should() -> None:
    run_promtool("test", "rules", RULE_TESTS)


@needs_promtool
def test_promtool_accepts_the_queries_of_the_board(tmp_path: Path) -> None:
    queries = [query.replace("$service", ".*").replace("$queue", ".*") for query in board_queries()]
    rules: list[dict[str, Any]] = [
        {"record": f"board:query{number}", "expr": query}
        for number, query in enumerate(queries)
        if not query.startswith("label_values(")
    ]
    file = tmp_path / "board.yml"
    file.write_text(json.dumps({"groups": [{"name": "board", "rules": rules}]}))  # JSON is YAML too

    run_promtool("check", "rules", file)
