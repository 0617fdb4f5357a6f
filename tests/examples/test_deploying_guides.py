"""The configuration files in the guides are accepted by the programs that read them."""

import json
import re
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from orders_participant import OrdersClient, OrdersService
from trellis_nats import Options, permissions

ROOT = Path(__file__).parents[2]
GUIDES = ROOT / "docs/guides"
TLS = ROOT / "tests/support/tls"
NATS_SERVER = Path(sys.executable).parent / "nats-server"
STOP_AFTER_GRACE = timedelta(seconds=15)


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (GUIDES / page).read_text(), re.DOTALL)


CONFIGURATIONS = [*blocks("nats-server.md", "conf"), *blocks("security.md", "conf")]
UNITS = [*blocks("deploying.md", "ini"), *blocks("cron.md", "ini")]
RESOURCES: list[dict[str, Any]] = [
    resource
    for block in [*blocks("deploying.md", "yaml"), *blocks("cron.md", "yaml")]
    for resource in yaml.safe_load_all(block)
]


@pytest.mark.parametrize("text", CONFIGURATIONS)
def test_the_server_accepts_its_configuration(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for role in ("provisioner", "worker", "producer"):
        (tmp_path / f"{role}.conf").write_text(permissions(OrdersService, role).to_config())
        monkeypatch.setenv(f"{role.upper()}_PASSWORD", "a-password")
    (tmp_path / "orders.conf").write_text(permissions(OrdersService, "worker", callers="keys").to_config())
    client = permissions(OrdersClient, "client", session_key="oJql9HpnWYAv-VX43C0qFKXJnSO-l_hkEn_5ODRVpPA")
    (tmp_path / "shop.conf").write_text(client.to_config())
    for written, own in (
        ("server-key.pem", "server.key"),
        ("server.pem", "server.pem"),
        ("ca.pem", "ca.pem"),
    ):
        text = text.replace(f"/etc/nats/{written}", str(TLS / own))
    file = tmp_path / "nats.conf"
    file.write_text(text.replace("/var/lib/nats", str(tmp_path / "store")))

    run = subprocess.run([NATS_SERVER, "-t", "-c", file], capture_output=True, text=True, check=False)

    assert run.returncode == 0, run.stderr


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze here")
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    files: list[Path] = []
    for unit in UNITS:
        files.append(tmp_path / Path(unit.partition("\n")[0].removeprefix("# ")).name.replace("@", "@1"))
        files[-1].write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", unit, flags=re.MULTILINE))

    run = subprocess.run(["systemd-analyze", "verify", *files], capture_output=True, text=True, check=False)  # noqa: S607 - found as the user finds it

    assert len(files) == 3
    assert [line for line in run.stderr.splitlines() if str(tmp_path) in line or "orders" in line] == []
    assert run.returncode == 0, run.stderr


def test_what_stops_a_service_waits_longer_than_its_grace_period() -> None:
    waits = Options().shutdown_grace + STOP_AFTER_GRACE

    (unit,) = (unit for unit in UNITS if "KillMode" in unit)
    assert f"TimeoutStopSec={waits.seconds}\n" in unit
    (deployment,) = (resource for resource in RESOURCES if resource["kind"] == "Deployment")
    assert deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == waits.seconds


def test_the_resources_fit_together() -> None:
    by_kind = {resource["kind"]: resource for resource in RESOURCES}
    assert sorted(by_kind) == ["CronJob", "Deployment", "HorizontalPodAutoscaler", "PodDisruptionBudget"]
    deployment, budget = by_kind["Deployment"], by_kind["PodDisruptionBudget"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]

    assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert {"name": "health", "containerPort": 8080} in container["ports"]
    assert budget["spec"]["selector"] == deployment["spec"]["selector"]
    assert (
        by_kind["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    )


def test_the_container_runs_python_as_its_first_process() -> None:
    (file,) = blocks("deploying.md", "dockerfile")
    (command,) = re.findall(r"^CMD (.*)$", file, re.MULTILINE)

    assert json.loads(command) == ["python", "main.py"]
