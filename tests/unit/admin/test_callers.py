"""`trellis callers`: what it prints, what it changes in a file, and what it refuses."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest
from trellis_admin.callers import edit, grant
from trellis_nats import CallersFile, SessionKey

from tests.house.sources import ROOT
from tests.support.command_texts import check_text
from tests.support.trellis_command import Ended, run_trellis_here

MANIFEST: Final = ROOT / "contracts/orders_service.manifest.json"
SHOP: Final = SessionKey.from_seed("IiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiI").public
DESK: Final = SessionKey.from_seed("IyIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiI").public
OTHER: Final = SessionKey.from_seed("JCIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiI").public
READ, WRITE = "orders-service::orders.read", "orders-service::orders.write"
NOT_A_KEY: Final = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAI"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)  # away from the contracts of this project
    return tmp_path / "callers.json"


def run(command: str, *arguments: str | Path) -> Ended:
    return asyncio.run(run_trellis_here("callers", command, *arguments))


def shown(ended: Ended, folder: Path) -> str:
    text = f"$ {ended.code}\n{ended.out}{ended.error}".replace(str(folder), "…")
    return text.rstrip()


def test_the_commands_print_what_they_did(file: Path) -> None:
    runs = [
        run("grant", file, SHOP, WRITE, "--name", "shop", "--contract", MANIFEST),
        run("grant", file, DESK, READ, "--name", "desk", "--kind", "user", "--comment", "call 42 first"),
        run("grant", file, "shop", READ),
        run("revoke", file, SHOP[:8], WRITE),
        run("show", file),
        run("revoke", file, "desk"),
        run("check", file, "--contract", MANIFEST),
        run("grant", file, "desk"),
        run("grant", file, "desk", "orders-service::orders.cancel", "--enable"),
        run("check", file, "--contract", MANIFEST),
        run("revoke", file, "desk", "--remove"),
        run("show", file, "--json"),
    ]

    check_text("callers", "\n\n".join(shown(ended, file.parent) for ended in runs))
    CallersFile(file)


def test_what_is_wrong_is_a_sentence(file: Path) -> None:
    run("grant", file, SHOP, READ, "--name", "shop")
    run("grant", file, DESK, READ, "--name", "shop")
    before = file.read_bytes()
    runs = [
        run("grant", file, "shop", "orders.write", "--contract", MANIFEST),
        run("grant", file, SHOP, "orders-service::orders.wite", "--contract", MANIFEST),
        run("grant", file, SHOP, "orders-service::*"),
        run("grant", file, "shop", WRITE),
        run("grant", file, SessionKey.from_seed(NOT_A_KEY).public, WRITE),
        run("grant", file, OTHER, "--like", "shop"),
        run("revoke", file, "shop", WRITE, "--all"),
        run("revoke", file, "shob", "--all"),
        run("revoke", file, "-pJql9Hp"),
        run("grant", file, NOT_A_KEY, WRITE, "--name", "spy"),
        run("revoke", file, "shob"),
        run("revoke", file, NOT_A_KEY),
        run("revoke", file, SHOP, WRITE),
        run("show", file.with_name("missing.json")),
        run("check", file, "--contract", file),
        run("grant", file, "shop", "--contract", file.with_name("missing.json")),
    ]

    assert file.read_bytes() == before
    assert all(NOT_A_KEY not in ended.out + ended.error for ended in runs)
    check_text("callers-refused", "\n\n".join(shown(ended, file.parent) for ended in runs))


def test_a_key_is_replaced_by_one_that_may_do_the_same(file: Path) -> None:
    run("grant", file, SHOP, READ, WRITE, "--name", "shop", "--kind", "user")
    runs = [
        run("grant", file, DESK, "--like", "shop", "--dry-run"),
        run("grant", file, DESK, "--like", "shop"),
        run("revoke", file, SHOP[:8]),
        run("grant", file, OTHER, "--like", "shop"),
        run("show", file),
        run("revoke", file, "shop", "--all", "--dry-run", "--json"),
        run("revoke", file, "shop", "--all"),
        run("revoke", file, "shop", "--all", "--remove"),
        run("show", file),
    ]

    check_text("callers-replaced", "\n\n".join(shown(ended, file.parent) for ended in runs))


def test_capabilities_are_checked_against_the_contracts_of_the_project(file: Path) -> None:
    (file.parent / "pyproject.toml").write_text(f'[[tool.trellis-gen.contracts]]\nmanifest = "{MANIFEST}"\n')

    misspelled = run("grant", file, SHOP, "orders-service::orders.wite", "--name", "shop")
    foreign = run("grant", file, SHOP, WRITE, "service", "parts::reports.read", "--name", "shop")
    (file.parent / "pyproject.toml").write_text("[tool]\ntrellis-gen = 1\n")
    alone = run("grant", file, SHOP, WRITE)

    assert (misspelled.code, misspelled.out) == (2, "")
    assert "did you mean orders-service::orders.write?" in misspelled.error
    assert (foreign.code, alone.code) == (0, 0)
    assert foreign.error.startswith("not checked: parts::reports.read; --contract MANIFEST checks")
    assert alone.error.startswith(f"not checked: {WRITE}; ")


def test_a_contract_without_capabilities_says_so(file: Path) -> None:
    contract = file.with_name("parts.json")
    contract.write_text('{"id": "parts@v1"}')

    refused = run("grant", file, SHOP, "parts::write", "--name", "shop", "--contract", contract)

    assert refused.error == "trellis: parts@v1 has no capability parts::write: it declares none\n"


def test_a_new_key_is_a_secret_file_that_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "shop.key"
    made = run("new", "the shop", "--key", path)

    key = SessionKey.from_file(path)
    assert made.out == f"{key.public}\n"
    assert f"callers.json {key.public} --name 'the shop'" in made.error
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = run("new", "shop", "--key", path)
    assert (again.code, again.error) == (
        5,
        f"trellis: {path} exists: a key is never overwritten; name another file\n",
    )
    assert SessionKey.from_file(path).public == key.public

    as_json = run("new", "desk", "--key", tmp_path / "desk.key", "--json")
    assert json.loads(as_json.out) == {
        "v": 1,
        "kind": "session-key",
        "name": "desk",
        "key": SessionKey.from_file(tmp_path / "desk.key").public,
        "file": str(tmp_path / "desk.key"),
    }
    for ended in (made, again, as_json):
        assert key.seed not in ended.out + ended.error
    assert (run("new", "shop", "--key", tmp_path / "no/shop.key")).code == 2


def test_a_change_keeps_order_comments_owner_and_mode(file: Path) -> None:
    written = {
        "format": "trellis.callers.v1",
        "callers": [
            {"name": "desk", "comment": "ask Åsa", "key": DESK, "capabilities": ["b", "a"]},
            {"key": SHOP, "name": "shop"},
        ],
    }
    file.write_text(json.dumps(written))
    file.chmod(0o640)
    if os.getuid() == 0:
        os.chown(file, 1001, 1002)
    link = file.with_name("link.json")
    link.symlink_to(file.name)

    assert (run("grant", link, "desk", "c", "a")).code == 0
    desk = {"name": "desk", "comment": "ask Åsa", "key": DESK, "capabilities": ["b", "a", "c"]}
    assert [*json.loads(file.read_text())["callers"][0].items()] == [*desk.items()]
    assert json.loads(file.read_text())["callers"][1] == {"key": SHOP, "name": "shop"}
    status = file.stat()
    assert stat.S_IMODE(status.st_mode) == 0o640
    assert os.getuid() != 0 or (status.st_uid, status.st_gid) == (1001, 1002)
    assert link.is_symlink()
    assert {path.name for path in file.parent.iterdir()} == {"callers.json", "link.json"}


def test_two_changes_at_once_are_both_made(file: Path) -> None:
    def add(key: SessionKey) -> None:
        with edit(file, may_create=True) as entries:
            grant(entries, key.public, ["a"], name="x")

    keys = [SessionKey.generate() for _ in range(8)]
    with ThreadPoolExecutor(8) as threads:
        assert [*threads.map(add, keys)] == [None] * 8

    entries = json.loads(file.read_text())["callers"]
    assert {entry["key"] for entry in entries} == {key.public for key in keys}


def test_a_file_that_others_can_change_is_not_edited(file: Path) -> None:
    run("grant", file, SHOP, READ, "--name", "shop")
    file.chmod(0o666)

    for ended in (run("grant", file, "shop", WRITE), run("check", file)):
        assert ended.code == 2
        assert f"chmod go-w {file}" in ended.error


def test_without_pynacl_each_command_names_the_extra(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("grant", file, SHOP, READ, "--name", "shop")
    monkeypatch.setitem(sys.modules, "nacl.signing", None)

    for ended in (
        run("new", "shop", "--key", file.with_name("shop.key")),
        run("check", file),
        run("grant", file, "shop", WRITE),
    ):
        assert (ended.code, ended.out) == (2, "")
        assert "require the package PyNaCl: pip install 'trellis-nats[auth]'" in ended.error
    assert not file.with_name("shop.key").exists()
    assert SHOP in run("show", file).out
