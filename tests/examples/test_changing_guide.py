"""The guide to changes of contracts: its commands print what it shows, and its code runs."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.streams import count_by_subject
from trellis_nats.testing import NatsServer

from tests.support.eventually import eventually
from tests.support.generated import generated
from tests.support.guide_sections import Block, Workspace, normalize, read_sections

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs/guides/changing-a-contract.md"
MANIFEST = "receipts.manifest.json"
SECTIONS = read_sections(GUIDE)
CONTRACT = SECTIONS["The contract of this page"]
PROJECT = '[tool.pytest.ini_options]\nasyncio_mode = "auto"\nasyncio_default_fixture_loop_scope = "function"\naddopts = "-p no:cacheprovider"\n'
"""What the guide presupposes."""


def start(folder: Path, variables: dict[str, str]) -> Workspace:
    """Create a repository with the contract of the page."""
    manifest, project = (
        next(block.text for block in CONTRACT if block.language == language) for language in ("json", "toml")
    )
    files = {MANIFEST: manifest, "pyproject.toml": project + PROJECT}
    return Workspace(folder / "repository", MANIFEST, files, variables)


async def create_jobs(folder: Path, url: str) -> None:
    """Let three jobs of the contract of the page wait."""
    (manifest,) = (block.text for block in CONTRACT if block.language == "json")
    package, _ = generated(json.loads(manifest), folder)
    async with package.ReceiptsService.connect(url) as service:
        for number in range(3):
            payload = package.SendReceipt(order_id=f"o-{number}", mail="ann@example.org")
            await service.jobs.send_receipt.create(payload)
        # The server copies them to the stream of waiting jobs a moment later, and commands count them there.
        await eventually(lambda: are_waiting(service.jobs.runtime.connection, 3))


async def are_waiting(connection: Connection, number: int) -> bool:
    """Return whether so many jobs wait."""
    return sum((await count_by_subject(connection, "JOBS_WORK", "trellis.work.>")).values()) == number


@asynccontextmanager
async def prepare(folder: Path, blocks: Sequence[Block]) -> AsyncGenerator[Workspace]:
    """Provide a repository with the contract of the page, and, for commands that need one, the server of production."""
    if not any(command.startswith("trellis ") for block in blocks for command in block.commands):
        yield start(folder, {})
        return
    async with NatsServer() as server:
        await create_jobs(folder, server.url)
        yield start(folder, {"NATS_URL": server.url})


@pytest.mark.parametrize("title", SECTIONS)
async def test_the_blocks_of_each_section_do_what_they_show(tmp_path: Path, title: str) -> None:
    async with prepare(tmp_path, SECTIONS[title]) as workspace:
        for block in SECTIONS[title]:
            printed = await workspace.run(block)
            if printed is not None:
                assert normalize(printed) == normalize(block.text)


def test_the_digests_in_the_code_are_those_that_the_commands_print() -> None:
    blocks = [block for blocks in SECTIONS.values() for block in blocks]
    in_code = {
        digest
        for block in blocks
        if block.language == "python"
        for digest in re.findall(r'"([\w-]{43})"', block.text)
    }
    printed = {line for block in blocks if block.language == "console" for line in block.text.splitlines()}

    assert in_code
    assert in_code <= printed


def test_the_hooks_exist_and_the_step_of_ci_finds_the_break(tmp_path: Path) -> None:
    hooks, steps = (block.text for block in SECTIONS["Check"] if block.language == "yaml")
    (command,) = re.findall(r"^- run: (trellis-gen breaking .*)$", steps, re.MULTILINE)
    workspace = start(tmp_path, {})
    edit, *_ = SECTIONS["Check"]
    workspace.edit(edit.text)

    ended = workspace.generate(command.replace("${{ github.base_ref }}", "main"))

    named, known = (
        set(re.findall(r"^ *- id: (\S+)$", text, re.MULTILINE))
        for text in (hooks, (ROOT / ".pre-commit-hooks.yaml").read_text())
    )
    assert named
    assert named <= known
    assert ended.exit_code == 1
    assert ended.stdout.startswith("::error file=receipts.manifest.json,line=13,")
