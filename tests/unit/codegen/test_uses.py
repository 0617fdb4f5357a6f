"""What a contract uses of others: found, checked, and generated with nothing but what it lists."""

import copy
import json
import sys
from pathlib import Path
from typing import cast

import pytest
from pydantic import JsonValue

from tests.support.generated import generated, read_others
from tests.unit.codegen.contracts import TEXT, contract, manifest, rpc
from trellis_codegen.cli import facade, validate
from trellis_codegen.cli.exits import ExitCode
from trellis_codegen.cli.requests import Format, Mode, Request
from trellis_codegen.cli.targets import Choices, OtherSource
from trellis_codegen.plan.uses import plan_participant
from trellis_codegen.problems import ProblemsFound

THING: JsonValue = {"schema": "Thing"}
SHOP = contract(
    id="shop@v1",
    displayName="Shop",
    schemas={
        "Thing": {"type": "object", "properties": {"sku": TEXT}},
        "Unlisted": {"type": "object", "properties": {"x": TEXT}},
    },
    rpc={
        "Shop.Buy": rpc("Shop.Buy"),
        "Shop.Close": {**rpc("Shop.Close"), "input": {"schema": "Unlisted"}},
        "Shop.Audit": rpc("Shop.Audit", internal=True),
    },
    events={"Shop.Sold": {"version": "v1", "subject": "events.v1.Shop.Sold", "event": THING}},
)
HEALTH = contract(
    id="trellis.health@v1",
    events={"Health.Heartbeat": {"version": "v1", "subject": "events.v1.Health.Heartbeat", "event": THING}},
)
BUY: JsonValue = {"contract": "shop@v1", "rpc": {"call": ["Shop.Buy"]}}
HEARTBEAT: JsonValue = {"contract": "trellis.health@v1", "events": {"publish": ["Health.Heartbeat"]}}


def using(**uses: JsonValue) -> JsonValue:
    return contract(uses={"required": uses})


def write(path: Path, document: JsonValue) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2))
    return path


def run(manifest: Path, *others: str, mode: Mode = Mode.WRITE, out: Path | None = None) -> ExitCode:
    sources = tuple(map(OtherSource, others))
    return facade.run(
        Request(choices=Choices(manifest=manifest, out=out or manifest.parent, others=sources), mode=mode)
    )


def check(path: Path, *others: str) -> ExitCode:
    sources = tuple(map(OtherSource, others))
    return validate.run([path], strict=False, output_format=Format.TEXT, quiet=False, others=sources)


def reasons(document: JsonValue, *others: JsonValue) -> list[str]:
    with pytest.raises(ProblemsFound) as found:
        plan_participant(
            manifest(document), read_others(others), source="x.json", package=None, generator="0"
        )
    return [problem.what for problem in found.value.problems]


def test_only_what_is_listed_is_generated(tmp_path: Path) -> None:
    package, remarks = generated(using(shop=BUY), tmp_path, SHOP)

    assert remarks == []
    folder = tmp_path / package.__name__ / "uses" / "shop"
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*.py")}
    assert names == {"__init__.py", "use.py", "rpc.py", "models/__init__.py", "models/thing.py"}
    text = (folder / "rpc.py").read_text()
    assert "SHOP_BUY" in text
    assert "SHOP_CLOSE" not in text
    assert "RpcEndpoint" not in text


@pytest.mark.parametrize(("listed", "expected"), [(["Lost"], ["Lost"]), ([], ["Lost", "Late"])])
def test_an_operation_that_lists_no_errors_may_end_with_any(
    tmp_path: Path, listed: list[str], expected: list[str]
) -> None:
    run: JsonValue = {
        "version": "v1",
        "subject": "operations.v1.Run",
        "input": THING,
        "output": THING,
        "errors": [{"type": name} for name in listed],
    }
    errors: JsonValue = {name: {"type": name} for name in ("Lost", "Late")}
    document = using(shop={"contract": "shop@v1", "operations": {"call": ["Run"]}})

    package, _ = generated(document, tmp_path, {**SHOP, "operations": {"Run": run}, "errors": errors})

    text = (tmp_path / package.__name__ / "uses/shop/operations.py").read_text()
    assert f"from .errors import {', '.join(sorted(expected))}\n" in text


def test_an_alias_in_both_groups_is_required(tmp_path: Path) -> None:
    document = contract(uses={"required": {"shop": BUY}, "optional": {"shop": {"contract": "gone@v1"}}})

    package, _ = generated(document, tmp_path, SHOP)

    assert "has_use" not in (tmp_path / package.__name__ / "uses" / "__init__.py").read_text()


