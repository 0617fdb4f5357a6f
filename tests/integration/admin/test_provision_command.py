"""`trellis provision plan|apply`: what a contract changes on a server, printed and applied."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from trellis_nats import permissions
from trellis_nats._nats.jetstream.streams import get_consumer_info
from trellis_nats.testing import NatsServer

from tests.house.sources import ROOT
from tests.integration.provision.test_removed_queues import work_of
from tests.support.depot import accounts, login
from tests.support.eventually import eventually
from tests.support.operating import denying
from tests.support.shop_versions import Parcel, Version1, Version2
from tests.support.trellis_command import Ended, run_trellis, run_trellis_here
from tests.support.versions import binary_of

PACKAGE = ROOT / "examples/orders_service/orders_participant"


@dataclass
class Result(Ended):
    @property
    def contract(self) -> dict[str, Any]:  # Any: JSON
        contract: dict[str, Any] = json.loads(self.out)["contracts"][0]
        return contract


async def trellis(*arguments: str | Path, cwd: Path) -> Result:
    ended = await run_trellis("provision", *arguments, cwd=cwd)
    return Result(ended.code, ended.out, ended.error)


async def trellis_here(*arguments: str | Path) -> Result:
    ended = await run_trellis_here("provision", *arguments)
    return Result(ended.code, ended.out, ended.error)


@pytest.fixture
def versions(tmp_path: Path) -> Path:
    """Return a folder with a package for each version. Their names differ from those of other tests."""
    for version in ("Version1", "Version2"):
        folder = package_of(tmp_path, version)
        folder.mkdir()
        (folder / "__init__.py").write_text(f"from tests.support.shop_versions import {version}\n")
        (folder / "contract.json").write_text("{}")
    return tmp_path


def package_of(versions: Path, version: str) -> Path:
    return versions / f"{version.lower()}_{versions.name}"


async def test_an_empty_server_is_planned_and_filled(nats_server: NatsServer) -> None:
    planned = await trellis_here("plan", PACKAGE, "--server", nats_server.url)
    applied = await trellis_here("apply", PACKAGE / "contract.json", "--server", nats_server.url)
    again = await trellis("plan", "orders_participant", "--server", nats_server.url, cwd=PACKAGE.parent)

    assert (planned.code, applied.code) == (1, 0), applied.out + applied.error
    assert '  + stream "JOBS" does not exist\n' in planned.out
    assert '  + stream "JOBS" does not exist: done\n' in applied.out
    assert (again.code, again.error) == (0, "")
    assert "the server has what the contract states" in again.out
    assert planned.out.startswith("orders-service@v1 (digest ")


@pytest.mark.parametrize("server_version", [None, "2.10.26"])
async def test_what_differs_is_said_with_its_effect_and_applied_on_purpose(
    versions: Path, server_version: str | None
) -> None:
    binary = None if server_version is None else binary_of(server_version)
    async with NatsServer(binary=binary) as server, Version1.connect(server.url) as old:
        await old.jobs.weigh.create(Parcel(number=1))
        await old.jobs.pack.create(Parcel(number=1))
        await eventually(lambda: work_of(old, 1))
        options = ("--server", server.url)

        planned = await trellis_here("plan", package_of(versions, "Version2"), *options)
        as_json = await trellis_here(
            "plan", package_of(versions, "Version2") / "contract.json", *options, "--json"
        )
        careful = await trellis_here("apply", package_of(versions, "Version2"), *options)
        full = await trellis_here("apply", package_of(versions, "Version2"), *options, "--allow-destroy")
        info = await get_consumer_info(old.runtime.connection, "JOBS_WORK", "parcels__pack")
        back = await trellis_here("plan", package_of(versions, "Version1"), *options, "--json")

    assert planned.code == 1
    assert '  ~ consumer "parcels__pack" of stream "JOBS_WORK"\n    ack_wait: 1 s → 60 s\n' in planned.out
    assert "nothing is redelivered; 0 messages are in progress, 1 wait" in planned.out
    assert "    max_age: unlimited → 86400 s (needs --allow-destroy)\n" in planned.out
    assert "  ? queue weigh is not in the contract and holds 1 waiting jobs" in planned.out
    assert [queue["name"] for queue in as_json.contract["removedQueues"]] == ["weigh"]
    (bucket,) = (
        change for change in as_json.contract["changes"] if change["resource"] == 'bucket "parcels_notes"'
    )
    assert [(each["name"], each["destructive"]) for each in bucket["settings"]] == [
        ("max_msgs_per_subject", False),
        ("max_age", True),
    ]
    assert (careful.code, full.code) == (1, 0), careful.out + full.out
    assert "not done: max_age stays unlimited" in careful.out
    assert info is not None
    assert info.config["ack_wait"] == 60 * 10**9
    assert {change.get("relation") for change in back.contract["changes"]} <= {"older", "unmarked", None}
    assert any(change["relation"] == "older" for change in back.contract["changes"])


async def test_the_provisioners_account_is_enough(versions: Path) -> None:
    users = {"root": None, "provisioner": permissions(Version2, "provisioner")}
    async with NatsServer(config=accounts(users)) as server:
        async with Version1.connect(server.url, options=login("root")):
            pass
        user = ("--server", server.url, "--user", "provisioner", "--password", "provisioner")

        applied = await trellis_here("apply", package_of(versions, "Version2"), *user, "--allow-destroy")
        planned = await trellis_here("plan", package_of(versions, "Version2"), *user)

    assert (applied.code, planned.code) == (0, 0), applied.out + applied.error + planned.out


async def test_a_server_that_cannot_be_reached_is_named(versions: Path) -> None:
    result = await trellis_here("plan", package_of(versions, "Version1"), "--server", "nats://127.0.0.1:1")

    assert (result.code, result.out) == (3, "")
    assert result.error.startswith("trellis: ")
    assert "127.0.0.1:1" in result.error
    assert "Traceback" not in result.error


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        ("missing.json", "missing.json does not exist"),
        ("not_a_module", "not_a_module cannot be imported: ModuleNotFoundError"),
        ("bare/contract.json", "does not belong to a generated package"),
        ("empty", "empty has no service class"),
        ("near", "its module name; did you mean near_participant?\n"),
        ("nearby", "No module named 'nearby'; did you mean nearby_participant?\n"),
        ("broken", "broken cannot be imported: ZeroDivisionError"),
    ],
)
async def test_what_is_not_a_generated_package_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, manifest: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in (("empty", ""), ("broken", "1 / 0"), ("near", "")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(text)
    (tmp_path / "bare").mkdir()
    shutil.copy(PACKAGE / "contract.json", tmp_path / "bare")
    for name in ("near_participant", "nearby_participant"):
        (tmp_path / name).mkdir()
        shutil.copy(PACKAGE / "contract.json", tmp_path / name)

    result = await trellis_here("plan", manifest)
    for name in ("empty", "near"):
        sys.modules.pop(name, None)

    assert result.code == 2
    assert words in result.error
    assert "Traceback" not in result.error


async def test_wrong_usage_has_an_exit_code_of_its_own() -> None:
    result = await trellis_here("plan", PACKAGE, "--yaml")

    assert result.code == 2


async def test_a_file_without_a_certificate_is_explained(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("not a certificate")

    result = await trellis_here("plan", PACKAGE, "--tls-ca", tmp_path / "ca.pem")

    assert result.code == 2
    assert "ca.pem has no certificate that can be read" in result.error
    assert "Traceback" not in result.error


async def test_what_was_applied_is_printed_where_a_later_package_fails(versions: Path) -> None:
    package = package_of(versions, "Version1")
    denied = ["$JS.API.CONSUMER.INFO.*.orders-service__publish-stock"]
    async with NatsServer(config=denying({"half": denied})) as server:
        login_ = ("--server", server.url, "--user", "half", "--password", "pw")
        ended = await trellis("apply", package, PACKAGE, "--json", *login_, cwd=versions)

    assert ended.code == 3, ended.out + ended.error
    assert ended.contract["id"] == "parcels@v1"
