"""`trellis audit` as a command: what it prints, its exit codes, and the mistakes of users."""

from __future__ import annotations

import json
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from trellis_nats import permissions
from trellis_nats.testing import NatsServer

from tests.house.sources import ROOT
from tests.support.audited import ONCE, NextTill, Paid, Payment, Till
from tests.support.depot import accounts, login
from tests.support.trellis_command import run_trellis, run_trellis_here

ORDERS = ROOT / "contracts/orders_service.manifest.json"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Return a folder with the package of the next version. Its name differs from those of other tests."""
    folder = tmp_path / f"next_{tmp_path.name}"
    folder.mkdir()
    (folder / "__init__.py").write_text("from tests.support.audited import NextTill\n")
    (folder / "contract.json").write_text("{}")
    return folder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Path]:
    """Return the current folder, whose module `till_jobs` is of one test."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("till_jobs", None)


async def test_what_is_refused_is_counted_and_the_values_are_shown_if_asked(
    nats_server: NatsServer, package: Path
) -> None:
    async with Till.connect(nats_server.url, options=ONCE) as till:
        refs = [await till.jobs.pay.create(Payment(amount=number, customer="Ann")) for number in range(5)]
        await till.jobs.once.create(Payment(amount=77))
        await till.jobs.old.create(Payment(amount=1))
    options = ("--server", nats_server.url)

    text = await run_trellis_here("audit", "--against", package, *options)
    shown = await run_trellis_here("audit", "--against", package, *options, "--show-payloads")
    as_json = await run_trellis_here("audit", "--against", package / "contract.json", *options, "--json")

    assert (text.code, shown.code, as_json.code, text.error) == (1, 1, 1, "")
    assert text.out.splitlines() == [
        f"till@v1 (digest {'2' * 43})",
        "  = queue keyed: 0 waiting and 0 dead jobs",
        "  ? queue old is not in the contract: 1 waiting and 0 dead jobs, which no worker of this version takes",
        "  x queue once: 1 waiting and 0 dead jobs; refused: 1 waiting and 0 dead jobs",
        *text.out.splitlines()[4:7],
        "  x queue pay: 5 waiting and 0 dead jobs; refused: 5 waiting and 0 dead jobs",
        "    5 at /amount: Input should be a valid string (string_type)",
        f"      {', '.join(ref.id for ref in refs[:3])} and 2 more",
        f"    contract version {'1' * 43} wrote 5, of which 5 are refused",
        "  6 values, 6 are refused, 1 job is in a queue that the contract does not have",
    ]
    assert "Ann" not in text.out + as_json.out
    assert f'{refs[0].id}: {{"amount": 0, "customer": "Ann"}}' in shown.out
    found = json.loads(as_json.out)
    assert (found["version"], found["contracts"][0]["safe"], found["contracts"][0]["refused"]) == (
        1,
        False,
        6,
    )
    (pay,) = (subject for subject in found["contracts"][0]["subjects"] if subject["name"] == "pay")
    assert pay["failures"] == [
        {
            "type": "string_type",
            "place": "/amount",
            "text": "Input should be a valid string",
            "counted": {"waiting": 5, "dead": 0},
            "examples": [{"id": ref.id} for ref in refs],
        }
    ]
    assert pay["writers"] == [{"digest": "1" * 43, "values": 5, "refused": 5}]


async def test_a_bare_manifest_is_read_by_the_generator(nats_server: NatsServer, tmp_path: Path) -> None:
    async with Till.connect(nats_server.url, options=ONCE):
        pass
    options = ("--server", nats_server.url, "--with", ROOT / "contracts")

    right = await run_trellis_here("audit", "--against", ORDERS, *options)
    (tmp_path / "wrong.json").write_text(ORDERS.read_text().replace('"service"', '"circus"', 1))
    wrong = await run_trellis_here("audit", "--against", tmp_path / "wrong.json", *options)

    assert (right.code, right.error) == (0, "")
    assert "  = queue charge-payment: 0 waiting and 0 dead jobs\n" in right.out
    assert (wrong.code, wrong.out) == (3, "")
    assert "wrong.json:" in wrong.error
    assert "circus" in wrong.error
    assert "Traceback" not in wrong.error