def test_what_the_runtime_does_itself_needs_no_manifest(tmp_path: Path) -> None:
    auth: JsonValue = {"contract": "trellis.auth@v1", "rpc": {"call": ["Auth.Requests.Validate"]}}
    core: JsonValue = {
        "contract": "trellis.core@v1",
        "rpc": {"call": ["Trellis.Bindings.Get", "Trellis.Catalog"]},
    }

    state: JsonValue = {
        "contract": "trellis.state@v1",
        "rpc": {"call": ["State.Delete", "State.Get", "State.List", "State.Put"]},
    }

    package, remarks = generated(using(auth=auth, core=core, health=HEARTBEAT, state=state), tmp_path)

    assert remarks == []
    assert not (tmp_path / package.__name__ / "uses").exists()


def test_it_is_generated_where_the_manifest_is_given(tmp_path: Path) -> None:
    package, _ = generated(using(health=HEARTBEAT), tmp_path, HEALTH)

    assert "EventOutlet[Thing]" in (tmp_path / package.__name__ / "uses/health/events.py").read_text()


def test_a_use_that_lists_more_needs_the_manifest() -> None:
    subscribing: JsonValue = {
        "contract": "trellis.health@v1",
        "events": {"subscribe": ["Health.Heartbeat"]},
    }

    assert reasons(using(health=subscribing)) == [
        'the contract "trellis.health@v1" was not found; searched others'
    ]


def test_every_problem_is_reported_at_once() -> None:
    wrong: JsonValue = {"contract": "shop@v1", "rpc": {"call": ["Shop.By", "Shop.Audit"]}}
    document = using(shop=wrong, bank={"contract": "bank@v1"})
    cast("dict[str, JsonValue]", document)["rpc"] = {"A.b": rpc("A.b"), "A.B": rpc("A.B")}

    assert reasons(document, SHOP) == [
        '"A.b" and "A.B" would both become rpc.a.b',
        'shop@v1 has no RPC named "Shop.By" (it is in shop@v1.json)',
        'RPC "Shop.Audit" of shop@v1 is internal: other contracts cannot use it',
        'the contract "bank@v1" was not found; searched others',
    ]


def test_a_problem_of_the_other_contract_is_reported_where_it_is_used() -> None:
    shop = copy.deepcopy(SHOP)
    shop["rpc"] = {"Shop.Buy": rpc("Shop.Buy"), "Shop.buy": rpc("Shop.buy")}
    both: JsonValue = {"contract": "shop@v1", "rpc": {"call": ["Shop.Buy", "Shop.buy"]}}

    (reason,) = reasons(using(shop=both), shop)

    assert reason == 'shop@v1: rpc/Shop.buy: "Shop.Buy" and "Shop.buy" would both become rpc.shop.buy'


def test_two_aliases_that_meet_need_stated_names(tmp_path: Path) -> None:
    document = using(**{"my-shop": BUY, "myShop": BUY})

    assert '"my-shop" and "myShop" would both become uses.my_shop' in reasons(document, SHOP)
    plan, _ = plan_participant(
        manifest(document),
        read_others([SHOP]),
        source="x.json",
        package=None,
        generator="0",
        names={"/uses/required/myShop": "second_shop"},
    )
    assert [use.attribute for use in plan.uses] == ["my_shop", "second_shop"]


def test_events_of_one_name_in_a_group_need_a_stated_name() -> None:
    document = using(shop={"contract": "shop@v1", "events": {"subscribe": ["Shop.Sold"]}})
    members = cast("dict[str, JsonValue]", document)
    members["events"] = {"Shop.Sold": {"version": "v1", "subject": "events.v1.Own.Sold", "event": THING}}
    members["eventConsumers"] = {"all": {"self": ["Shop.Sold"], "uses": {"shop": ["Shop.Sold"]}}}

    (reason,) = reasons(document, SHOP)

    assert reason.endswith("would both become consumers.all.shop_sold")


@pytest.mark.parametrize("place", ["shop.json", "folder", "shop_participant"])
def test_a_contract_is_found_in_a_file_a_folder_and_an_installed_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "shop.json", SHOP)
    write(tmp_path / "folder/shop.json", SHOP)
    (tmp_path / "folder/package.json").write_text('{"name": "no contract"}')
    assert run(tmp_path / "shop.json", out=tmp_path / "site") == ExitCode.OK
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site"), *sys.path])
    things = write(tmp_path / "things.json", using(shop=BUY))

    assert run(things, place) == ExitCode.OK

    assert (tmp_path / "things_participant/uses/shop/use.py").exists()
    assert run(things, place, mode=Mode.CHECK) == ExitCode.OK


def test_a_place_without_a_contract_is_a_usage_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    things = write(tmp_path / "things.json", using(shop=BUY))
    (tmp_path / "list.json").write_text("[]")

    assert run(things, str(tmp_path / "none.json"), str(tmp_path / "list.json")) == ExitCode.USAGE

    assert capsys.readouterr().err.splitlines() == [
        f"error: {tmp_path}/none.json: cannot read the contract: no such file or directory; name a manifest, a folder, or a package that is installed next to trellis-gen",
        f'error: {tmp_path}/list.json: not a contract: "trellis-gen validate" says why',
    ]


