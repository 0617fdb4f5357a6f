"""Prints what became of the jobs of all scenarios."""

import pytest

from tests.faults.harness.table import ROWS, table


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if ROWS:
        terminalreporter.section("jobs under faults")
        for line in table(ROWS):
            terminalreporter.write_line(line)