async def test_upcasters_are_taken_from_a_service_or_a_function(
    nats_server: NatsServer, package: Path, folder: Path
) -> None:
    async with Till.connect(nats_server.url, options=ONCE) as till:
        await till.jobs.pay.create(Payment(amount=1))
    (folder / "till_jobs.py").write_text(
        "from tests.support.audited import NextPayment, NextTill\n"
        "from trellis_nats import Options, Runtime\n"
        "def register(service):\n"
        f"    @service.jobs.pay.upcast(from_digest='{'1' * 43}')\n"
        "    def from_numbers(old):\n"
        "        return NextPayment(amount=str(old['amount']))\n"
        "service = NextTill(Runtime(NextTill.contract, Options()))\n"
        "register(service)\n"
        "def broken(service):\n"
        "    raise ValueError('no')\n"
    )
    against, options = ("--against", package), ("--server", nats_server.url)

    with_function = (*against, "--service", "till_jobs:register")
    for result in (
        await run_trellis("audit", "--service", "till_jobs:service", *options, cwd=folder),
        await run_trellis_here("audit", *with_function, *options),
    ):
        assert (result.code, result.error) == (0, ""), result.out
        assert "an upcaster reads 1 of them" in result.out
    for wrong, words in (
        ("till_jobs", "must be a module and an attribute"),
        ("till_jobs:none", "module till_jobs has no attribute none"),
        ("till_jobs:__name__", "neither a service nor a function"),
        ("till_jobs:broken", "till_jobs:broken raised ValueError: no"),
        ("nowhere:service", "nowhere cannot be imported"),
        ("./till_jobs.py:register", "pass a module name: till_jobs:register"),
        ("till_jobs.py:register", "pass a module name: till_jobs:register"),
        ("jobs/till_jobs:register", "pass a module name: jobs.till_jobs:register"),
    ):
        result = await run_trellis_here("audit", *against, "--service", wrong, *options)
        assert (result.code, result.out) == (2, "")
        assert words in result.error


async def test_a_function_is_not_run_with_a_package_that_its_module_does_not_know(folder: Path) -> None:
    """Its upcasters would return models of another package, and each payload would count as refused."""
    (folder / "till_jobs.py").write_text("def register(service): ...")
    against = ("--against", ORDERS, "--with", ROOT / "contracts")

    result = await run_trellis_here("audit", *against, "--service", "till_jobs:register")

    assert (result.code, result.out) == (2, "")
    assert "pass the generated package that till_jobs imports with --against, not a manifest" in result.error


async def test_a_version_without_an_upcaster_and_what_an_upcaster_raised_are_shown(
    nats_server: NatsServer, package: Path, folder: Path
) -> None:
    async with Till.connect(nats_server.url, options=ONCE) as till:
        await till.jobs.pay.create(Payment(amount=1))
    (folder / "till_jobs.py").write_text(
        "def elsewhere(service):\n"
        f"    service.jobs.pay.upcast(lambda old: old, from_digest='{'7' * 43}')\n"
        "def misspelt(service):\n"
        f"    @service.jobs.pay.upcast(from_digest='{'1' * 43}')\n"
        "    def from_numbers(old):\n"
        "        return old['amuont']\n"
    )
    options = ("--against", package, "--server", nats_server.url)

    elsewhere = await run_trellis_here("audit", *options, "--service", "till_jobs:elsewhere")
    misspelt = ("--service", "till_jobs:misspelt")
    without = await run_trellis_here("audit", *options, *misspelt)
    shown = await run_trellis_here("audit", *options, *misspelt, "--show-payloads")

    assert (elsewhere.code, without.code, shown.code) == (1, 1, 1)
    wrote = f"contract version {'1' * 43} wrote 1, of which 1 is refused"
    assert f"    {wrote}; no upcaster has this digest\n" in elsewhere.out
    assert f"    {wrote}\n" in without.out
    assert "1 at the root: the upcaster from_numbers raised KeyError (upcast_failed)" in without.out
    assert "the upcaster from_numbers raised KeyError: 'amuont' (upcast_failed)" in shown.out


