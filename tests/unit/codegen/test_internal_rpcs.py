"""An internal RPC is served, and clients do not have it."""

from pathlib import Path

from pydantic import JsonValue

from tests.support.generated import generated
from tests.unit.codegen.contracts import contract, rpc


def test_a_client_has_no_internal_rpc(tmp_path: Path) -> None:
    calls: JsonValue = {"Things.Get": rpc("Things.Get"), "Things.Audit": rpc("Things.Audit", internal=True)}

    package, _ = generated(contract(rpc=calls), tmp_path)

    text = (tmp_path / package.__name__ / "rpc.py").read_text()
    served, called = text.split("class ThingsRpcCalls:")
    assert "self.audit" in served
    assert "self.get" in called
    assert "self.audit" not in called


def test_a_client_without_any_rpc_has_no_attribute_for_them(tmp_path: Path) -> None:
    package, _ = generated(contract(rpc={"Audit": rpc("Audit", internal=True)}), tmp_path)

    folder = tmp_path / package.__name__
    assert "self.rpc" in (folder / "service.py").read_text()
    assert "self.rpc" not in (folder / "client.py").read_text()
    assert "RpcCall" not in (folder / "rpc.py").read_text()
