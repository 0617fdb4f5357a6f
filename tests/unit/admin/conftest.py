"""Projections of given messages."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from trellis_admin.projection import connect_reader
from trellis_admin.projection.incoming import Incoming

from tests.support.projected import write_pages


@pytest.fixture
def written(tmp_path: Path) -> Iterator[Callable[[list[Incoming]], sqlite3.Connection]]:
    readers: list[sqlite3.Connection] = []

    def write(messages: list[Incoming]) -> sqlite3.Connection:
        write_pages(tmp_path / "p", [messages])
        readers.append(connect_reader(tmp_path / "p"))
        return readers[-1]

    yield write
    for reader in readers:
        reader.close()