async def test_the_version_and_the_help_are_printed() -> None:
    for arguments, words in (
        (("--version",), "trellis "),
        (("-h",), "provision"),
        (("audit", "-h"), "--against"),
        (("provision", "plan", "-h"), "PACKAGE"),
    ):
        result = await run_trellis_here(*arguments)
        assert (result.code, result.error) == (0, "")
        assert words in result.out


async def test_the_auditors_account_is_enough_and_another_is_named(package: Path) -> None:
    users = {
        "root": None,
        "auditor": permissions(NextTill, "auditor"),
        "producer": permissions(Till, "producer"),
    }
    async with NatsServer(config=accounts(users)) as server:
        async with Till.connect(server.url, options=login("root")) as till:
            await till.jobs.keyed.create(Payment(amount=1, customer="ann"))
            await till.paid.publish(Paid(amount=1))
        options = ("--server", server.url, "--results", "3", "--events", "3")

        allowed = await run_trellis_here(
            "audit", "--against", package, *options, "--user", "auditor", "--password", "auditor"
        )
        refused = await run_trellis_here(
            "audit", "--against", package, *options, "--user", "producer", "--password", "producer"
        )
        unknown = await run_trellis_here(
            "audit", "--against", package, *options, "--user", "stranger", "--password", "x"
        )

    assert (allowed.code, allowed.error) == (0, ""), allowed.out
    assert "  = event Till.Paid: 1\n" in allowed.out
    assert "  = queue keyed: 1 waiting and 0 dead jobs\n" in allowed.out
    for result in (refused, unknown):
        assert (result.code, result.out) == (3, "")
        assert "Traceback" not in result.error
    assert 'may not publish to "$JS.API.CONSUMER.CREATE.JOBS.' in refused.error
    assert 'permissions(…, "auditor")' in refused.error


async def test_a_server_without_jobs_is_explained(nats_server: NatsServer, package: Path) -> None:
    result = await run_trellis_here("audit", "--against", package, "--server", nats_server.url)

    assert (result.code, result.out) == (3, "")
    assert 'stream "JOBS" does not exist' in result.error


async def test_a_server_that_cannot_be_reached_is_named(package: Path) -> None:
    result = await run_trellis_here("audit", "--against", package, "--server", "nats://127.0.0.1:1")

    assert (result.code, result.out) == (3, "")
    assert "127.0.0.1:1" in result.error


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "--against CONTRACT, or --service"),
        (("--against", "missing.json"), "missing.json does not exist"),
        (("--against", "not_a_module"), "not_a_module cannot be imported"),
        (("--against", "text.json"), "text.json"),
        (("--against", str(ORDERS), "--with", "nowhere"), "nowhere"),
        (("--against", str(ORDERS), "--results", "-1"), "--results"),
        (("--against", str(ORDERS), "--results", "1" + 30 * "0"), "--results"),
    ],
)
async def test_mistakes_are_explained(folder: Path, arguments: tuple[str, ...], words: str) -> None:
    (folder / "text.json").write_text("this is not JSON")

    result = await run_trellis_here("audit", *arguments)

    assert result.code in (2, 3)
    assert result.out == ""
    assert words in result.error
    assert "Traceback" not in result.error


async def test_progress_is_written_to_terminals_only(nats_server: NatsServer, package: Path) -> None:
    async with Till.connect(nats_server.url, options=ONCE):
        pass

    result = await run_trellis_here("audit", "--against", package, "--server", nats_server.url)

    assert (result.code, result.error) == (0, "")