def test_the_error_has_every_place_that_was_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    things = write(Path("things.json"), using(shop={"contract": "shop@v2"}))
    write(Path("a/shop.json"), SHOP)
    Path("b").mkdir()

    assert run(things, "a", "b") == ExitCode.INVALID

    said = capsys.readouterr().err
    assert 'the contract "shop@v2" was not found; searched a, b' in said
    assert "hint: found: shop@v1; name its manifest" in said
    assert run(things) == ExitCode.INVALID
    assert 'the contract "shop@v2" was not found; no place to search was given' in capsys.readouterr().err


def test_uses_are_checked_in_a_contract_with_other_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    broken = cast("dict[str, JsonValue]", using(shop=BUY))
    things = write(Path("things.json"), {**broken, "kind": "servise"})

    assert run(things) == ExitCode.INVALID
    assert "2 errors" in capsys.readouterr().err
    assert check(things) == ExitCode.INVALID
    assert 'the contract "shop@v1" was not found' in capsys.readouterr().err


def test_two_manifests_of_a_used_contract_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "a/shop.json", SHOP)
    write(tmp_path / "b/shop.json", {**SHOP, "description": "Another."})
    write(tmp_path / "c/shop.json", SHOP)
    things = write(tmp_path / "things.json", using(shop=BUY))

    assert run(things, f"{tmp_path}/a", f"{tmp_path}/c") == ExitCode.OK
    assert run(things, f"{tmp_path}/a", f"{tmp_path}/b") == ExitCode.INVALID
    assert "are different manifests of shop@v1; name one of them" in capsys.readouterr().err
    assert run(write(tmp_path / "alone.json", contract(id="alone@v1")), f"{tmp_path}/a", f"{tmp_path}/b") == 0


def test_a_used_contract_with_errors_is_reported_in_its_own_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop = write(tmp_path / "shop.json", {**SHOP, "kind": "shop"})
    things = write(tmp_path / "things.json", using(shop=BUY))

    assert run(things, str(shop)) == ExitCode.INVALID
    said = capsys.readouterr().err
    assert f"{shop}:6:11: error[wrong-value]: kind: expected" in said
    assert "a contract that it uses has errors; nothing was written" in said
    assert check(things, str(shop)) == ExitCode.INVALID


def test_a_change_of_what_is_listed_is_drift_and_of_the_rest_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop = write(tmp_path / "shop.json", SHOP)
    things = write(tmp_path / "things.json", using(shop=BUY))
    assert run(things, str(shop)) == ExitCode.OK

    changed = copy.deepcopy(SHOP)
    cast("dict[str, JsonValue]", changed["schemas"])["Unlisted"] = {"type": "object"}
    write(shop, changed)
    assert run(things, str(shop), mode=Mode.CHECK) == ExitCode.OK

    cast("dict[str, JsonValue]", changed["schemas"])["Thing"] = {
        "type": "object",
        "properties": {"sku": TEXT, "price": TEXT},
    }
    write(shop, changed)
    capsys.readouterr()
    assert run(things, str(shop), mode=Mode.CHECK) == ExitCode.DRIFT
    assert "uses/shop/models/thing.py" in capsys.readouterr().out
    assert run(things, mode=Mode.CHECK) == ExitCode.INVALID
    assert run(things, str(shop)) == ExitCode.OK
    assert run(things, str(shop), mode=Mode.CHECK) == ExitCode.OK


def test_the_configuration_names_the_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "contracts/shop.json", SHOP)
    things = write(tmp_path / "things.json", using(shop=BUY))
    (tmp_path / "pyproject.toml").write_text('[tool.trellis-gen]\nwith = ["contracts"]\n')
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")

    assert run(things) == ExitCode.OK
    assert check(things) == ExitCode.OK


def test_places_of_the_wrong_type_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.trellis-gen]\nwith = "contracts"\n')
    monkeypatch.chdir(tmp_path)

    assert run(write(tmp_path / "things.json", using(shop=BUY))) == ExitCode.USAGE
    assert "expected a list of manifests, folders and packages" in capsys.readouterr().err


def test_an_app_has_its_uses_in_its_client(tmp_path: Path) -> None:
    document = cast("dict[str, JsonValue]", using(shop=BUY))

    package, _ = generated({**document, "kind": "app"}, tmp_path, SHOP)

    folder = tmp_path / package.__name__
    assert "self.uses: Final = Uses(runtime)" in (folder / "client.py").read_text()
    assert not (folder / "service.py").exists()
